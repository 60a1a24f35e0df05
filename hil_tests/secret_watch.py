"""Searches everything that a test run puts out for secrets that tests have planted, and for what looks like one.

Registered by ``conftest.py`` for the whole suite. A test that lets a secret out fails, whatever it was meant to test. Watched:

* log messages of this project's loggers at every level, enabled or not, before any handler's filter; those of urllib3,
  requests and paho-mqtt as far as their loggers let them through,
* captured stdout, stderr and logs of each test, what tests read from ``capsys``, what subprocesses gave to ``communicate``,
* ``statusDetails``, events as JSON, the message of every error that this project makes,
* metadata files (JSON, SQLite, logs) in each test's ``tmp_path``.
"""

import functools
import logging
import re
import subprocess
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bridge.errors import BridgeError
from bridge.fota.events import UpdateEvent
from bridge.fota.status_details import StatusDetails

MARK: Final = "PLANTED0SECRET"
"""What tests plant: in queries, passwords, keys and credentials."""
_SHAPES: Final = (
    re.compile(MARK),
    re.compile(r"X-Amz-Signature=[0-9A-Za-z%+/]"),
    re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:\s|\\r|\\n)*[A-Za-z0-9+/]{4}"),
)
_OWN: Final = ("bridge",)
_LIBRARIES: Final = ("urllib3", "requests", "paho")
_METADATA: Final = ("*.json", "*.json-new", "*.sqlite*", "*.db*", "*.log", "*.jsonl")
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_CONTEXT_CHARS: Final = 60


def leak_in(text: str) -> str | None:
    """The surroundings of the first secret in a text."""
    for shape in _SHAPES:
        match = shape.search(text)
        if match is not None:
            return text[max(0, match.start() - _CONTEXT_CHARS) : match.end() + _CONTEXT_CHARS]
    return None


class SecretWatch:
    """The plugin.

    Attributes:
        found: Where secrets came out since the last report, and what was around them.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self._patches = pytest.MonkeyPatch()

    def look(self, where: str, text: str) -> None:
        """Search a text."""
        leak = leak_in(text)
        if leak is not None:
            self.found.append(f"{where}: ...{leak!r}...")

    def pytest_configure(self) -> None:
        """Begin to watch."""
        patch = self._patches.setattr
        for name in ("debug", "info", "warning", "error", "exception", "critical"):
            patch(logging.Logger, name, self._watched_log(name))
        patch(
            pytest.CaptureFixture,
            "readouterr",
            self._watched("captured output", pytest.CaptureFixture.readouterr),
        )
        patch(subprocess.Popen, "communicate", self._watched("subprocess", subprocess.Popen.communicate))
        patch(StatusDetails, "to_dict", self._watched("statusDetails", StatusDetails.to_dict))
        patch(UpdateEvent, "to_dict", self._watched("event", UpdateEvent.to_dict))
        patch(BridgeError, "__init__", self._watched_error(BridgeError.__init__))

    def pytest_unconfigure(self) -> None:
        """Stop watching."""
        self._patches.undo()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail a test that passed but let a secret out."""
        report = yield
        for title, content in report.sections:
            self.look(title, content)
        if call.when == "teardown":
            self._look_into_files(item)
        found, self.found = self.found, []
        if found and report.passed:
            report.outcome = "failed"
            report.longrepr = "secrets came out:\n" + "\n".join(dict.fromkeys(found))
        return report

    def _look_into_files(self, item: pytest.Item) -> None:
        directory = getattr(item, "funcargs", {}).get("tmp_path")
        if isinstance(directory, Path):
            for path in _metadata(directory):
                self.look(str(path), path.read_bytes().decode("latin-1"))

    def _watched(self, where: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self.look(where, _as_text(result))
            return result

        return watched

    def _watched_log(self, method: str) -> Callable[..., None]:
        level = logging.ERROR if method == "exception" else getattr(logging, method.upper())
        original = getattr(logging.Logger, method)

        @functools.wraps(original)
        def watched(logger: logging.Logger, message: object, *args: Any, **kwargs: Any) -> None:
            root = logger.name.partition(".")[0]
            if root in _OWN or (root in _LIBRARIES and logger.isEnabledFor(level)):
                self._look_at_record(logger, level, message, args, traced=method == "exception")
            original(logger, message, *args, **{"stacklevel": 2, **kwargs})

        return watched

    def _look_at_record(
        self, logger: logging.Logger, level: int, message: object, args: tuple[Any, ...], *, traced: bool
    ) -> None:
        record = logger.makeRecord(logger.name, level, "", 0, message, args, None)
        if logger.filter(record):
            self.look(f"log of {logger.name}", record.getMessage())
        if traced:
            self.look(f"traceback in the log of {logger.name}", traceback.format_exc())

    def _watched_error(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def watched(error: BridgeError, *args: Any, **kwargs: Any) -> None:
            original(error, *args, **kwargs)
            self.look(f"message of {type(error).__name__}", f"{error.args} {vars(error)}")

        return watched


def _metadata(directory: Path) -> Iterator[Path]:
    for pattern in _METADATA:
        for path in directory.rglob(pattern):
            if path.is_file() and path.stat().st_size <= _MAX_FILE_BYTES:
                yield path


def _as_text(result: object) -> str:
    if isinstance(result, bytes):
        return result.decode("utf-8", "replace")
    if isinstance(result, tuple):
        return "\n".join(_as_text(each) for each in result)
    return str(result)

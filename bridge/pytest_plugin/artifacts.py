"""What a test leaves behind: one directory for each, filled by writers.

``DIR/session.json`` tells of the run, ``DIR/<test>/`` of one test, with the same name each time, so that runs can be compared.
A writer gets the record of a test that has ended and writes what it likes; more of them can be registered.
"""

import hashlib
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from bridge.board import BoardIdentity
from bridge.errors import BridgeError
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.log import BoardLog
from bridge.pytest_plugin.updates import Story
from bridge.redaction import redact_text, redact_value

_log = logging.getLogger(__name__)

_MAX_NAME_CHARS: Final = 100


@dataclass
class TestRecord:
    """One test, as far as boards are concerned.

    Attributes:
        nodeid: Its name in pytest.
        board: Name of its board.
        port: Where that was.
        model: Board model.
        is_virtual: It was built for the test.
        before: What the board was before the test, if it was asked.
        after: What it was afterwards.
        log: What went over the cable.
        stories: Updates that were run.
        notes: Remarks of the bench: purged jobs, restored baseline, link check.
        outcome: ``passed``, ``failed``, ``bench-error`` or ``skipped``.
        error: The error behind it, if it is one of ours.
        failure: What pytest tells about a failure.
        duration_s: How long setup, call and teardown took.
        began_at: When it began, epoch seconds.
        checks: More that must be true when the test's own code has passed.
        board_is_gone: Tells whether its port went away.
    """

    __test__ = False  # for pytest, which takes it for tests

    nodeid: str
    board: str | None = None
    port: str | None = None
    model: str | None = None
    is_virtual: bool = False
    before: BoardIdentity | None = None
    after: BoardIdentity | None = None
    log: BoardLog = field(default_factory=BoardLog)
    stories: list[Story] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outcome: str = "passed"
    error: BridgeError | None = None
    failure: str | None = None
    duration_s: float = 0.0
    began_at: float = field(default_factory=time.time)
    checks: list[Callable[[], None]] = field(default_factory=list)
    board_is_gone: Callable[[], bool] = field(default=lambda: False, repr=False)
    _faults_told: int = field(default=0, repr=False)

    def put_on(self, device: DeviceUnderTest) -> None:
        """Say on which board the test is."""
        self.board, self.port, self.model = device.name, device.where, device.model
        self.is_virtual, self.board_is_gone = device.is_virtual, device.is_gone

    def add_failure(self, text: str) -> None:
        """What pytest tells; a failure while a test is cleaned up does not hide the one before it."""
        self.failure = text if self.failure is None else f"{self.failure}\n\n{text}"

    def check(self) -> None:
        """What must be true after every test, whatever it was about.

        Raises:
            AssertionError: The firmware crashed on the way, or something was done twice.
        """
        self.check_faults()
        for check in self.checks:
            check()

    def check_faults(self) -> None:
        """The log has no fault texts, but for those that were told already.

        Raises:
            AssertionError: It has.
        """
        faults = self.log.faults()
        told, self._faults_told = self._faults_told, len(faults)
        assert len(faults) <= told, "the board's log has fault texts:\n" + "\n".join(faults[told:])

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON, without secrets."""
        record = {
            "schema": 1,
            "test": self.nodeid,
            "outcome": self.outcome,
            "began_at": round(self.began_at, 3),
            "duration_s": round(self.duration_s, 4),
            "board": {"name": self.board, "port": self.port, "model": self.model, "virtual": self.is_virtual},
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "updates": [_story(story) for story in self.stories],
            "notes": self.notes,
            "error": _error(self.error),
            "failure": self.failure,
        }
        return cast("dict[str, Any]", redact_value(record))


Writer = Callable[[Path, TestRecord], None]
"""Writes something about one test into that test's directory."""

_writers: Final[dict[str, Writer]] = {}


def register_writer(name: str, writer: Writer) -> None:
    """Have a writer called for each test from now on; one of the same name is replaced."""
    _writers[name] = writer


def writers() -> tuple[str, ...]:
    """Names of all writers, in the order in which they are called."""
    return tuple(_writers)


def test_directory(root: Path, nodeid: str) -> Path:
    """Where a test's artefacts go; different for different tests, also for those whose names differ in odd characters."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", nodeid).strip("-")
    digest = hashlib.sha256(nodeid.encode()).hexdigest()[:8]
    return root / f"{name[-_MAX_NAME_CHARS:].strip('-')}-{digest}"


test_directory.__test__ = False  # type: ignore[attr-defined]


def check_place(root: Path) -> None:
    """Make the directory for artefacts, if it is not there.

    Raises:
        pytest.UsageError: Nothing can be written there.
    """
    import pytest  # noqa: PLC0415

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"nrf91: artefacts cannot be kept in {root}: {error.strerror}. See --nrf91-artifacts."
        ) from error


def write_artifacts(root: Path, record: TestRecord) -> Path:
    """Call all writers for a test; what an earlier run has left in its directory goes.

    Returns:
        The test's directory.

    Raises:
        OSError: It cannot be made.
    """
    directory = test_directory(root, record.nodeid)
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.iterdir():
        if left.is_file():
            left.unlink()
    for name, writer in _writers.items():
        try:
            writer(directory, record)
        except Exception as error:  # noqa: BLE001 - one broken writer must not end the run
            _log.warning("%s of %s was not written: %r", name, record.nodeid, error)
            with (directory / "not-written.txt").open("a", encoding="utf-8") as file:
                file.write(f"{name}: {error!r}\n")
    return directory


def write_session(root: Path, facts: dict[str, Any]) -> None:
    """Write down what the run was: settings and where they came from, versions, bench."""
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps(redact_value(facts), indent=2, default=str) + "\n"
    (root / "session.json").write_text(text, encoding="utf-8")


def _result(directory: Path, record: TestRecord) -> None:
    text = json.dumps(record.to_dict(), indent=2, default=str) + "\n"
    (directory / "result.json").write_text(text, encoding="utf-8")


def _at_log(directory: Path, record: TestRecord) -> None:
    (directory / "at.log").write_text(record.log.transcript(), encoding="utf-8")


register_writer("result.json", _result)
register_writer("at.log", _at_log)


def _story(story: Story) -> dict[str, Any]:
    finished = story.finished if story.events else None
    return {
        "image": story.image,
        "job": story.job,
        "status": story.status,
        "outcome": str(finished.outcome) if finished else None,
        "reason": finished.reason if finished else None,
        "message": redact_text(finished.message) if finished else None,
        "from_version": finished.from_version if finished else None,
        "to_version": finished.to_version if finished else None,
        "running_version": finished.running_version if finished else None,
        "sha256": story.judged.sha256 if story.judged else None,
        "digest": story.judged.digest if story.judged else None,
        "size_bytes": story.size_bytes,
        "bytes": story.wrote,
        "rate_bytes_per_s": round(story.rate_bytes_per_s),
        "attempts": story.attempts,
        "stages_s": story.stage_times_s() if story.events else {},
        "progress": story.progress,
    }


def _error(error: BridgeError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "type": type(error).__name__,
        "exit_code": error.exit_code,
        "reason": error.reason,
        "message": error.message,
        "stage": error.stage,
        "offset": error.offset,
        "hint": error.hint,
    }

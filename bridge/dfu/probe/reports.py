"""What pynrfjprog's library says while it works: progress, errors, and failures that it does not raise.

Source: log lines seen from pynrfjprog 10.24.2, which come as ``[origin] [part] text``. The text is a sentence or JSON in
one of two forms: of a step (``amountOfSteps``, ``progressPercentage``, ``result``), whose percentage counts steps, or of
an operation (``progress_percentage``, ``outcome``), whose percentage counts bytes.
"""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bridge.dfu.probe.vendor import LOGGER_NAME

_ORIGIN: Final = re.compile(r"^(\[[^\]]*\]\s*)+")
_FILE: Final = re.compile(r"\bfile (\d+) of (\d+)")
_HARMLESS: Final = ("b'", 'b"', "delete package returns error")
"""pynrfjprog logs each error once more as bytes; MCUboot's recovery knows no erase command, which is no problem."""


@dataclass(frozen=True)
class ProbeProgress:
    """Where a probe operation is.

    Attributes:
        operation: What is done: ``program``, ``verify``, ``recover``, ``reset``, or the library's name of a part of
            it, such as ``upload_image``.
        percent: How much of it is done; None when nobody knows.
        text: What the library says, for people.
        file: Number of the file that is written, from 1, when there are several.
        files: How many there are.
    """

    operation: str
    percent: int | None = None
    text: str = ""
    file: int = 1
    files: int = 1


class VendorLog(logging.Handler):
    """Listens to pynrfjprog, and keeps its lines away from the handlers of the program.

    Args:
        on_progress: Gets each report.

    Attributes:
        errors: Texts of error lines since the last :meth:`clear`, the cause first.
        failed: An operation was reported as failed since the last :meth:`clear`; not every such failure is raised.
    """

    def __init__(self, on_progress: Callable[[ProbeProgress], None]) -> None:
        super().__init__(logging.INFO)
        self._on_progress = on_progress
        self._file = (1, 1)
        self.errors: list[str] = []
        self.failed = False
        self._logger = logging.getLogger(LOGGER_NAME)
        self._before = (self._logger.level, self._logger.propagate)
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False

    def close(self) -> None:
        """Stop listening."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before[0])
        self._logger.propagate = self._before[1]
        super().close()

    def clear(self) -> None:
        """Forget what was said."""
        self.errors.clear()
        self.failed = False
        self._file = (1, 1)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        text = _ORIGIN.sub("", record.getMessage()).strip()
        report = _load(text)
        if report is not None:
            self._take(report)
        elif record.levelno >= logging.ERROR and not text.startswith(_HARMLESS):
            self.errors.append(text)

    def _take(self, report: dict[str, Any]) -> None:
        text = str(report.get("message", ""))
        found = _FILE.search(text)
        if found:
            self._file = (int(found[1]), int(found[2]))
        if "fail" in (report.get("outcome"), report.get("result")):
            self.failed = True
            return
        percent = report.get("progress_percentage")
        number = int(percent) if isinstance(percent, int | float) else None
        self._on_progress(ProbeProgress(str(report["operation"]), number, text, *self._file))


def _load(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        report = json.loads(text)
    except ValueError:
        return None
    return report if isinstance(report, dict) and "operation" in report else None

"""``statusDetails`` of a job: at most ten short pairs that tell a person at the console what goes on and why it ended.

Limits (10 pairs, keys of ``[a-zA-Z0-9:_-]``, values of at most 1024 characters): AWS IoT Jobs API, see
``docs/job-documents.md``.
"""

from collections.abc import Mapping
from typing import Final

from bridge.fota.events import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    Progress,
    Stage,
    StageStarted,
    UpdateEvent,
    Waiting,
)
from bridge.redaction import redact_text

PROGRESS_STEP_PERCENT: Final = 10
"""Progress is reported each time that this much more has been written."""

_BEFORE_ANY_EFFECT: Final = frozenset({Stage.QUEUED, Stage.FETCH, Stage.CHECK})


class StatusDetails:
    """Folds update events into the pairs that the cloud sees.

    Args:
        earlier: Pairs that an earlier run left; the stage in them stays until the board is changed again.
    """

    def __init__(self, earlier: Mapping[str, str] | None = None) -> None:
        self._pairs: dict[str, str] = dict(earlier or {})
        self._keeps_stage = bool(earlier)
        self._reported_percent = 0
        self._waits = False

    def to_dict(self) -> dict[str, str]:
        """The pairs as they are now; a copy."""
        return dict(self._pairs)

    def take(self, event: UpdateEvent) -> bool:
        """Fold an event in.

        Returns:
            Whether the change is worth a report: a stage change, another 10 %, or something new to wait for.
        """
        self._keeps_stage = self._keeps_stage and event.stage in _BEFORE_ANY_EFFECT
        if not self._keeps_stage or isinstance(event, Finished):
            self._pairs["stage"] = event.stage.value
        if isinstance(event, Waiting):
            return self._take_waiting(event)
        if self._waits:
            self._waits = False
            self._pairs.pop("reason", None)
            self._pairs.pop("message", None)
        match event:
            case StageStarted():
                return True
            case BoardIdentified():
                self._set(board=event.board)
            case ImageAccepted():
                self._set(from_version=event.from_version, to_version=event.to_version)
            case Progress():
                return self._take_progress(event)
            case Finished():
                self._set(
                    reason=event.reason,
                    message=event.message,
                    from_version=event.from_version,
                    to_version=event.to_version,
                    running_version=event.running_version,
                )
        return False

    def _take_waiting(self, event: Waiting) -> bool:
        before = self._pairs.get("message")
        self._set(reason=event.reason, message=event.text)
        self._waits = True
        return self._pairs["message"] != before

    def _take_progress(self, event: Progress) -> bool:
        percent = 100 * event.done_bytes // max(1, event.total_bytes)
        self._set(percent=str(percent), bytes=str(event.done_bytes), rate=f"{event.rate_bytes_per_s:.0f}")
        step = percent // PROGRESS_STEP_PERCENT * PROGRESS_STEP_PERCENT
        if step == self._reported_percent:
            return False
        self._reported_percent = step
        return True

    def _set(self, **pairs: str | None) -> None:
        self._pairs.update({key: redact_text(value) for key, value in pairs.items() if value})

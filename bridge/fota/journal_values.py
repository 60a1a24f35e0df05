"""What the journal knows of an update, as values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from bridge.fota.events import Outcome, Stage


class Report(StrEnum):
    """Whether somebody must still be told how an update ended.

    ``NONE``: nobody asked (``flash``), or it has not ended. ``DUE``: it ended, and the cloud was not told yet.
    ``TAKEN``: the cloud took the report. ``GONE``: the cloud does not want to know.
    """

    NONE = "none"
    DUE = "due"
    TAKEN = "taken"
    GONE = "gone"


@dataclass(frozen=True)
class Order:
    """What an update is known by before it begins.

    Attributes:
        place: Where the board is: its port, or how it is found.
        name: File name; empty for a job, whose document was not read yet.
        sha256: SHA-256 of the file in hex, if it is known.
        thing: Thing of a job.
        job_id: Its name.
        execution_number: Tells repeated executions of one job apart.
        queued_at: Epoch second at which the service queued it, if it told: tells a job from one of the same name that
            was deleted before.
        job_version: Version of the execution as it was seen last.
    """

    place: str
    name: str = ""
    sha256: str | None = None
    thing: str | None = None
    job_id: str | None = None
    execution_number: int | None = None
    queued_at: int | None = None
    job_version: int | None = None


@dataclass(frozen=True)
class JournalStep:
    """One line of an update's story.

    Attributes:
        run: Which process's: 1 for the first.
        at: Epoch seconds.
        what: A stage, or ``taken-up``, ``interrupted``, ``ended``, ``reported``, ``note``.
        note: More about it.
        offset_bytes: Bytes that were in the board's flash by then.
    """

    run: int
    at: float
    what: str
    note: str | None = None
    offset_bytes: int | None = None

    def to_dict(self) -> dict[str, object]:
        """For JSON; the time in ISO 8601, UTC."""
        return {
            **{key: value for key, value in asdict(self).items() if value is not None},
            "at": iso(self.at),
        }


@dataclass(frozen=True)
class JournalEntry:
    """One update as the journal has it.

    Attributes:
        number: Its number in this journal.
        order: What was ordered.
        started_at: Epoch seconds.
        changed_at: Epoch seconds of the last entry.
        runs: How many processes worked on it.
        stage: Where the last of them was.
        reached: The furthest stage with an effect on the board that still counts: what a later run must reckon with.
        board_id: IMEI, which the board must have when the update is taken up again.
        sha256: SHA-256 of the file that was written, once all of it was seen.
        digest: MCUboot's digest of the image.
        offset_bytes: Bytes in the board's flash.
        outcome: How it ended; None while it may still be taken up again.
        details: ``statusDetails`` of the final report.
    """

    number: int
    order: Order
    started_at: float
    changed_at: float
    runs: int
    stage: Stage
    reached: Stage | None = None
    route: str | None = None
    board: str | None = None
    board_id: str | None = None
    kind: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    digest: str | None = None
    offset_bytes: int | None = None
    from_version: str | None = None
    to_version: str | None = None
    running_version: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    report: Report = Report.NONE

    def to_dict(self) -> dict[str, object]:
        """For JSON: flat, times in ISO 8601 (UTC), unknown members left out."""
        members = asdict(self)
        order = members.pop("order")
        members.pop("details")
        members = {**members, **{f"order_{key}" if key == "sha256" else key: order[key] for key in order}}
        members |= {"started_at": iso(self.started_at), "changed_at": iso(self.changed_at)}
        return {key: value for key, value in members.items() if value not in (None, "")}


def iso(epoch_s: float) -> str:
    """A time as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

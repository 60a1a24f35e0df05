"""What happens during an update, as values: stages, outcomes and the typed events that an ``Update`` yields."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from bridge.board import BoardIdentity
from bridge.errors import BridgeError


class Stage(StrEnum):
    """Stops on the update line, in their order."""

    QUEUED = "queued"
    FETCH = "fetch"
    CHECK = "check"
    TRANSFER = "transfer"
    SCHEDULE = "schedule"
    REBOOT = "reboot"
    VERIFY = "verify"
    CONFIRM = "confirm"
    DONE = "done"


class Outcome(StrEnum):
    """How an update ended.

    ``REJECTED`` means "not for me, and trying again will not help"; ``FAILED`` means "tried and could not";
    ``CANCELED`` means that nobody wants it any more, ``INTERRUPTED`` that our own process was told to stop first.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class UpdateEvent:
    """Something happened at a stage."""

    stage: Stage

    def to_dict(self) -> dict[str, object]:
        """The event as a JSON object; ``event`` names its type in kebab case."""
        name = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(self).__name__).lstrip("-")
        return {"event": name, **{key: value for key, value in asdict(self).items() if value is not None}}


@dataclass(frozen=True)
class StageStarted(UpdateEvent):
    """The update reached a stage."""


@dataclass(frozen=True)
class BoardIdentified(UpdateEvent):
    """The board was asked who it is.

    Attributes:
        board: Model as the board names it, such as ``nRF9151-LACA``.
        imei: The modem's IMEI, if it has one.
        application_version: Version that the running application reports.
        modem_version: Modem firmware version.
        route: Name of the route into its flash.
        why: Why that route, where it was chosen and not ordered.
    """

    board: str | None
    imei: str | None
    application_version: str | None
    modem_version: str | None
    route: str | None = None
    why: str | None = None

    @classmethod
    def of(cls, stage: Stage, identity: BoardIdentity, route: str, why: str) -> Self:
        """What a board says, asked by a route."""
        return cls(
            stage,
            identity.model,
            identity.imei,
            identity.application_version,
            identity.modem_version,
            route,
            why or None,
        )


@dataclass(frozen=True)
class ImageAccepted(UpdateEvent):
    """The image's head was compared with the order and the board, and may be written.

    Attributes:
        kind: What the image is.
        name: File name or the last part of its URL.
        size_bytes: Size of the whole file.
        from_version: Version that the board runs.
        to_version: Version that the image carries, if it tells.
    """

    kind: str
    name: str
    size_bytes: int
    from_version: str | None
    to_version: str | None


@dataclass(frozen=True)
class ImageJudged(UpdateEvent):
    """All of the image was read, found whole, and may be installed.

    Attributes:
        sha256: SHA-256 of the file, in hex.
        digest: The digest that MCUboot knows the image by, in hex; None for other kinds.
    """

    sha256: str
    digest: str | None


@dataclass(frozen=True)
class Progress(UpdateEvent):
    """Bytes went into the board's flash.

    Attributes:
        done_bytes: Bytes that the board acknowledged in this attempt.
        total_bytes: Size of the image.
        rate_bytes_per_s: Average since the attempt began.
        attempt: 1 for the first try; a transfer that has to start again counts up.
    """

    done_bytes: int
    total_bytes: int
    rate_bytes_per_s: float
    attempt: int


@dataclass(frozen=True)
class Notice(UpdateEvent):
    """Something worth telling a person, such as ``erasing``."""

    text: str


@dataclass(frozen=True)
class Waiting(UpdateEvent):
    """The update cannot go on yet; comes again and again while it waits.

    Attributes:
        reason: Code of what it waits for; if it waits in vain, the update fails with this reason.
        text: One sentence for people; it changes when there is something new to say.
    """

    reason: str
    text: str


@dataclass(frozen=True)
class Finished(UpdateEvent):
    """The update ended; always the last event.

    Attributes:
        outcome: How.
        reason: Machine-readable code, ``None`` on success.
        message: One sentence for people.
        from_version: Version that the board ran before.
        to_version: Version that the image carries.
        running_version: Version that the board runs now, if it could be read.
    """

    outcome: Outcome
    reason: str | None
    message: str
    from_version: str | None
    to_version: str | None
    running_version: str | None


class UpdateCanceledError(BridgeError):
    """Whoever ordered the update does not want it any more: the job was cancelled, deleted or timed out."""

    exit_code = 8
    default_reason = "canceled"

"""What can go wrong in a run: one value for each mishap, and what a run without any shows of where they can strike."""

from dataclasses import dataclass
from enum import StrEnum

from bridge.virtual.flash import Tear


class MishapKind(StrEnum):
    """Kinds of mishaps, by whom they befall."""

    POWER_AT_FLASH = "power cut at flash operation"
    POWER_AT_BYTE = "power cut at serial byte"
    POWER_IN_MODEM = "power cut at modem operation"
    POWER_AT_TIME = "power cut at any time"
    BYTE_DROPPED = "byte dropped"
    BYTE_FLIPPED = "byte flipped"
    BYTE_DOUBLED = "byte doubled"
    BURST_LOST = "burst lost"
    REPLY_LOST = "reply lost"
    REPLY_LATE = "reply late"
    REPLY_DOUBLED = "reply doubled"
    USB_RENAMED = "USB comes back under another name"
    BROKER_LOST = "broker lost"
    SESSION_TAKEN = "session taken over"
    MESSAGE_DOUBLED = "message doubled"
    ANSWER_LOST = "cloud's answer lost"
    ANSWER_LATE = "cloud's answer late"
    HTTP_RESET = "HTTP reset"
    HTTP_STALL = "HTTP stall"
    HTTP_TRUNCATED = "HTTP truncated"
    HTTP_CHANGED = "HTTP file changed"
    HTTP_EXPIRED = "HTTP URL expired"
    HOST_KILLED = "bridge killed"
    JOB_CANCELED = "job cancelled"
    JOB_DELETED = "job deleted"


@dataclass(frozen=True)
class Mishap:
    """One thing that goes wrong.

    Attributes:
        kind: What.
        where: Number of the flash operation (from 1), byte (from 0), reply, message, request or step (from 1) that it
            befalls; for what befalls a moment, milliseconds since the job was created.
        to_host: Bytes on their way to the host rather than to the board.
        size: How many bytes a burst has, or after how many bytes of a body the web fails.
        lasts_s: How long the power, the port or the broker is away.
        tear: What a flash operation has done when the power fails in it.
    """

    kind: MishapKind
    where: int
    to_host: bool = False
    size: int = 0
    lasts_s: float = 0.0
    tear: Tear = Tear.HALF

    def __str__(self) -> str:
        parts = [f"{self.kind} {self.where}"]
        if self.to_host:
            parts.append("to the host")
        if self.size:
            parts.append(f"size {self.size}")
        if self.lasts_s:
            parts.append(f"for {self.lasts_s:g} s")
        if self.kind in {MishapKind.POWER_AT_FLASH, MishapKind.POWER_IN_MODEM}:
            parts.append(f"tear {self.tear}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Extent:
    """How much of everything there is in a run without mishaps, so how many places for one.

    Attributes:
        flash_operations: Of the board's flash, from the creation of the job to the end of its update.
        first_flash_operation: Those before.
        modem_operations: Of the modem's own flash.
        rx_bytes: From the host.
        tx_bytes: To the host.
        replies: Of the board.
        messages: Requests to the Jobs service.
        requests: HTTP requests.
        body_bytes: Size of the file that is downloaded.
        host_steps: Of our own process.
        duration_ms: Simulated time.
    """

    flash_operations: int
    first_flash_operation: int
    modem_operations: int
    rx_bytes: int
    tx_bytes: int
    replies: int
    messages: int
    requests: int
    body_bytes: int
    host_steps: int
    duration_ms: int

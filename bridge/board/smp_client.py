"""One SMP conversation over a link: requests answered one at a time, or posted for a window to account for.

Sources: Zephyr ``doc/services/device_mgmt/smp_protocol.rst`` and ``smp_transport.rst``; MCUboot ``boot_serial.c``. Answers
may lack ``rc``, and refusals come as ``rc`` or, from Zephyr asked in version 2, as ``err``. A server never says that a
frame was damaged; only time tells.
"""

import logging
import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.board.link import Link
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.smp_frame import DEFAULT_LINE_BYTES, SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpFormatError, SmpGroup, SmpMessage, SmpOp

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 2.0
_TRIES: Final = 3
_WRITE_TIMEOUT_S: Final = 10.0
_NOT_SUPPORTED: Final = 8
_LENGTH_AND_CRC_BYTES: Final = 4
_REASONS: Final = {
    3: "invalid-argument",
    5: "no-entry",
    6: "bad-state",
    _NOT_SUPPORTED: "not-supported",
    10: "busy",
}
_IMAGE_REASONS: Final = {
    8: "unknown-digest",
    9: "slot-in-use",
    23: "no-image-magic",
    27: "downgrade",
    28: "already-pending",
    30: "too-large",
    33: "already-active",
}


@dataclass(frozen=True)
class SmpParameters:
    """What the server can hold.

    Attributes:
        buffer_bytes: Size of a buffer; a message may have four bytes less, for length and CRC.
        buffer_count: How many there are.
    """

    buffer_bytes: int = 256
    buffer_count: int = 1

    @property
    def message_bytes(self) -> int:
        """Longest message."""
        return self.buffer_bytes - _LENGTH_AND_CRC_BYTES


@dataclass(frozen=True)
class ImageState:
    """One entry of the server's image list.

    Attributes:
        slot: 0 for the running one.
        version: As the server writes it.
        digest: Image digest in hex, None if the server does not tell.
        image: Number of the image on boards with several.
        bootable: It is meant to be booted.
        pending: It will be started at the next reset.
        confirmed: It is there to stay.
        active: It runs.
        permanent: Its start will not be on trial.
    """

    slot: int
    version: str
    digest: str | None = None
    image: int = 0
    bootable: bool = False
    pending: bool = False
    confirmed: bool = False
    active: bool = False
    permanent: bool = False


class SmpClient:
    """Sends requests and finds the answers among whatever else the board prints.

    Args:
        link: The port; it must not be open yet.
        line_bytes: Longest line that the board takes.
    """

    def __init__(self, link: Link, *, line_bytes: int = DEFAULT_LINE_BYTES) -> None:
        self._link = link
        self._line_bytes = line_bytes
        self._decoder = SmpFrameDecoder()
        self._answers: queue.SimpleQueue[SmpMessage | LinkError] = queue.SimpleQueue()
        self._sequence = 0
        link.attach(self)

    # --- called by the link ---------------------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Take received bytes."""
        for message in self._decoder.feed(data):
            try:
                self._answers.put(SmpMessage.decode(message))
            except SmpFormatError as error:
                _log.warning("%s", error.message)
        for line in self._decoder.text_lines:
            _log.debug("board: %s", line.decode("latin-1"))
        self._decoder.text_lines.clear()

    def on_lost(self, error: LinkError) -> None:
        """Let whoever waits know that the port is gone."""
        self._answers.put(error)

    # --- messages -------------------------------------------------------------------------------------------

    @property
    def line_bytes(self) -> int:
        """Longest line that the board takes."""
        return self._line_bytes

    @property
    def flow_control(self) -> bool:
        """Whether the line has RTS/CTS."""
        return self._link.flow_control

    def post(self, message: SmpMessage, *, fresh_line: bool = False) -> None:
        """Send a message and do not wait.

        Args:
            message: The message.
            fresh_line: End whatever incomplete line the board may have first; a frame behind one would be lost.

        Raises:
            LinkError: The link is lost, or the board does not take the bytes.
        """
        frame = encode_frame(message.encode(), self._line_bytes)
        self._link.write(b"\n" + frame if fresh_line else frame, _WRITE_TIMEOUT_S)

    def next_answer(self, timeout_s: float) -> SmpMessage | None:
        """The next answer, or None when none comes in time.

        Raises:
            LinkError: The link is lost.
        """
        try:
            answer = self._answers.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None
        if isinstance(answer, LinkError):
            raise answer
        return answer

    def request(
        self,
        op: SmpOp,
        group: int,
        command: int,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        tries: int = _TRIES,
    ) -> Mapping[str, Any]:
        """Ask, and ask again when no answer comes; every request of these groups may be repeated.

        Raises:
            BoardRefusedError: The server refuses.
            LinkError: No answer, or the link is lost.
        """
        for _ in range(tries):
            self._sequence = (self._sequence + 1) & 0xFF
            self.post(SmpMessage(op, group, command, body or {}, self._sequence))
            deadline = time.monotonic() + timeout_s
            while (answer := self.next_answer(deadline - time.monotonic())) is not None:
                if (answer.op, answer.group, answer.command, answer.sequence) == (
                    op + 1,
                    group,
                    command,
                    self._sequence,
                ):
                    raise_refusal(answer)
                    return answer.body
        raise LinkError(
            f"the board did not answer SMP request {group}/{command} in {tries} tries of {timeout_s:.1f} s",
            reason="no-answer",
            hint="Does an SMP server run on this port, at this bit rate?",
        )

    # --- commands -------------------------------------------------------------------------------------------

    def parameters(self) -> SmpParameters:
        """What the server can hold; small values when it does not say."""
        try:
            body = self.request(SmpOp.READ, SmpGroup.OS, OsCommand.PARAMETERS)
        except BoardRefusedError:
            return SmpParameters()
        return SmpParameters(int(body["buf_size"]), max(1, int(body.get("buf_count", 1))))

    def image_states(self) -> tuple[ImageState, ...]:
        """What is in the slots."""
        return _states(self.request(SmpOp.READ, SmpGroup.IMAGE, ImageCommand.STATE))

    def test(self, digest: str) -> tuple[ImageState, ...]:
        """Have the image with that digest started on trial at the next reset."""
        return self._write_state({"hash": bytes.fromhex(digest)})

    def confirm(self) -> tuple[ImageState, ...]:
        """Keep the image that runs."""
        return self._write_state({"confirm": True})

    def erase(self, timeout_s: float) -> None:
        """Erase the secondary slot; the answer comes when that is done."""
        self.request(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.ERASE, timeout_s=timeout_s)

    def reset(self) -> None:
        """Restart the board; it answers first."""
        self.request(SmpOp.WRITE, SmpGroup.OS, OsCommand.RESET, tries=1)

    def _write_state(self, body: Mapping[str, Any]) -> tuple[ImageState, ...]:
        return _states(self.request(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.STATE, body))


def raise_refusal(answer: SmpMessage) -> None:
    """Raise ``BoardRefusedError`` when an answer is a refusal."""
    refusal = answer.body.get("err")
    if isinstance(refusal, Mapping):
        group, code = int(refusal.get("group", answer.group)), int(refusal.get("rc", 1))
        reasons = _IMAGE_REASONS if group == SmpGroup.IMAGE else {}
    else:
        group, code, reasons = answer.group, int(answer.body.get("rc", 0)), _REASONS
    if code:
        said = answer.body.get("rsn")
        raise BoardRefusedError(
            f"the board refused SMP request {answer.group}/{answer.command} with error {code} of group {group}"
            + (f" ({said})" if said else ""),
            reason=reasons.get(code, "board-refused"),
        )


def _states(body: Mapping[str, Any]) -> tuple[ImageState, ...]:
    names = ("bootable", "pending", "confirmed", "active", "permanent")
    return tuple(
        ImageState(
            int(entry["slot"]),
            str(entry.get("version", "")),
            entry["hash"].hex() if "hash" in entry else None,
            int(entry.get("image", 0)),
            **{name: bool(entry.get(name, False)) for name in names},
        )
        for entry in body.get("images", ())
    )

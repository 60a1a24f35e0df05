"""One SMP conversation over a link: requests answered one at a time, or posted for a window to account for.

Sources: Zephyr ``doc/services/device_mgmt/smp_protocol.rst`` and ``smp_transport.rst``; MCUboot ``boot_serial.c``. Answers
may lack ``rc``, and refusals come as ``rc`` or, from Zephyr asked in version 2, as ``err``. A server never says that a
frame was damaged; only time tells.
"""

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from bridge import clock
from bridge.board.link import Link
from bridge.board.smp_answers import (
    ImageState,
    SlotInfo,
    SmpParameters,
    parse_image_states,
    parse_parameters,
    parse_slot_info,
    raise_refusal,
)
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.smp_frame import DEFAULT_LINE_BYTES, SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpFormatError, SmpGroup, SmpMessage, SmpOp

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 2.0
_TRIES: Final = 3
_WRITE_TIMEOUT_S: Final = 10.0
_KEPT_TEXT_LINES: Final = 200


class SmpClient:
    """Sends requests and finds the answers among whatever else the board prints.

    Args:
        link: The port; it must not be open yet.
        line_bytes: Longest line that the board takes.
    """

    def __init__(self, link: Link, *, line_bytes: int = DEFAULT_LINE_BYTES) -> None:
        self._link = link
        self._line_bytes = line_bytes
        self._decoder = SmpFrameDecoder(behind_text=True)
        self._changed = clock.condition()
        self._answers: deque[SmpMessage] = deque()
        self._text: deque[str] = deque(maxlen=_KEPT_TEXT_LINES)
        self._lost: LinkError | None = None
        self._sequence = 0
        link.attach(self)

    @property
    def line_bytes(self) -> int:
        """Longest line that is sent; more than 127 only to a server that says that it takes them."""
        return self._line_bytes

    @line_bytes.setter
    def line_bytes(self, line_bytes: int) -> None:
        self._line_bytes = line_bytes

    # --- called by the link ---------------------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Take received bytes."""
        answers = []
        for message in self._decoder.feed(data):
            try:
                answers.append(SmpMessage.decode(message))
            except SmpFormatError as error:
                _log.warning("%s", error.message)
        text = [line.decode("latin-1") for line in self._decoder.text_lines]
        self._decoder.text_lines.clear()
        for line in text:
            _log.debug("board: %s", line)
        if answers or text:
            with self._changed:
                self._answers += answers
                self._text += text
                self._changed.notify_all()

    def on_lost(self, error: LinkError) -> None:
        """Let whoever waits know that the port is gone."""
        with self._changed:
            self._lost = error
            self._changed.notify_all()

    def restart(self) -> None:
        """The port was opened again: what was half received is forgotten."""
        with self._changed:
            self._lost = None
            self._decoder.reset()
            self._answers.clear()

    # --- messages -------------------------------------------------------------------------------------------

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
        with self._changed:
            self._changed.wait_for(lambda: self._answers or self._lost, max(0.0, timeout_s))
            if self._answers:
                return self._answers.popleft()
            if self._lost is not None:
                raise self._lost
        return None

    def wait_text(self, timeout_s: float) -> list[str]:
        """What the board printed between frames since the last call; waits for a line if there is none.

        Raises:
            LinkError: The link is lost.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._text or self._lost, max(0.0, timeout_s))
            if self._lost is not None:
                raise self._lost
            lines = list(self._text)
            self._text.clear()
        return lines

    def end_foreign_line(self) -> None:
        """Send a line feed, behind which a request is not spoilt by what somebody left unfinished."""
        self._link.write(b"\n", _WRITE_TIMEOUT_S)

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
            LinkError: No answer (reason ``no-answer``), or the link is lost.
        """
        for _ in range(tries):
            self._sequence = (self._sequence + 1) & 0xFF
            self.post(SmpMessage(op, group, command, body or {}, self._sequence))
            wanted = (op + 1, group, command, self._sequence)
            deadline = clock.monotonic() + timeout_s
            while (answer := self.next_answer(deadline - clock.monotonic())) is not None:
                if (answer.op, answer.group, answer.command, answer.sequence) == wanted:
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
            return parse_parameters(self.request(SmpOp.READ, SmpGroup.OS, OsCommand.PARAMETERS))
        except BoardRefusedError:
            return SmpParameters()

    def image_states(self) -> tuple[ImageState, ...]:
        """What is in the slots."""
        return parse_image_states(self.request(SmpOp.READ, SmpGroup.IMAGE, ImageCommand.STATE))

    def slot_info(self) -> tuple[SlotInfo, ...]:
        """The slots themselves; empty when the server does not tell."""
        try:
            return parse_slot_info(self.request(SmpOp.READ, SmpGroup.IMAGE, ImageCommand.SLOT_INFO))
        except BoardRefusedError:
            return ()

    def is_recovery(self, *, timeout_s: float = DEFAULT_TIMEOUT_S, tries: int = _TRIES) -> bool:
        """Whether MCUboot's serial recovery answers, and not an application.

        Only the former takes the command that switches a console's echo: it has always had it, and Zephyr's server
        has never had it.
        """
        try:
            self.request(
                SmpOp.WRITE,
                SmpGroup.OS,
                OsCommand.ECHO_CONTROL,
                {"echo": 0},
                timeout_s=timeout_s,
                tries=tries,
            )
        except BoardRefusedError:
            return False
        return True

    def test(self, digest: str) -> tuple[ImageState, ...]:
        """Have the image with that digest started on trial at the next reset."""
        return self._write_state({"hash": bytes.fromhex(digest)})

    def confirm(self, digest: str | None = None) -> tuple[ImageState, ...]:
        """Keep the image that runs; with a digest, one of another number than the server's own."""
        named = {} if digest is None else {"hash": bytes.fromhex(digest)}
        return self._write_state({"confirm": True, **named})

    def erase(self, timeout_s: float, slot: int | None = None) -> None:
        """Erase the secondary slot, or another one; the answer comes when that is done."""
        body = {} if slot is None else {"slot": slot}
        self.request(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.ERASE, body, timeout_s=timeout_s)

    def reset(self, *, boot_mode: int | None = None) -> None:
        """Restart the board; it answers first.

        Args:
            boot_mode: 1 to come up in the bootloader's serial recovery (Zephyr 4.2 and later, if built in).
        """
        body = {} if boot_mode is None else {"boot_mode": boot_mode}
        self.request(SmpOp.WRITE, SmpGroup.OS, OsCommand.RESET, body, tries=1)

    def _write_state(self, body: Mapping[str, Any]) -> tuple[ImageState, ...]:
        return parse_image_states(self.request(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.STATE, body))

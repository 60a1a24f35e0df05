"""A board whose line is tapped: every piece that it sends, with the board time at which it left."""

import time
from types import TracebackType
from typing import Any, Self

from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard

_PLENTY_BYTES = 1 << 20


class TappedBoard:
    """A board in simulated time with a host at the other end of its cable.

    What one :meth:`send` sends is in the host's queue at once, so that simulated time cannot outrun the writing
    thread and the board's times are the same in every run.
    """

    def __init__(self, samples: SampleImages, **options: Any) -> None:
        options.setdefault("factory_image", samples.application("1.0.0").read_bytes())
        self.board = VirtualBoard(keys=[samples.public_key_pem], **options)
        self.cable = self.board.cable
        self.sent: list[tuple[float, bytes]] = []
        self.cable._capacity = _PLENTY_BYTES
        self._deliver = self.cable.deliver
        self.cable.deliver = self._tap  # type: ignore[method-assign]  # the line is tapped on purpose
        self.cable.plug()
        self.host(baud=115_200, flow_control=True, dtr=True)

    def __enter__(self) -> Self:
        self.board.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.stop()

    def _tap(self, data: bytes) -> None:
        self.sent.append((self.board._timeline.now_ns / 1e6, data))
        self._deliver(data)

    def host(self, **settings: int | bool) -> None:
        """Change the settings of the host's port."""
        self.cable.set_host_end(**settings)

    def send(self, data: bytes) -> None:
        """Send bytes without a gap."""
        assert self.cable.write(data, 1) == len(data)

    def read_until(self, end: bytes, timeout_s: float = 5) -> bytes:
        """Everything up to and with ``end``; what follows stays for the next call."""
        received, deadline_s = b"", time.monotonic() + timeout_s
        while not received.endswith(end):
            assert time.monotonic() < deadline_s, f"no {end!r} in {received!r}"
            received += self.cable.read(1, 0.2)
        return received

    def ask(self, command: str, end: bytes = b"OK\r\n") -> bytes:
        """Send a command and read its answer."""
        self.send(command.encode() + b"\r")
        return self.read_until(end)

    def sent_at_ms(self, text: bytes) -> float:
        """Board time at which the last piece with ``text`` had left."""
        return [time_ms for time_ms, data in self.sent if text in data][-1]

    def events(self, kind: str) -> list[dict[str, object]]:
        """Details of what has happened, of one kind."""
        return [event.details for event in list(self.board.events) if event.kind == kind]

"""What the broker's core needs from its surroundings: a way to one client, and timers."""

from collections.abc import Callable
from typing import Protocol

from bridge.lab.mqtt_packets import Packet
from bridge.lab.mqtt_reasons import ReasonCode


class ClientLink(Protocol):
    """The router's view of one connected client."""

    version: int
    """Protocol level in which packets are built, 4 or 5; learned from the CONNECT."""

    @property
    def writable(self) -> bool:
        """Whether the outgoing buffer has room; a slow reader only ever blocks itself."""
        ...

    def send(self, packet: Packet) -> None:
        """Queue a packet for sending."""
        ...

    def close(self, reason: ReasonCode | None = None, text: str = "") -> None:
        """Send what is queued and, if there is a reason and the client speaks MQTT 5, DISCONNECT; then close."""
        ...

    def cut(self) -> None:
        """Break the connection at once."""
        ...


class Timer(Protocol):
    """A call that will come."""

    def cancel(self) -> None:
        """It shall not."""
        ...


class Timers(Protocol):
    """Time in seconds from some start, and calls in the future; an asyncio loop is one."""

    def time(self) -> float:
        """Now."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], object], /) -> Timer:
        """Call once, ``delay_s`` from now."""
        ...

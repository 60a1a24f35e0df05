"""The asyncio face of one client: TLS bytes in and out, flow control, and a timer for its silence."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

from bridge.lab.broker_certificate import read_certificate
from bridge.lab.broker_client import ClientConnection
from bridge.lab.broker_policy import Policy
from bridge.lab.broker_router import Router
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import MQTT_3_1_1, MQTT_5, Disconnect, Packet
from bridge.lab.mqtt_properties import Properties
from bridge.lab.mqtt_reasons import ReasonCode

_log = logging.getLogger(__name__)

PAUSE_ABOVE_BYTES: Final = 256 * 1024
"""Above this much unsent data, QoS 0 messages are lost and QoS 1 messages wait in the session."""
CUT_ABOVE_BYTES: Final = 16 * 1024 * 1024
"""Above this much, the client does nothing but send requests and never reads: it is cut."""

CLOSE_TIMEOUT_S: Final = 5.0
"""A peer that does not read the last words within this time is cut."""
_MAX_REASON_LENGTH: Final = 200


class Tracker(Protocol):
    """Told when a client's connection begins and when it is gone."""

    def __call__(self, protocol: "BrokerProtocol", *, alive: bool) -> None:
        """Note it."""
        ...


class BrokerProtocol(asyncio.Protocol):
    """One TLS connection; also the router's link to this client."""

    def __init__(self, router: Router, policy: Policy, track: Tracker, on_change: Callable[[], None]) -> None:
        self._router = router
        self._policy = policy
        self._track = track
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self.gone: Final = self._loop.create_future()
        self.version = MQTT_3_1_1
        self._unpaused = True
        self._outgoing = bytearray()
        self._silence: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._heard_at_s = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake is done, so the client's certificate is from our CA."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=PAUSE_ABOVE_BYTES)
        certificate = read_certificate(transport)
        self._client = ClientConnection(self, self._router, self._policy, certificate)
        self._track(self, alive=True)
        self._heard_at_s = self._loop.time()
        self._watch_silence()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._heard_at_s = self._loop.time()
        if self._work(data):
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Work on what one turn of the loop was too short for, then read again."""
        if self._transport.is_closing():
            return
        if self._work(b""):
            self._loop.call_soon(self._go_on)
        else:
            self._transport.resume_reading()

    def _work(self, data: bytes) -> bool:
        limit_s = self._client.silence_limit_s
        more = False
        try:
            more = self._client.receive(data)
        except Exception:  # noqa: BLE001 - a bug in a handler must cost this client only
            _log.exception("bug while handling a client's packet")
            self.cut()
        if self._client.silence_limit_s != limit_s:
            self._watch_silence()
            self._on_change()
        return more

    @property
    def writable(self) -> bool:
        """Whether the client's buffer has room."""
        return self._unpaused and len(self._outgoing) < PAUSE_ABOVE_BYTES

    def pause_writing(self) -> None:
        """Asyncio: the buffer is over its high mark."""
        self._unpaused = False

    def resume_writing(self) -> None:
        """Asyncio: the buffer is below its low mark."""
        self._unpaused = True
        self._client.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        for timer in (self._silence, self._closing):
            if timer is not None:
                timer.cancel()
        self._client.lost()
        self._track(self, alive=False)
        self._on_change()
        self.gone.set_result(None)

    def send(self, packet: Packet) -> None:
        """Queue a packet; those of one turn of the loop go out together. A peer that never reads is cut."""
        if self._transport.is_closing():
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += encode_packet(packet, self.version)
        if len(self._outgoing) + self._transport.get_write_buffer_size() > CUT_ABOVE_BYTES:
            _log.warning("a client does not read its replies; cutting it")
            self.cut()

    def _flush(self) -> None:
        if not self._outgoing or self._transport.is_closing():
            return
        was_full = not self.writable
        self._transport.write(bytes(self._outgoing))
        self._outgoing.clear()
        if was_full and self.writable:
            self._client.resume_writing()

    def close(self, reason: ReasonCode | None = None, text: str = "") -> None:
        """Send what is queued, in MQTT 5 a DISCONNECT with the reason too, then close."""
        if self._transport.is_closing():
            return
        if reason is not None and self.version == MQTT_5:
            self.send(Disconnect(reason, Properties(reason_string=text[:_MAX_REASON_LENGTH] or None)))
        self._flush()
        self._transport.close()
        self._closing = self._loop.call_later(CLOSE_TIMEOUT_S, self.cut)

    def cut(self) -> None:
        """Break the connection at once."""
        self._transport.abort()

    def _watch_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        left_s = self._heard_at_s + self._client.silence_limit_s - self._loop.time()
        if left_s <= 0:
            self._client.too_silent()
        else:
            self._silence = self._loop.call_later(left_s, self._watch_silence)

"""An MQTT client for load: as little as a client needs, on asyncio, with the broker's own codec."""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import ConnAck, Connect, Packet, PubAck, Publish, SubAck, Subscribe

PATIENCE_S = 60.0


class LoadClient(asyncio.Protocol):
    """One connection.

    Args:
        client_id: MQTT client identifier.
        on_message: Called with each message; QoS 1 is acknowledged by itself.
        window: Messages sent and not acknowledged.
    """

    def __init__(
        self, client_id: str, on_message: Callable[[Publish], None] | None = None, *, window: int = 20
    ) -> None:
        self._client_id = client_id
        self._on_message = on_message or (lambda _: None)
        self._reader = PacketReader()
        self._room = asyncio.Semaphore(window)
        self._packet_id = 0
        loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = loop.create_future()
        self._subscribed: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    async def connect(self, port: int, tls: ssl.SSLContext, host: str = "127.0.0.1") -> None:
        """TLS and CONNECT, until CONNACK."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(
            lambda: self, host, port, ssl=tls, server_hostname=host, ssl_handshake_timeout=PATIENCE_S
        )
        self._send(Connect(self._client_id, keep_alive_s=600))
        await asyncio.wait_for(self._connected, PATIENCE_S)

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe, until SUBACK."""
        self._send(Subscribe(1, ((topic_filter, qos),)))
        await asyncio.wait_for(self._subscribed, PATIENCE_S)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1 as soon as the window has room."""
        await self._room.acquire()
        self._packet_id = self._packet_id % 0xFFFF + 1
        self._send(Publish(topic, payload, qos=1, packet_id=self._packet_id))

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self._connected, self._subscribed):
            if not waiting.done():
                waiting.cancel()
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        for packet in self._reader.feed(data):
            self._handle(packet)

    def _handle(self, packet: Packet) -> None:
        match packet:
            case Publish():
                if packet.qos:
                    self._send(PubAck(packet.packet_id))
                self._on_message(packet)
            case PubAck():
                self._room.release()
            case ConnAck(code) if code == 0:
                self._connected.set_result(None)
            case SubAck():
                self._subscribed.set_result(None)
            case _:
                self.close()

    def _send(self, packet: Packet) -> None:
        self._transport.write(encode_packet(packet))

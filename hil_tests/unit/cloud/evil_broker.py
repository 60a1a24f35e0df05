"""A broker of few words over TLS: answers each packet as the test says, or hangs up."""

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Self

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12

Behaviour = Callable[[int, bytes], bytes | None]
"""Packet type and body in; bytes to send out, or None to hang up."""


def connack(code: int) -> bytes:
    return bytes([0x20, 2, 0, code])


def suback(body: bytes, code: int) -> bytes:
    return bytes([0x90, 2 + filter_count(body)]) + body[:2] + bytes([code] * filter_count(body))


def puback(body: bytes) -> bytes:
    length = int.from_bytes(body[:2], "big")
    return bytes([0x40, 2]) + body[2 + length : 4 + length]


def publish(topic: str, payload: bytes) -> bytes:
    name = topic.encode()
    return bytes([0x30, 2 + len(name) + len(payload)]) + len(name).to_bytes(2, "big") + name + payload


def filter_count(body: bytes) -> int:
    count, position = 0, 2
    while position < len(body):
        position += 3 + int.from_bytes(body[position : position + 2], "big")
        count += 1
    return count


def obliging(kind: int, body: bytes) -> bytes | None:
    """Grants everything."""
    match kind:
        case 1:
            return connack(0)
        case 8:
            return suback(body, 1)
        case 3:
            return puback(body)
        case _:
            return b""


class EvilBroker:
    """Serves one client after the other, in MQTT 3.1.1; MQTT 5 is refused as the standard says."""

    def __init__(
        self, context: ssl.SSLContext | None, behaviour: Behaviour = obliging, *, port: int = 0
    ) -> None:
        self.behaviour = behaviour
        self.seen: Counter[int] = Counter()
        self.bodies: list[tuple[int, bytes]] = []
        self.refused_mqtt_5 = 0
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="evil-broker")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def send(self, data: bytes) -> None:
        """Send something to the client of the moment, before it is answered or hung up on."""
        assert self._client is not None
        self._client.sendall(data)

    def stop_listening(self) -> None:
        """Whoever comes now is refused."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __exit__(self, *_: object) -> None:
        self.stop_listening()
        client = self._client
        if client is not None:
            with suppress(OSError):
                # That of a TLS socket forgets the TLS first: the other thread would read ciphertext as packets.
                socket.socket.shutdown(client, socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with raw:
                self._client = raw
                with suppress(OSError):
                    self._talk(raw)

    def _talk(self, raw: socket.socket) -> None:
        if self._context is None:
            raw.recv(1)
            raw.sendall(b"220 this is no TLS server\r\n")
            return
        with self._context.wrap_socket(raw, server_side=True) as client:
            self._client = client
            while (answer := self._answer(client)) is not None:
                client.sendall(answer)

    def _answer(self, client: ssl.SSLSocket) -> bytes | None:
        header = _read(client, 1)
        length, shift = 0, 0
        while True:
            byte = _read(client, 1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        body = _read(client, length)
        kind = header[0] >> 4
        if kind == CONNECT and body[6] == 5:
            self.refused_mqtt_5 += 1
            return connack(1)
        self.seen[kind] += 1
        self.bodies.append((kind, body))
        return self.behaviour(kind, body)


def _read(client: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise ConnectionError("the client hung up")
        data += more
    return data

"""An image server for tests: honest by itself, and wrong in exactly the way that a test says, for one request each.

It works on bare sockets, because real servers refuse to send what broken ones send.
"""

import hashlib
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from hil_tests.secret_watch import MARK


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    target: str
    headers: dict[str, str]

    @property
    def range(self) -> tuple[int, int] | None:
        """First and last byte of the range that was asked for."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(match[1]), int(match[2])) if match else None


@dataclass
class Reply:
    """What the server sends, and how it goes on: ``keep``, ``close``, ``reset`` or ``stall`` the connection."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    then: str = "keep"

    def changed(self, **headers: str | None) -> Self:
        """Set headers; None removes one."""
        for name, value in headers.items():
            self.headers.pop(name.replace("_", "-"), None)
            if value is not None:
                self.headers[name.replace("_", "-")] = value
        return self


Script = Callable[["Origin", Request], Reply]


class Origin:
    """Serves ``content``; each script in ``scripts`` answers one request instead."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.scripts: deque[Script] = deque()
        self.always: Script | None = None
        self.requests: list[Request] = []
        self.connections = 0
        self.stalled = threading.Event()
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def url(self, path: str = "/app.bin", query: str = f"?X-Amz-Signature={MARK}") -> str:
        return f"http://{self.host}{path}{query}"

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    def script(self, *scripts: Script) -> None:
        """Answer the next requests so."""
        self.scripts.extend(scripts)

    def honest(self, request: Request) -> Reply:
        """As RFC 9110 wants it."""
        reply = Reply(200, {"ETag": self.etag}, self.content)
        match = request.headers.get("if-match")
        if match is not None and match != self.etag:
            return Reply(412)
        if (wanted := request.range) is None or request.headers.get("if-range", self.etag) != self.etag:
            return reply
        size, (start, end) = len(self.content), wanted
        if start >= size:
            return Reply(416, {"Content-Range": f"bytes */{size}"})
        end = min(end, size - 1)
        return Reply(
            206,
            {"ETag": self.etag, "Content-Range": f"bytes {start}-{end}/{size}"},
            self.content[start : end + 1],
        )

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # Closing alone does not wake accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close() if connection.fileno() < 0 else _shut(connection)
        for thread in self._threads:
            thread.join()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while not self._stop.is_set():
                try:
                    request = _read_request(lines)
                    if request is None or not self._answer(connection, request):
                        return
                except OSError:
                    return

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        self.requests.append(request)
        script = self.scripts.popleft() if self.scripts else self.always
        reply = self.honest(request) if script is None else script(self, request)
        headers = dict(reply.headers)
        if headers.get("Transfer-Encoding") != "chunked":
            headers.setdefault("Content-Length", str(len(reply.body)))
        if headers.get("Content-Length") == "none":
            del headers["Content-Length"]
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"HTTP/1.1 {reply.status} Fine\r\n{text}\r\n".encode() + reply.body)
        if reply.then == "stall":
            self.stalled.set()
            self._stop.wait()
        if reply.then == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return reply.then == "keep"


def cut(after: int, then: str = "close") -> Script:
    """Promise everything, send the first bytes of it."""

    def script(origin: Origin, request: Request) -> Reply:
        reply = origin.honest(request)
        reply.headers["Content-Length"] = str(len(reply.body))
        reply.body, reply.then = reply.body[:after], then
        return reply

    return script


def status(code: int, **headers: str) -> Script:
    """Refuse."""
    return lambda _origin, _request: Reply(code, {}, b"<html>no</html>").changed(**headers)


def altered(**headers: str | None) -> Script:
    """Answer honestly, with other headers."""
    return lambda origin, request: origin.honest(request).changed(**headers)


def whole(**headers: str | None) -> Script:
    """Ignore the range."""
    return lambda origin, _request: Reply(200, {"ETag": origin.etag}, origin.content).changed(**headers)


def chunked(parts: int = 3, *, end: bool = True, etag: bool = True) -> Script:
    """The whole file in chunks, without its length."""

    def script(origin: Origin, _request: Request) -> Reply:
        size = max(1, len(origin.content) // parts)
        pieces = [origin.content[at : at + size] for at in range(0, len(origin.content), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        headers = {"Transfer-Encoding": "chunked"} | ({"ETag": origin.etag} if etag else {})
        return Reply(200, headers, body + (b"0\r\n\r\n" if end else b""), "keep" if end else "close")

    return script


def becomes(content: bytes, then: Script | None = None) -> Script:
    """The file changes just before this request."""

    def script(origin: Origin, request: Request) -> Reply:
        origin.content = content
        return origin.honest(request) if then is None else then(origin, request)

    return script


def _read_request(lines: BinaryIO) -> Request | None:
    first = lines.readline().decode("latin-1")
    if not first:
        return None
    headers = {}
    while line := lines.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(first.split(" ")[1], headers)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        connection.close()

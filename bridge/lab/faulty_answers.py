"""Answers of a broken image server: other answers instead of the image, and bodies that break on their way."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from anyio import open_file
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from bridge.lab.https_server import TRANSPORT
from bridge.lab.image_faults import ImageFault

_CHUNK_BYTES: Final = 64 * 1024
_STEP_S: Final = 0.05
"""A slow body is sent in steps of this length."""


def instead_of_image(fault: ImageFault, path: Path, etag: str) -> Response | None:
    """What a fault has the server answer; None if it only breaks the body of the true answer."""
    if fault.redirect_to is not None:
        return RedirectResponse(fault.redirect_to, status_code=302)
    if fault.status is not None:
        headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
        return PlainTextResponse(f"error {fault.status}\n", status_code=fault.status, headers=headers)
    if fault.page is not None:
        return Response(fault.page, media_type="text/html")
    if fault.chunked:
        return StreamingResponse(_chunks(path), headers={"ETag": etag})
    if fault.content_range is not None:
        return _wrong_range(path, etag, fault.content_range)
    return whole_image(path, etag) if fault.ignore_range else None


def whole_image(path: Path, etag: str) -> Response:
    """The whole file, whatever range was asked for."""
    headers = {"ETag": etag, "Content-Length": str(path.stat().st_size)}
    return StreamingResponse(_chunks(path), headers=headers)


class NotedResponse(Response):
    """Tells the status that is really sent; FileResponse decides on 206 and 416 late.

    Args:
        inner: The answer.
        note: Told the status before it is sent.
    """

    def __init__(self, inner: Response, note: Callable[[int], None]) -> None:
        super().__init__()
        self._inner = inner
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(message["status"])
            await send(message)

        await self._inner(scope, receive, noting)


class FaultyBody(Response):
    """The true head, and a body that is slow, or ends or stands still too early.

    Args:
        inner: The true answer.
        fault: What goes wrong with its body.
    """

    def __init__(self, inner: Response, fault: ImageFault) -> None:
        super().__init__()
        self._inner = inner
        self._fault = fault
        limits = (fault.cut_after_bytes, fault.reset_after_bytes, fault.stall_after_bytes)
        self._left_bytes = min((limit for limit in limits if limit is not None), default=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it as far as it goes."""

        async def breaking(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            body: bytes = message.get("body", b"")
            if self._left_bytes is not None and len(body) > self._left_bytes:
                await self._paced(body[: self._left_bytes], send)
                raise _BrokenOffError
            await self._paced(body, send)
            await send({**message, "body": b""})
            if self._left_bytes is not None:
                self._left_bytes -= len(body)

        try:
            # Without this extension Starlette would leave sending the file to the server, unseen.
            await self._inner({**scope, "extensions": {}}, receive, breaking)
        except _BrokenOffError:
            if self._fault.stall_after_bytes is not None:
                while (await receive())["type"] != "http.disconnect":
                    pass
            elif self._fault.reset_after_bytes is not None:
                _reset(scope["state"][TRANSPORT])
            # Else: uvicorn closes the connection of an answer that was not completed.

    async def _paced(self, body: bytes, send: Send) -> None:
        rate = self._fault.rate_bytes_per_s
        step = len(body) if rate is None else max(1, int(rate * _STEP_S))
        for start in range(0, len(body), step or 1):
            await send({"type": "http.response.body", "body": body[start : start + step], "more_body": True})
            if rate is not None:
                await asyncio.sleep(step / rate)


class _BrokenOffError(Exception):
    """The body ends here."""


def _reset(transport: asyncio.Transport) -> None:
    """Close so that the peer gets a TCP RST."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _wrong_range(path: Path, etag: str, content_range: str) -> Response:
    headers = {"ETag": etag, "Content-Length": str(path.stat().st_size)}
    if content_range:
        headers["Content-Range"] = content_range
    return StreamingResponse(_chunks(path), status_code=206, headers=headers)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    async with await open_file(path, "rb") as file:
        while data := await file.read(_CHUNK_BYTES):
            yield data

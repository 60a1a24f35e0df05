"""Images over HTTPS with ranges: routes for the local cloud's server, and the faults that tests and demos switch on.

Starlette's FileResponse answers ranges, ``If-Range`` and 416 as nginx does; what it lacks is added here: ``If-Match``, range
units that it does not know, strong ETags that are SHA-256 of the content.
"""

import hashlib
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import open_file
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from bridge.errors import UsageError
from bridge.lab.image_faults import ImageFault, ImageFaults
from bridge.lab.presign import Presigner

PREFIX: Final = "/images/"
_CHUNK_BYTES: Final = 64 * 1024
_DENIED: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


@dataclass(frozen=True)
class ImageRequest:
    """One request, for tests to count."""

    method: str
    name: str
    range: str | None
    status: int


class ImageServer:
    """Serves files that were published; nothing else can be reached.

    Args:
        base_url: Gives the server's URL, once it listens.
        presigner: Signs and checks URLs.

    Attributes:
        faults: What goes wrong on purpose.
        requests: What was asked, in order.
    """

    def __init__(self, base_url: Callable[[], str], presigner: Presigner | None = None) -> None:
        self.faults = ImageFaults()
        self.requests: list[ImageRequest] = []
        self._base_url = base_url
        self._presigner = presigner or Presigner()
        self._lock = threading.Lock()
        self._directory = tempfile.TemporaryDirectory(prefix="nrf91-bridge-images-")
        self._files: dict[str, tuple[Path, str]] = {}
        self._private: set[str] = set()

    @property
    def routes(self) -> list[BaseRoute]:
        """For the HTTPS server."""
        return [Route(PREFIX + "{name}", self._answer, methods=["GET", "HEAD"])]

    def close(self) -> None:
        """Remove the published copies."""
        self._directory.cleanup()

    def publish(self, image: Path | bytes, name: str | None = None, *, presigned_only: bool = False) -> str:
        """Serve an image; publishing another one under its name replaces it, in mid-download too.

        Args:
            image: A file (copied), or its content.
            name: File name in the URL; the file's own by default.
            presigned_only: Answer 403 without a valid signature.

        Returns:
            Its URL.

        Raises:
            UsageError: No name, or the file cannot be read.
        """
        name = name or (image.name if isinstance(image, Path) else "")
        if not name or "/" in name:
            raise UsageError(f"an image cannot be published as {name!r}", reason="bad-name")
        try:
            content = image if isinstance(image, bytes) else image.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot publish {name}: {error.strerror}", reason="unreadable") from error
        etag = hashlib.sha256(content).hexdigest()
        copy = Path(self._directory.name) / etag
        copy.write_bytes(content)
        with self._lock:
            self._files[name] = (copy, f'"{etag}"')
            (self._private.add if presigned_only else self._private.discard)(name)
        return self.url(name)

    def url(self, name: str) -> str:
        """URL of a published image."""
        return f"{self._base_url()}{PREFIX}{name}"

    def presigned_url(self, name: str, expires_s: int = 3600) -> str:
        """URL of a published image that works for so many seconds."""
        return f"{self.url(name)}?{self._presigner.query(PREFIX + name, expires_s)}"

    async def _answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        response = self._choose(request, name)
        with self._lock:
            entry = ImageRequest(request.method, name, request.headers.get("range"), response.status_code)
            self.requests.append(entry)
        return response

    def _choose(self, request: Request, name: str) -> Response:
        with self._lock:
            found = self._files.get(name)
            private = name in self._private
        if found is None:
            return PlainTextResponse("no such image\n", status_code=404)
        signed = "X-Amz-Signature" in request.query_params
        if (private or signed) and not self._is_allowed(request):
            return Response(_DENIED, status_code=403, media_type="application/xml")
        path, etag = found
        fault = self.faults.take(name)
        if fault is not None:
            return _faulty(fault, path, etag)
        wanted = request.headers.get("if-match")
        if wanted is not None and wanted != "*" and etag not in [each.strip() for each in wanted.split(",")]:
            return Response(status_code=412, headers={"ETag": etag})
        range_header = request.headers.get("range")
        if range_header is not None and not range_header.strip().lower().startswith("bytes="):
            return _whole(path, etag)
        return FileResponse(path, headers={"ETag": etag}, media_type="application/octet-stream")

    def _is_allowed(self, request: Request) -> bool:
        try:
            return self._presigner.is_valid(request.url.path, request.query_params, request.method)
        except (ValueError, OverflowError):
            return False


def _faulty(fault: ImageFault, path: Path, etag: str) -> Response:
    if fault.redirect_to is not None:
        return RedirectResponse(fault.redirect_to, status_code=302)
    if fault.status is not None:
        headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
        return PlainTextResponse(f"error {fault.status}\n", status_code=fault.status, headers=headers)
    if fault.page is not None:
        return Response(fault.page, media_type="text/html")
    return _faulty_body(fault, path, etag)


def _faulty_body(fault: ImageFault, path: Path, etag: str) -> Response:
    if fault.chunked:
        return StreamingResponse(_chunks(path, path.stat().st_size), headers={"ETag": etag})
    if fault.content_range is not None:
        return _wrong_range(path, etag, fault.content_range)
    limit = fault.cut_after_bytes if fault.cut_after_bytes is not None else fault.stall_after_bytes
    if limit is not None:
        return _PartialResponse(path, etag, limit, stall=fault.cut_after_bytes is None)
    return _whole(path, etag)


def _whole(path: Path, etag: str) -> Response:
    size = path.stat().st_size
    return StreamingResponse(_chunks(path, size), headers={"ETag": etag, "Content-Length": str(size)})


def _wrong_range(path: Path, etag: str, content_range: str) -> Response:
    size = path.stat().st_size
    headers = {"ETag": etag, "Content-Length": str(size)}
    if content_range:
        headers["Content-Range"] = content_range
    return StreamingResponse(_chunks(path, size), status_code=206, headers=headers)


async def _chunks(path: Path, size_bytes: int) -> AsyncIterator[bytes]:
    async with await open_file(path, "rb") as file:
        left = size_bytes
        while left and (data := await file.read(min(left, _CHUNK_BYTES))):
            left -= len(data)
            yield data


class _PartialResponse(Response):
    """Promises the whole file and sends the first part of it; then it drops the connection, or falls silent."""

    def __init__(self, path: Path, etag: str, limit_bytes: int, *, stall: bool) -> None:
        super().__init__(headers={"ETag": etag})
        self._path = path
        self._etag = etag
        self._limit_bytes = limit_bytes
        self._stall = stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-length", str(self._path.stat().st_size).encode()),
            (b"etag", self._etag.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for data in _chunks(self._path, self._limit_bytes):
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if self._stall:
            while (await receive())["type"] != "http.disconnect":
                pass

"""Images over HTTPS with ranges: routes for the local cloud's server, and the faults that tests and demos switch on.

Starlette's FileResponse answers ranges, ``If-Range`` and 416 as nginx does; what it lacks is added here: ``If-Match``, range
units that it does not know, strong ETags that are SHA-256 of the content.
"""

import hashlib
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from bridge.errors import UsageError
from bridge.lab.faulty_answers import FaultyBody, NotedResponse, instead_of_image, whole_image
from bridge.lab.image_faults import ImageFaults
from bridge.lab.presign import Presigner, signed_request
from bridge.lab.s3_errors import S3Error, error_response

PREFIX: Final = "/images/"
_KEPT_REQUESTS: Final = 1_000


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
        requests: What was asked lately, in order.
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
        return f"{self._base_url()}{PREFIX}{quote(name)}"

    def presigned_url(self, name: str, expires_s: int = 3600, *, age_s: float = 0.0) -> str:
        """URL of a published image that works for so many seconds, as if it had been signed some time ago."""
        return self._presigner.url(self.url(name), expires_s, age_s=age_s)

    def note(self, method: str, name: str, asked_range: str | None, status: int) -> None:
        """Count a request; for requests of objects in buckets too, named ``bucket/key``."""
        with self._lock:
            self.requests.append(ImageRequest(method, name, asked_range, status))
            del self.requests[:-_KEPT_REQUESTS]

    async def _answer(self, request: Request) -> Response:
        name, asked = request.path_params["name"], request.headers.get("range")
        return NotedResponse(
            self._choose(request, name), lambda status: self.note(request.method, name, asked, status)
        )

    def _choose(self, request: Request, name: str) -> Response:
        with self._lock:
            found = self._files.get(name)
            private = name in self._private
        if found is None:
            return PlainTextResponse("no such image\n", status_code=404)
        signed = "X-Amz-Signature" in request.query_params
        if private or signed:
            try:
                self._presigner.check(signed_request(request))
            except S3Error as error:
                return error_response(error, PREFIX + name)
        path, etag = found
        fault = self.faults.take(name)
        instead = None if fault is None else instead_of_image(fault, path, etag)
        if instead is not None:
            return instead
        response = _honest(request, path, etag)
        return response if fault is None else FaultyBody(response, fault)


def _honest(request: Request, path: Path, etag: str) -> Response:
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted != "*" and etag not in [each.strip() for each in wanted.split(",")]:
        return Response(status_code=412, headers={"ETag": etag})
    range_header = request.headers.get("range")
    if range_header is not None and not range_header.strip().lower().startswith("bytes="):
        return whole_image(path, etag)
    return FileResponse(path, headers={"ETag": etag}, media_type="application/octet-stream")

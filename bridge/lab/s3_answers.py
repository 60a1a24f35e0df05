"""Answers of S3 about objects: preconditions, ranges, lists.

Source: S3 API Reference, GetObject and ListObjectsV2; RFC 9110 for ranges. S3 answers one range a request: of several it takes
none and sends the whole object.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from anyio import open_file
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bridge.lab.s3_errors import S3Error
from bridge.lab.s3_store import StoredObject

_CHUNK_BYTES: Final = 64 * 1024
CHECKSUM_PREFIX: Final = "x-amz-checksum-"
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)


def object_headers(stored: StoredObject) -> dict[str, str]:
    """Header fields of an object, those of a range not included."""
    return {
        "etag": f'"{stored.etag}"',
        "last-modified": formatdate(stored.modified_at, usegmt=True),
        "accept-ranges": "bytes",
        **stored.headers,
    }


def object_response(stored: StoredObject, path: Path, wanted: Mapping[str, str]) -> Response:
    """Answer GET or HEAD of an object.

    Args:
        stored: The object.
        path: Its content.
        wanted: Header fields of the request, names in lower case.

    Raises:
        S3Error: ``PreconditionFailed`` or ``InvalidRange``.
    """
    headers = object_headers(stored)
    etag = headers["etag"]
    if "if-match" in wanted and not _matches(wanted["if-match"], etag):
        raise S3Error(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            Condition="If-Match",
        )
    if "if-none-match" in wanted and _matches(wanted["if-none-match"], etag):
        kept = {name: headers[name] for name in ("etag", "last-modified")}
        return Response(status_code=304, headers=kept)
    asked = _range(wanted, etag, stored.size_bytes)
    if asked is not None or wanted.get("x-amz-checksum-mode", "").upper() != "ENABLED":
        headers = {name: value for name, value in headers.items() if not name.startswith(CHECKSUM_PREFIX)}
    start, end = asked or (0, stored.size_bytes)
    headers["content-length"] = str(end - start)
    if asked is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{stored.size_bytes}"
    return _FilePart(path, start, end, status_code=200 if asked is None else 206, headers=headers)


def list_response(
    bucket: str, found: Sequence[StoredObject], prefix: str, max_keys: int, token: str
) -> Response:
    """Answer ListObjectsV2: one page, and the token for the next."""
    page = found[:max_keys]
    more = len(found) > len(page)
    contents = "".join(
        f"<Contents><Key>{escape(each.key)}</Key>"
        f"<LastModified>{_iso(each.modified_at)}</LastModified>"
        f"<ETag>&quot;{each.etag}&quot;</ETag><Size>{each.size_bytes}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for each in page
    )
    following = (
        f"<NextContinuationToken>{escape(page[-1].key)}</NextContinuationToken>" if more and page else ""
    )
    continued = f"<ContinuationToken>{escape(token)}</ContinuationToken>" if token else ""
    return xml_response(
        f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{escape(bucket)}</Name>'
        f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>{max_keys}</MaxKeys>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{continued}{following}{contents}</ListBucketResult>"
    )


def xml_response(text: str) -> Response:
    """An XML document as an answer."""
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}', media_type="application/xml")


def _matches(wanted: str, etag: str) -> bool:
    bare = etag.strip('"')
    return wanted.strip() == "*" or bare in [each.strip().strip('"') for each in wanted.split(",")]


def _range(wanted: Mapping[str, str], etag: str, size: int) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(wanted.get("range", "").strip())
    if match is None or match.group(0) == "bytes=-" or not _matches(wanted.get("if-range", "*"), etag):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < int(first):
        return None
    if start >= size:
        raise S3Error(
            "InvalidRange",
            "The requested range is not satisfiable",
            RangeRequested=wanted["range"],
            ActualObjectSize=str(size),
        )
    return start, end


class _FilePart(Response):
    """Bytes of a file, which is closed whatever becomes of the connection."""

    def __init__(
        self, path: Path, start: int, end: int, *, status_code: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(status_code=status_code, headers=headers)
        self._path = path
        self._start = start
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with await open_file(self._path, "rb") as file:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            left = 0 if scope["method"] == "HEAD" else self._end - self._start
            await file.seek(self._start)
            while left and (data := await file.read(min(_CHUNK_BYTES, left))):
                left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _iso(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

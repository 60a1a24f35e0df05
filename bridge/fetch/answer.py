"""What the head of an HTTP answer means for a download that knows what it asked for: no I/O, only rules.

Source: RFC 9110, sections 8.8.3 (entity tags), 10.2.3 (Retry-After), 13.1 (preconditions), 14 (ranges) and 15 (status
codes); what S3, nginx, aiohttp and moto make of them was measured. Nothing of an answer is believed that contradicts the
question: bytes of a wrong range, or of another object, would end up in a board's flash.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from bridge.errors import CloudError, ImageRefusedError

_CONTENT_RANGE: Final = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE)
_UNSATISFIED: Final = re.compile(r"bytes\s+\*/(\d{1,18})", re.IGNORECASE)
_DIGITS: Final = re.compile(r"\d{1,18}")
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509})
_DENIED: Final = frozenset({400, 401, 403})


@dataclass(frozen=True)
class Ask:
    """One request for bytes.

    Attributes:
        start: First byte that is wanted.
        end: Last byte that is wanted; None for the whole file, without a ``Range`` header.
    """

    start: int
    end: int | None


@dataclass(frozen=True)
class Known:
    """What is known of the object by now.

    Attributes:
        etag: Its strong entity tag.
        size_bytes: Its size, from an earlier answer.
        expected_size: The size that it must have.
        max_size_bytes: More is refused.
    """

    etag: str | None = None
    size_bytes: int | None = None
    expected_size: int | None = None
    max_size_bytes: int | None = None


@dataclass(frozen=True)
class Body:
    """The answer's body is content of the file.

    Attributes:
        start: Where in the file it begins.
        length: Its length; None when only its end will tell.
        size_bytes: Size of the whole file; None when only the end of the body will tell.
        etag: Strong entity tag of the file, if the answer has one.
    """

    start: int
    length: int | None
    size_bytes: int | None
    etag: str | None


@dataclass(frozen=True)
class Redirect:
    """Ask there instead."""

    location: str


@dataclass(frozen=True)
class Changed:
    """The object is not the one that was asked for: start again."""


@dataclass(frozen=True)
class PastEnd:
    """416: nothing at this offset; ``size_bytes`` if the server told."""

    size_bytes: int | None


@dataclass(frozen=True)
class RangesUnusable:
    """The server's idea of ranges cannot be trusted: ask for the whole file."""

    why: str


@dataclass(frozen=True)
class Later:
    """The server cannot answer now; ``retry_after_s`` if it told when."""

    status: int
    retry_after_s: float | None


@dataclass(frozen=True)
class Denied:
    """We may not have it with this URL."""

    status: int


Verdict = Body | Redirect | Changed | PastEnd | RangesUnusable | Later | Denied


def read_answer(status: int, headers: Mapping[str, str], ask: Ask, known: Known) -> Verdict:
    """Judge an answer by its status and headers.

    Args:
        status: HTTP status code.
        headers: Header fields; names as in RFC 9110, or a mapping that ignores their case.
        ask: What was asked.
        known: What is known.

    Raises:
        CloudError: It will never be what we want: reasons ``wrong-size``, ``content-encoding``, ``bad-redirect``,
            ``http-404`` and the like.
        ImageRefusedError: It has more bytes than are allowed (reason ``too-large``).
    """
    if status in {200, 206}:
        _refuse_encoding(headers)
        return _partial(headers, ask, known) if status == 206 else _whole(headers, known)
    if status in _REDIRECTS:
        return _redirect(status, headers)
    if status == 412:
        return Changed()
    if status == 416:
        match = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
        return PastEnd(int(match[1]) if match else None)
    if status in _DENIED:
        return Denied(status)
    if status in _LATER:
        return Later(status, retry_after_s(headers.get("Retry-After"), datetime.now(UTC)))
    raise CloudError(f"the image server answers HTTP {status}", reason=f"http-{status}")


def strong_etag(value: str | None) -> str | None:
    """An ``ETag`` field, if it is a strong tag; a weak one does not promise the same bytes."""
    return value.strip() if value is not None and _STRONG_ETAG.fullmatch(value.strip()) else None


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` field asks for, given as a number or a date; None if it makes no sense."""
    text = (value or "").strip()
    if _DIGITS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # RFC 9110 knows GMT only
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _partial(headers: Mapping[str, str], ask: Ask, known: Known) -> Verdict:
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if ask.end is None or match is None:
        return RangesUnusable("206 without a Content-Range that names one range and the size")
    start, end, size_bytes = (int(number) for number in match.groups())
    if start != ask.start or not start <= end <= ask.end or end >= size_bytes:
        return RangesUnusable("Content-Range is not the range that was asked for")
    length = _length(headers)
    if length is not None and length != end - start + 1:
        return RangesUnusable("Content-Length is not the length of the range")
    etag = strong_etag(headers.get("ETag"))
    if etag is not None and known.etag is not None and etag != known.etag:
        return Changed()
    _check_size(size_bytes, known)
    if known.size_bytes not in {None, size_bytes}:
        return Changed()
    return Body(start, end - start + 1, size_bytes, etag)


def _whole(headers: Mapping[str, str], known: Known) -> Body:
    length = _length(headers)
    if length is not None:
        _check_size(length, known)
    return Body(0, length, length, strong_etag(headers.get("ETag")))


def _length(headers: Mapping[str, str]) -> int | None:
    """Length of the body; ``Transfer-Encoding`` overrides ``Content-Length`` (RFC 9112, 6.3)."""
    text = headers.get("Content-Length", "").strip()
    if "Transfer-Encoding" in headers or not _DIGITS.fullmatch(text):
        return None
    return int(text)


def _check_size(size_bytes: int, known: Known) -> None:
    if known.expected_size is not None and size_bytes != known.expected_size:
        raise CloudError(
            f"the image on the server has {size_bytes} bytes, {known.expected_size} are expected",
            reason="wrong-size",
            hint="Was the job document made for another file, or did the server send an error page?",
        )
    if known.max_size_bytes is not None and size_bytes > known.max_size_bytes:
        raise ImageRefusedError(
            f"the file has {size_bytes} bytes; at most {known.max_size_bytes} are allowed", reason="too-large"
        )


def _refuse_encoding(headers: Mapping[str, str]) -> None:
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise CloudError(
            f"the image server sends the image with Content-Encoding {encoding[:20]!r}, although it was told not to",
            reason="content-encoding",
            hint="Store the image without Content-Encoding metadata.",
        )


def _redirect(status: int, headers: Mapping[str, str]) -> Redirect:
    location = headers.get("Location", "").strip()
    if not location:
        raise CloudError(f"the image server answers HTTP {status} without a Location", reason="bad-redirect")
    return Redirect(location)

"""Judging an HTTP answer before a byte of it is believed: status, range, size, identity.

Sources: RFC 9110 (ranges, conditional requests, Retry-After); the troubles that Nordic's download library has with ranges are
listed in its documentation. A 206 is taken only if it is exactly what was asked for, or a shorter piece of it.
"""

import email.utils
import re
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests

from bridge.errors import CloudError
from bridge.fetch.cache import ObjectIdentity
from bridge.fetch.redact import redact_url

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_UNSATISFIED: Final = re.compile(r"bytes \*/(\d+)")
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class TryAgainError(CloudError):
    """This attempt failed; another one may not.

    Attributes:
        wait_s: How long the server asked to wait, if it did.
    """

    def __init__(self, message: str, *, reason: str, wait_s: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.wait_s = wait_s


class ChangedError(CloudError):
    """The file on the server is not the one that the download began with."""

    default_reason = "changed-on-server"


@dataclass(frozen=True)
class Piece:
    """What the body of an accepted answer is.

    Attributes:
        offset: Offset in the file of its first byte.
        length_bytes: Its length; None when it ends with the connection or the last chunk.
        identity: The object that it belongs to.
    """

    offset: int
    length_bytes: int | None
    identity: ObjectIdentity


def read_partial(answer: requests.Response, start: int, end: int, known: ObjectIdentity) -> Piece:
    """Judge a 206 to ``Range: bytes=start-end``.

    Raises:
        TryAgainError: It is not what was asked for.
        ChangedError: It belongs to another version of the file.
    """
    text = answer.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        raise TryAgainError(
            f"the server sent part of the file without saying which (Content-Range {text!r})",
            reason="bad-range",
        )
    first, last, total = (int(number) for number in match.groups())
    length = _content_length(answer)
    if first != start or not first <= last <= min(end, total - 1) or length not in (None, last - first + 1):
        raise TryAgainError(
            f"asked for bytes {start} to {end}, the server sent {text} in {length} bytes", reason="bad-range"
        )
    identity = _identity(answer, total)
    _check_same(identity, known)
    return Piece(first, last - first + 1, identity)


def read_whole(answer: requests.Response) -> Piece:
    """Judge a 200: the file from its start."""
    length = _content_length(answer)
    return Piece(0, length, _identity(answer, length))


def size_in_refusal(answer: requests.Response) -> int | None:
    """The file's size as a 416 tells it."""
    match = _UNSATISFIED.fullmatch(answer.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None


def check_encoding(answer: requests.Response) -> None:
    """Refuse a body that is not the file's bytes.

    Raises:
        CloudError: It is compressed although that was not asked for (reason ``content-encoding``).
    """
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise CloudError(
            f"the server compresses the file ({encoding}) although it was told not to",
            reason="content-encoding",
        )


def redirect_target(url: str, answer: requests.Response) -> str:
    """Where a redirect leads.

    Raises:
        CloudError: Nowhere, to another scheme, or from https to http (reason ``bad-redirect``).
    """
    location = answer.headers.get("Location", "")
    target = urljoin(url, location)
    schemes = urlsplit(url).scheme, urlsplit(target).scheme
    if not location or schemes not in {("http", "http"), ("http", "https"), ("https", "https")}:
        raise CloudError(
            f"{redact_url(url)} redirects to {redact_url(target) if location else 'nowhere'}, which is not followed",
            reason="bad-redirect",
        )
    return target


def refusal(url: str, answer: requests.Response) -> CloudError:
    """The error that a status code stands for."""
    code = answer.status_code
    text = f"the server answers {code} {answer.reason or ''} for {redact_url(url)}".replace("  ", " ")
    if code in TEMPORARY:
        return TryAgainError(text, reason=f"http-{code}", wait_s=_retry_after_s(answer))
    return CloudError(text, reason=f"http-{code}", hint="Check the location in the job document.")


def _retry_after_s(answer: requests.Response) -> float | None:
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _content_length(answer: requests.Response) -> int | None:
    text = answer.headers.get("Content-Length", "").strip()
    return int(text) if text.isdecimal() else None


def _identity(answer: requests.Response, size_bytes: int | None) -> ObjectIdentity:
    etag = answer.headers.get("ETag", "").strip()
    strong = etag if etag.startswith('"') else None
    return ObjectIdentity(strong, answer.headers.get("Last-Modified"), size_bytes)


def _check_same(found: ObjectIdentity, known: ObjectIdentity) -> None:
    pairs = ((found.etag, known.etag), (found.size_bytes, known.size_bytes))
    if any(new is not None and old is not None and new != old for new, old in pairs):
        raise ChangedError("the file on the server changed while it was being downloaded")

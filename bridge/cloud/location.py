"""Where a job document says the image is: one URL, or protocol, host and path, made into one checked URL.

Source: Nordic's page "AWS FOTA" (``location.url``, or ``location.protocol``, ``location.host``,
``location.path``) and its parser ``aws_fota_json.c``. Field reports add ``https://`` as protocol, a port in
the host, a slash in front of the path. A presigned URL is signed over its path and query, so both are passed
on unchanged.

No message made here repeats a URL: its query can hold a signature, its authority a password.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

_SCHEMES: Final = ("http", "https")
_PROTOCOL: Final = re.compile(r"(https?)(?::/{0,2})?", re.IGNORECASE)
_SCHEME_PREFIX: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f]")
_DISPUTED: Final = re.compile(r"[\\\"<>]")
"""RFC 3986 has no place for them; parsers do not agree where a URL ends that holds one, and so which host it names."""
_PLACEHOLDER: Final = "${"
_MAX_MIRRORS: Final = 8


class LocationError(ValueError):
    """The location makes no sense; ``member`` names the part of the document, ``reason`` is its code."""

    def __init__(self, member: str, message: str, *, reason: str = "bad-document") -> None:
        super().__init__(message)
        self.member = member
        self.reason = reason


def location_url(location: object) -> str:
    """Make one URL of a document's ``location``; ``url`` wins when both forms are there, as with Nordic.

    Returns:
        An absolute ``http`` or ``https`` URL; scheme in lower case, port, path and query as given, no
        fragment.

    Raises:
        LocationError: A member is missing, of the wrong type, or cannot be used.
    """
    if location is None:
        raise LocationError("location", "is missing")
    if not isinstance(location, Mapping):
        raise LocationError("location", "must be an object with url, or with protocol, host and path")
    if location.get("url") is not None:
        return _checked_url(_text(location, "url"), member="location.url")
    if not any(location.get(part) is not None for part in ("protocol", "host", "path")):
        raise LocationError("location", "must hold url, or protocol, host and path")
    scheme = _scheme(_text(location, "protocol"))
    host = _host(_text(location, "host"), scheme)
    path = _text(location, "path").removeprefix("/")
    if not path:
        raise LocationError("location.path", "names no file")
    return _checked_url(f"{scheme}://{host}/{path}", member="location.path")


def mirror_urls(location: object) -> tuple[str, ...]:
    """The URLs of ``location.mirrors``, which is ours and optional: other places with the same image.

    Raises:
        LocationError: It is no list of at most eight usable URLs.
    """
    mirrors = location.get("mirrors") if isinstance(location, Mapping) else None
    if mirrors is None:
        return ()
    if not isinstance(mirrors, list) or len(mirrors) > _MAX_MIRRORS:
        raise LocationError("location.mirrors", f"must be a list of at most {_MAX_MIRRORS} URLs")
    if not all(isinstance(url, str) and url.strip(" ") for url in mirrors):
        raise LocationError("location.mirrors", "must hold text only")
    return tuple(_checked_url(url.strip(" "), member="location.mirrors") for url in mirrors)


def _text(location: Mapping[object, object], part: str) -> str:
    value = location.get(part)
    if value is None:
        raise LocationError(f"location.{part}", "is missing")
    if not isinstance(value, str):
        raise LocationError(f"location.{part}", "must be text")
    text = value.strip(" ")
    if not text:
        raise LocationError(f"location.{part}", "is empty")
    return text


def _scheme(protocol: str) -> str:
    match = _PROTOCOL.fullmatch(protocol)
    if match is None:
        raise LocationError("location.protocol", "must be http or https")
    return match.group(1).lower()


def _host(text: str, scheme: str) -> str:
    host = text
    prefix = _SCHEME_PREFIX.match(text)
    if prefix is not None:
        if prefix.group(1).lower() != scheme:
            raise LocationError("location.host", "carries another protocol than location.protocol")
        host = text[prefix.end() :]
    host = host.removesuffix("/")
    if not host or re.search(r"[/?#@\\\s]", host):
        raise LocationError("location.host", "must be a host name, with :port if need be, and nothing else")
    _authority(f"{scheme}://{host}/", "location.host")
    return host


def _checked_url(url: str, *, member: str) -> str:
    if _PLACEHOLDER in url:
        raise LocationError(
            member, "still holds a ${...} placeholder: the job was created without presigned URL settings"
        )
    if _UNSEEN.search(url):
        raise LocationError(member, "holds control characters")
    if _DISPUTED.search(url):
        raise LocationError(member, "holds a backslash, a double quote, < or >; write them in percent form")
    if " " in url:
        raise _space_error(url, member)
    split = _authority(url, member)
    query = f"?{split.query}" if split.query else ""
    return f"{split.scheme}://{split.netloc}{split.path}{query}"


def _space_error(url: str, member: str) -> LocationError:
    """Two file names with a space between them are Nordic's form for the two bootloader slots."""
    names = url.partition("?")[0].split(" ")
    if len(names) == 2 and all(names):
        return LocationError(
            member,
            "holds two file names (bootloader slots S0 and S1), which cannot be installed yet; "
            "a space that belongs to one name is written %20",
            reason="dual-path-unsupported",
        )
    return LocationError(member, "holds spaces; write them as %20")


def _authority(url: str, member: str) -> SplitResult:
    """Split a URL whose scheme, host and port make sense."""
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        raise LocationError(member, "has no valid host and port") from None
    if split.scheme not in _SCHEMES:
        raise LocationError(member, "must be an http or https URL")
    if not host or port == 0:
        raise LocationError(member, "has no valid host and port")
    try:
        url.encode()
        host.encode("idna")
    except UnicodeError:
        raise LocationError(member, "has no valid host and port") from None
    return split

"""Names of hosts: how a URL names one, the one form in which names are compared, and patterns of them."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from bridge.errors import ImageRefusedError, UsageError
from bridge.fetch.addresses import Address

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN_IN_URL: Final = re.compile(r"[\x00-\x20\x7f\\\"<>]")
_MAX_NAME_CHARS: Final = 253


class HostPattern:
    """A host name, or a family of them.

    ``*`` stands for one whole label; as the first label for one or more. Names that are not ASCII are compared in their
    ASCII form.

    Args:
        text: Such as ``images.example.com``, ``*.example.com``, ``bucket.s3.*.amazonaws.com``, ``192.0.2.1``.

    Raises:
        UsageError: It can match no host (reason ``bad-host-pattern``).
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._labels = _pattern_labels(text)
        except ImageRefusedError as error:
            raise UsageError(
                f"{text!r} is no host name or pattern",
                reason="bad-host-pattern",
                hint="Write a host name without scheme and port; * stands for a whole label, as in *.example.com.",
            ) from error

    def matches(self, host: str) -> bool:
        """Whether a host name, as :func:`ascii_host` gives it, is meant."""
        labels = host.split(".") if not _is_address(host) else [host]
        pattern = self._labels
        if pattern[0] == "*" and not _is_address(host):
            tail = len(pattern) - 1
            if len(labels) <= tail:
                return False
            labels, pattern = labels[len(labels) - tail :], pattern[1:]
        return len(labels) == len(pattern) and all(
            wanted in ("*", label) for wanted, label in zip(pattern, labels, strict=True)
        )


def split_url(url: str) -> tuple[str, str]:
    """Scheme and host of a URL that every parser reads the same way.

    Raises:
        ImageRefusedError: It has none, or characters about which parsers disagree (``bad-url``).
    """
    if _FORBIDDEN_IN_URL.search(url):
        raise _bad_url("has characters that no URL may have")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _bad_url("cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise _bad_url("is no http or https URL with a host")
    return parts.scheme, host


def ascii_host(host: str) -> str:
    """A host name in the one form in which names are compared: lower case, ASCII, without the root's dot.

    Addresses must be written in the usual way: a number, an octal or hexadecimal part, or fewer than four parts, are what
    system libraries take for an address and a person does not.

    Raises:
        ImageRefusedError: It is no host name (``bad-url``).
    """
    text = host.lower().removeprefix("[").removesuffix("]")
    if ":" in text:
        return str(_ipv6(text))
    if not text.isascii():
        text = _idna(text)
    text = text.removesuffix(".")
    labels = text.split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise _bad_url("has an address that is not written in the usual form") from None
    if len(text) > _MAX_NAME_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad_url("has no valid host name")
    return text


def address_in(name: str) -> Address | None:
    """The address that a host is given by; None for a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    return address_in(name) is not None


def _pattern_labels(text: str) -> list[str]:
    host = text.strip()
    if "*" not in host:
        name = ascii_host(host)
        return [name] if _is_address(name) else name.split(".")
    # A label of letters in place of the stars, so that the rest is checked and made ASCII like any name.
    stars = [label == "*" for label in host.split(".")]
    labels = ascii_host(
        ".".join("x" if star else label for star, label in zip(stars, host.split("."), strict=True))
    )
    if all(stars) or "*" in labels:
        raise _bad_url("has no valid host name")
    return ["*" if star else label for star, label in zip(stars, labels.split("."), strict=True)]


def _idna(text: str) -> str:
    import idna  # noqa: PLC0415 - comes with requests, which uses it in the same way

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise _bad_url("has no valid host name") from None


def _ipv6(text: str) -> ipaddress.IPv6Address:
    try:
        return ipaddress.IPv6Address(text)
    except ValueError:
        raise _bad_url("has no valid address") from None


def _bad_url(what: str) -> ImageRefusedError:
    return ImageRefusedError(f"the image's URL {what}", reason="bad-url")

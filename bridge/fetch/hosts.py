"""From where images may be fetched: schemes, host names, and the addresses that they really have.

By default only https, and only from public addresses. A job document comes from the cloud, but whoever can create a job
must not be able to make this host, which stands in somebody's laboratory, send requests to its neighbours (server-side
request forgery). Plain http is for loopback, where nobody listens on the way, unless it is allowed: the URL is a key in
itself, and an application image is protected against change only if its signature or its SHA-256 is checked.

A name is checked before anything is sent, after each redirect, and again when the connection is made: then against the
addresses that the system resolved it to, of which only those are connected to that were checked. So there is no moment at
which another answer of the name server could matter. Where a proxy makes the connection, its answers count, not ours.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from bridge.errors import ImageRefusedError, UsageError
from bridge.fetch.addresses import NAMED_NETWORKS, Address, Network, Reach, reach_of, unwrapped

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


@dataclass(frozen=True)
class HostRules:
    """From where images may be fetched.

    Attributes:
        hosts: If any are given, only these.
        networks: Networks that are not public and are allowed all the same.
        http: Allow plain http from hosts that are not this one.
    """

    hosts: tuple[HostPattern, ...] = ()
    networks: tuple[Network, ...] = ()
    http: bool = False

    def check_url(self, url: str) -> None:
        """Decide from a URL alone, before anything is sent.

        Raises:
            ImageRefusedError: ``bad-url``, ``scheme-refused``, ``host-refused``, ``address-refused``.
        """
        scheme, host = split_url(url)
        self.check_host(scheme, host)

    def check_host(self, scheme: str, host: str) -> None:
        """Decide from scheme and host; a host may be a name, or an address in the usual form.

        Raises:
            ImageRefusedError: As :meth:`check_url`.
        """
        name = ascii_host(host)
        if self.hosts and not any(pattern.matches(name) for pattern in self.hosts):
            raise ImageRefusedError(
                f"images may not be fetched from {name}",
                reason="host-refused",
                hint="Allow it with --allow-host, or correct the location in the job document.",
            )
        address = _address(name)
        if address is not None:
            self.check_address(name, address)
        elif _is_this_host(name) and not self._allows_loopback:
            raise _address_refused(name, name, Reach.LOOPBACK)
        if scheme != "https" and not self.http:
            on_this_host = _is_this_host(name) if address is None else reach_of(address) is Reach.LOOPBACK
            if not on_this_host:
                raise ImageRefusedError(
                    f"images may not be fetched by plain {scheme} from {name}",
                    reason="scheme-refused",
                    hint="Use an https URL, or allow it with --allow-http.",
                )

    def check_address(self, host: str, address: Address) -> None:
        """Decide about one address of a host.

        Raises:
            ImageRefusedError: It is not public, and not allowed (``address-refused``).
        """
        reach = reach_of(address)
        if reach is Reach.PUBLIC:
            return
        real = unwrapped(address)
        if not any(real in network for network in self.networks):
            raise _address_refused(host, str(address), reach)

    def resolve(self, scheme: str, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to, in the system's order.

        Raises:
            ImageRefusedError: As :meth:`check_url`; or it has none (``address-refused``).
            OSError: The name cannot be resolved.
        """
        self.check_host(scheme, host)
        name = ascii_host(host)
        refusal: ImageRefusedError | None = None
        allowed: list[str] = []
        for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
            text = str(found[4][0])
            try:
                self._check_resolved(scheme, name, text)
            except ImageRefusedError as error:
                refusal = refusal or error
            else:
                allowed.append(text)
        if not allowed and refusal is not None:
            raise refusal
        return list(dict.fromkeys(allowed))

    @property
    def _allows_loopback(self) -> bool:
        return any(network.overlaps(loop) for network in self.networks for loop in _loopback(network))

    def _check_resolved(self, scheme: str, host: str, text: str) -> None:
        address = ipaddress.ip_address(text)
        self.check_address(host, address)
        if scheme != "https" and not self.http and reach_of(address) is not Reach.LOOPBACK:
            raise ImageRefusedError(
                f"{host} is not this host, so plain {scheme} is refused", reason="scheme-refused"
            )


THIS_HOST: Final = HostRules(networks=NAMED_NETWORKS["loopback"])
"""For a local cloud: also from loopback addresses, over https or http."""


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


def parse_network(text: str) -> tuple[Network, ...]:
    """Networks that a word or a prefix stands for.

    Args:
        text: ``loopback``, ``private``, ``link-local``, an address, or a prefix such as ``192.168.7.0/24``.

    Raises:
        UsageError: It is none (reason ``bad-network``).
    """
    named = NAMED_NETWORKS.get(text.strip().lower())
    if named is not None:
        return named
    try:
        return (ipaddress.ip_network(text.strip()),)
    except ValueError:
        raise UsageError(
            f"{text!r} is no network",
            reason="bad-network",
            hint="Write loopback, private, link-local, or a prefix such as 192.168.7.0/24.",
        ) from None


def _loopback(like: Network) -> list[Network]:
    return [each for each in NAMED_NETWORKS["loopback"] if each.version == like.version]


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


def _address(name: str) -> Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    return _address(name) is not None


def _is_this_host(name: str) -> bool:
    """``localhost`` and what is below it (RFC 6761)."""
    return name == "localhost" or name.endswith(".localhost")


def _address_refused(host: str, address: str, reach: Reach) -> ImageRefusedError:
    what = f"{host} is" if host == address else f"{host} has the address {address}, which is"
    allow = reach.value if reach.value in NAMED_NETWORKS else address
    return ImageRefusedError(
        f"images may not be fetched from there: {what} {reach.value}, not public",
        reason="address-refused",
        hint=f"If the image server is meant to be there, allow it with --allow-network {allow}.",
    )


def _bad_url(what: str) -> ImageRefusedError:
    return ImageRefusedError(f"the image's URL {what}", reason="bad-url")

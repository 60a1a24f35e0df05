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
import socket
from dataclasses import dataclass
from typing import Final

from bridge.errors import ImageRefusedError, UsageError
from bridge.fetch.addresses import NAMED_NETWORKS, Address, Network, Reach, reach_of, unwrapped
from bridge.fetch.host_names import HostPattern, address_in, ascii_host, split_url


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
        address = address_in(name)
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

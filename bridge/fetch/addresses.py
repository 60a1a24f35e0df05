"""What kind of network an IP address belongs to, whatever it is dressed up as.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates). The table is written out here,
because ``ipaddress.is_global`` changed its mind between Python releases and counts multicast as global. Addresses that
carry an IPv4 address (RFC 4291 mapped and compatible, RFC 6052 NAT64, RFC 3056 6to4) are judged by that one: it is where
the packets go in the end.
"""

import ipaddress
from enum import StrEnum
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reach(StrEnum):
    """How far an address reaches."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    RESERVED = "reserved"


_TABLE: Final[dict[Reach, tuple[str, ...]]] = {
    Reach.LOOPBACK: ("127.0.0.0/8", "::1/128"),
    Reach.PRIVATE: (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        "100.64.0.0/10",  # shared between a carrier and its customers
        "fc00::/7",
        "fec0::/10",  # site-local, deprecated, but still routed by somebody
    ),
    Reach.LINK_LOCAL: ("169.254.0.0/16", "fe80::/10"),
    Reach.RESERVED: (
        "0.0.0.0/8",  # on Linux 0.0.0.0 is this very host
        *("192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "3fff::/20"),
    ),
}
_KINDS: Final = [(ipaddress.ip_network(text), reach) for reach, texts in _TABLE.items() for text in texts]
NAMED_NETWORKS: Final[dict[str, tuple[Network, ...]]] = {
    reach.value: tuple(ipaddress.ip_network(text) for text in _TABLE[reach])
    for reach in (Reach.LOOPBACK, Reach.PRIVATE, Reach.LINK_LOCAL)
}
"""What can be allowed by name."""
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given out so far (RFC 4291, 2.4)."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_LOW_32_BITS: Final = 0xFFFF_FFFF


def reach_of(address: Address) -> Reach:
    """The kind of network that an address belongs to."""
    real = unwrapped(address)
    is_public = isinstance(real, ipaddress.IPv4Address) or real in _GLOBAL_UNICAST
    default = Reach.PUBLIC if is_public else Reach.RESERVED
    return next((reach for network, reach in _KINDS if real in network), default)


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, if there is one; else the address without its zone."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    plain = ipaddress.IPv6Address(number)
    if plain in _NAT64 or (plain in _COMPATIBLE and number > 1):
        return ipaddress.IPv4Address(number & _LOW_32_BITS)
    return plain

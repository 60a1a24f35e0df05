"""Who may do what: the interface that the broker asks, and the default that binds a certificate to its own thing.

The default is the least a bridge needs (AWS IoT Developer Guide, "AWS IoT Core policies"): a certificate speaks for
the thing of its common name and for nothing else under ``$aws``. :mod:`bridge.lab.broker_principals` evaluates real
policy documents instead.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from bridge.lab.mqtt_topics import is_topic_filter, plain_filter

_THING_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
MAX_CLIENT_ID_BYTES: Final = 128


@dataclass(frozen=True)
class ClientCertificate:
    """What a client proved in its TLS handshake.

    Attributes:
        common_name: The subject's common name, or "".
        der: The certificate.
        names: Attributes of subject and issuer and the serial number, under AWS's names of policy variables, such as
            ``iot:Certificate.Subject.CommonName``.
    """

    common_name: str
    der: bytes = b""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Access(Protocol):
    """What one client may do under one certificate."""

    @property
    def identity(self) -> str:
        """Whom a session belongs to: nobody else inherits it."""
        ...

    def may_connect(self, *, persistent: bool, will_topic: str | None) -> bool:
        """Whether the session may be opened like this."""
        ...

    def may_publish(self, topic: str, *, retain: bool = False) -> bool:
        """Whether a message may be published."""
        ...

    def may_subscribe(self, topic_filter: str) -> bool:
        """Whether a filter may be subscribed."""
        ...

    def may_receive(self, topic: str, share_name: str = "") -> bool:
        """Whether a message may be delivered, perhaps by a shared subscription; asked for each message."""
        ...


class Policy(Protocol):
    """Gives each client its rights."""

    def access(self, certificate: ClientCertificate, client_id: str) -> Access | None:
        """Rights of a client; None for a certificate that must not get in at all, not even a CONNACK."""
        ...


@dataclass(frozen=True)
class ThingAccess:
    """A thing reaches ``$aws/things/<itself>/…`` and some free topics; a service reaches everything."""

    identity: str
    free_prefixes: tuple[str, ...] = ()
    is_service: bool = False

    def may_connect(self, *, persistent: bool, will_topic: str | None) -> bool:
        """A thing may use any client id; Jobs does not tie the two together, and neither does this policy."""
        return self.is_service or _THING_NAME.fullmatch(self.identity) is not None

    def may_publish(self, topic: str, *, retain: bool = False) -> bool:
        """Own thing's topics and the free ones."""
        return self.is_service or topic.startswith((f"$aws/things/{self.identity}/", *self.free_prefixes))

    def may_subscribe(self, topic_filter: str) -> bool:
        """Filters that cannot reach beyond the own thing's topics and the free ones."""
        return is_topic_filter(topic_filter) and self.may_publish(plain_filter(topic_filter))

    def may_receive(self, topic: str, share_name: str = "") -> bool:
        """Whatever could be subscribed."""
        return True


class ThingPolicy:
    """The default: the certificate's common name is its thing.

    Args:
        free_prefixes: Topic prefixes that every thing may use, for experiments beside the jobs.
        services: Common names without limits, such as that of a Jobs service that is itself an MQTT client.
    """

    def __init__(
        self, *, free_prefixes: tuple[str, ...] = ("lab/",), services: frozenset[str] = frozenset()
    ) -> None:
        self._free_prefixes = free_prefixes
        self._services = services

    def access(self, certificate: ClientCertificate, client_id: str) -> ThingAccess:
        """Rights of the thing that is named in the certificate."""
        name = certificate.common_name
        return ThingAccess(name, self._free_prefixes, name in self._services)

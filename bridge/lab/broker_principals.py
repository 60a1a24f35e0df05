"""Rights from AWS IoT policy documents: a certificate is looked up, its policies are evaluated.

Sources: AWS IoT Developer Guide, "Policy actions", "Action resources", "Thing policy variables" (the thing is the
one that is named like the client id and attached to the certificate), "X.509 certificate policy variables".
"""

from functools import cached_property
from typing import Final

from bridge.lab.broker_policy import Access, ClientCertificate, Policy
from bridge.lab.iot_policy_patterns import Context
from bridge.lab.iot_policy_rules import Decision, evaluate
from bridge.lab.mqtt_topics import is_topic_filter
from bridge.lab.principal import Principal, PrincipalSource

_REMEMBERED: Final = 1024
_MAX_VARIABLE_LENGTH: Final = 1024


class PrincipalAccess:
    """What a principal's policies allow to one client id; decisions are kept as long as the connection.

    Args:
        principal: Who the registry says that is.
        certificate: What the client presented.
        client_id: MQTT client identifier.
    """

    def __init__(self, principal: Principal, certificate: ClientCertificate, client_id: str) -> None:
        self._principal = principal
        self._certificate = certificate
        self._client_id = client_id
        self._decided: dict[tuple[str, str], bool] = {}

    @property
    def identity(self) -> str:
        """The certificate's id."""
        return self._principal.certificate_id

    def may_connect(self, *, persistent: bool, will_topic: str | None) -> bool:
        """``iot:Connect`` on the client id, with AWS's attributes of a CONNECT; a will must be publishable too."""
        attributes = ("PersistentConnect",) * persistent + ("LastWill",) * (will_topic is not None)
        context = {**self._context, "iot:ConnectAttributes": attributes}
        if will_topic is not None:
            context["iot:LastWillTopic"] = (f"topic/{will_topic}",)
        return self._decide("iot:Connect", f"client/{self._client_id}", context)

    def may_publish(self, topic: str, *, retain: bool = False) -> bool:
        """``iot:Publish`` on the topic, and ``iot:RetainPublish`` if it shall be retained."""
        return self._may("iot:Publish", f"topic/{topic}") and (
            not retain or self._may("iot:RetainPublish", f"topic/{topic}")
        )

    def may_subscribe(self, topic_filter: str) -> bool:
        """``iot:Subscribe`` on the filter, whose ``+`` and ``#`` are plain characters to a policy."""
        return is_topic_filter(topic_filter) and self._may("iot:Subscribe", f"topicfilter/{topic_filter}")

    def may_receive(self, topic: str, share_name: str = "") -> bool:
        """``iot:Receive`` on the topic, or on the topic of the group that shares it."""
        return self._may("iot:Receive", f"topic/{topic}") or (
            bool(share_name) and self._may("iot:Receive", f"topic/$share/{share_name}/{topic}")
        )

    def _may(self, action: str, resource: str) -> bool:
        if (known := self._decided.get((action, resource))) is not None:
            return known
        if len(self._decided) >= _REMEMBERED:
            self._decided.clear()
        allowed = self._decided[action, resource] = self._decide(action, resource, self._context)
        return allowed

    def _decide(self, action: str, resource: str, context: Context) -> bool:
        return evaluate(self._principal.policies, action, resource, context) is Decision.ALLOWED

    @cached_property
    def _context(self) -> dict[str, tuple[str, ...]]:
        attached = self._client_id in self._principal.things
        context: dict[str, tuple[str, ...]] = {
            "iot:ClientId": (self._client_id,),
            "iot:CertificateId": (self._principal.certificate_id,),
            "iot:Connection.Thing.IsAttached": (str(attached).lower(),),
        }
        if attached:
            context["iot:Connection.Thing.ThingName"] = (self._client_id,)
        for name, values in self._certificate.names.items():
            usable = tuple(value for value in values if _is_usable(value))
            if usable:
                context[name] = usable[:1]
                context[f"{name}.List"] = usable
                context |= {f"{name}.{index}": (value,) for index, value in enumerate(usable)}
        return context


class PrincipalPolicy:
    """Asks a registry who a certificate is.

    Args:
        source: The registry.
        unknown: Policy of certificates that the registry does not know; without one they do not get in.
    """

    def __init__(self, source: PrincipalSource, *, unknown: Policy | None = None) -> None:
        self._source = source
        self._unknown = unknown

    def access(self, certificate: ClientCertificate, client_id: str) -> Access | None:
        """Rights of the principal."""
        principal = self._source.principal(certificate.der)
        if principal is not None:
            return PrincipalAccess(principal, certificate, client_id)
        return None if self._unknown is None else self._unknown.access(certificate, client_id)


def _is_usable(value: str) -> bool:
    """A certificate's values with wildcards or of excessive length are never put into a policy."""
    return len(value) <= _MAX_VARIABLE_LENGTH and not {"*", "?"} & set(value)

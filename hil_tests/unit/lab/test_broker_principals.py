"""Certificates, things and policies together: what a registered client may do on the broker."""

import json
from dataclasses import dataclass, field

import pytest

from bridge.lab.broker_policy import ClientCertificate, ThingPolicy
from bridge.lab.broker_principals import PrincipalPolicy
from bridge.lab.broker_router import Router
from bridge.lab.iot_policy import PolicyDocument
from bridge.lab.iot_policy_rules import LOCAL_ARN_PREFIX as ARN
from bridge.lab.mqtt_packets import MQTT_5, Connect, PubAck, Publish, SubAck, Subscribe, Will
from bridge.lab.principal import Principal, certificate_id
from hil_tests.unit.lab.links import FakeClient, FakeTimers

OWN_THING = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": f"{ARN}:client/${{iot:Connection.Thing.ThingName}}",
                "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
            },
            {
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:Receive"],
                "Resource": [
                    f"{ARN}:topic/$aws/things/${{iot:Connection.Thing.ThingName}}/jobs/*",
                    f"{ARN}:topic/by-name/${{iot:Certificate.Subject.CommonName}}",
                    f"{ARN}:topic/by-id/${{iot:CertificateId}}",
                ],
            },
            {"Effect": "Allow", "Action": "iot:RetainPublish", "Resource": f"{ARN}:topic/by-id/*"},
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": [
                    f"{ARN}:topicfilter/$aws/things/${{iot:Connection.Thing.ThingName}}/jobs/*",
                    f"{ARN}:topicfilter/by-name/+",
                ],
            },
        ],
    }
)
DER = b"the certificate"
NAMES = {"iot:Certificate.Subject.CommonName": ("cn-7",), "iot:Certificate.Subject.Organization": ("A", "B*")}


@dataclass
class Registry:
    """Certificates by their DER."""

    principals: dict[bytes, Principal] = field(default_factory=dict)

    def principal(self, certificate_der: bytes) -> Principal | None:
        return self.principals.get(certificate_der)

    def register(self, der: bytes, things: set[str], *policies: str) -> None:
        documents = tuple(map(PolicyDocument.parse, policies))
        self.principals[der] = Principal(certificate_id(der), frozenset(things), documents)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(DER, {"thing-a", "thing-b"}, OWN_THING)
    return registry


@pytest.fixture
def router() -> Router:
    return Router(FakeTimers())


def client_of(router: Router, registry: Registry, der: bytes = DER, version: int = MQTT_5) -> FakeClient:
    certificate = ClientCertificate("cn-7", der, NAMES)
    return FakeClient(router, policy=PrincipalPolicy(registry), certificate=certificate, version=version)


def test_given_a_certificate_of_two_things_then_the_client_id_decides_which_one_it_is(
    router: Router, registry: Registry
) -> None:
    for thing, other in (("thing-a", "thing-b"), ("thing-b", "thing-a")):
        client = client_of(router, registry)
        assert client.connect(thing).code == 0
        own = Publish(f"$aws/things/{thing}/jobs/get", b"{}", qos=1, packet_id=1)
        others = Publish(f"$aws/things/{other}/jobs/get", b"{}", qos=1, packet_id=2)
        assert client.say(own) == [PubAck(1)]
        assert client.say(others) == [PubAck(2, 0x87)]


@pytest.mark.parametrize("client_id", ["thing-c", "x${iot:Connection.Thing.ThingName}", "*"])
def test_given_a_client_id_that_is_none_of_its_things_then_not_let_in(
    router: Router, registry: Registry, client_id: str
) -> None:
    assert client_of(router, registry).connect(client_id).code == 0x87
    old = client_of(router, registry, version=4)
    assert old.say(Connect(client_id)) == []
    assert old.link.closed


def test_given_a_certificate_that_nobody_registered_then_it_does_not_even_get_a_connack(
    router: Router, registry: Registry
) -> None:
    client = client_of(router, registry, b"another")
    assert client.say(Connect("thing-a", version=MQTT_5)) == []
    assert client.link.closed


def test_given_a_default_for_the_unknown_then_it_applies_to_them_only(
    router: Router, registry: Registry
) -> None:
    policy = PrincipalPolicy(registry, unknown=ThingPolicy())
    stranger = FakeClient(router, policy=policy, certificate=ClientCertificate("thing-x", b"new"))
    assert stranger.connect("any").code == 0
    registered = FakeClient(router, policy=policy, certificate=ClientCertificate("thing-x", DER), version=5)
    assert registered.connect("any").code == 0x87


def test_given_a_registered_certificate_without_policies_then_nothing_is_allowed(
    router: Router, registry: Registry
) -> None:
    registry.register(b"bare", {"thing-a"})
    assert client_of(router, registry, b"bare").connect("thing-a").code == 0x87


def test_given_variables_of_the_certificate_then_topics_are_bound_to_it(
    router: Router, registry: Registry
) -> None:
    client = client_of(router, registry)
    client.connect("thing-a")
    for topic, reason in (
        ("by-name/cn-7", 0),
        ("by-name/cn-8", 0x87),
        (f"by-id/{certificate_id(DER)}", 0),
        ("by-id/0", 0x87),
    ):
        assert client.say(Publish(topic, b"", qos=1, packet_id=1)) == [PubAck(1, reason)]


def test_given_a_retained_publish_then_it_needs_its_own_permission(
    router: Router, registry: Registry
) -> None:
    client = client_of(router, registry)
    client.connect("thing-a")
    for topic, reason in (("by-name/cn-7", 0x87), (f"by-id/{certificate_id(DER)}", 0)):
        assert client.say(Publish(topic, b"x", qos=1, retain=True, packet_id=1)) == [PubAck(1, reason)]


def test_given_filters_then_the_policy_compares_them_as_text(router: Router, registry: Registry) -> None:
    client = client_of(router, registry)
    client.connect("thing-a")
    wanted = (
        ("$aws/things/thing-a/jobs/#", 1),
        ("$aws/things/+/jobs/#", 1),
        ("by-name/+", 1),
        ("by-name/cn-7", 1),
        ("by-name/#", 1),
        ("by-name/a#", 1),
    )
    assert client.say(Subscribe(1, wanted)) == [SubAck(1, (1, 0x87, 1, 0x87, 0x87, 0x8F))]


def test_given_a_subscription_that_reaches_further_than_iot_receive_then_only_the_allowed_arrives(
    router: Router, registry: Registry
) -> None:
    client = client_of(router, registry)
    client.connect("thing-a")
    client.subscribe("by-name/+")
    for topic in ("by-name/cn-8", "by-name/cn-7"):
        for qos in (0, 1):
            router.publish(Publish(topic, b"p", qos=qos))
    assert client.messages() == [("by-name/cn-7", b"p")] * 2


def test_given_a_will_then_it_must_be_publishable(router: Router, registry: Registry) -> None:
    def code(topic: str, *, retain: bool) -> int:
        will = Will(topic, b"", 0, retain)
        return client_of(router, registry).connect("thing-a", will=will).code

    assert code("by-name/cn-7", retain=False) == 0
    assert code("by-name/cn-7", retain=True) == 0x87
    assert code("by-name/cn-8", retain=False) == 0x87


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [("Organization", 0), ("Organization.0", 0), ("Organization.1", 0x87), ("Country", 0x87)],
)
def test_given_an_attribute_with_several_values_then_the_first_usable_counts(
    router: Router, registry: Registry, attribute: str, expected: int
) -> None:
    condition = {"StringLike": {f"iot:Certificate.Subject.{attribute}": "*"}}
    allow = {"Effect": "Allow", "Action": "iot:*", "Resource": "*", "Condition": condition}
    registry.register(DER, set(), json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    assert client_of(router, registry).connect("any").code == expected


def test_given_more_topics_than_are_remembered_then_decisions_stay_right(
    router: Router, registry: Registry
) -> None:
    client = client_of(router, registry)
    client.connect("thing-a")
    for number in range(1100):
        assert client.say(Publish(f"no/{number}", b"", qos=1, packet_id=1)) == [PubAck(1, 0x87)]
    assert client.say(Publish("by-name/cn-7", b"", qos=1, packet_id=1)) == [PubAck(1)]


@pytest.mark.parametrize(
    ("topic", "expected"), [("$share/*/by-name/x", 1), ("by-name/x", 1), ("$share/other/by-name/x", 0)]
)
def test_given_a_shared_subscription_then_the_policy_sees_it_with_its_name(
    router: Router, registry: Registry, topic: str, expected: int
) -> None:
    statements = [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": f"{ARN}:topicfilter/$share/*/by-name/x"},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": f"{ARN}:topic/{topic}"},
    ]
    registry.register(DER, set(), json.dumps({"Version": "2012-10-17", "Statement": statements}))
    client = client_of(router, registry)
    client.connect("worker")
    wanted = (("by-name/x", 1), ("$share/group/by-name/x", 1))
    assert client.say(Subscribe(1, wanted)) == [SubAck(1, (0x87, 1))]
    for qos in (0, 1):
        router.publish(Publish("by-name/x", b"p", qos=qos))
    assert client.messages() == [("by-name/x", b"p")] * 2 * expected

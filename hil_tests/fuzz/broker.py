"""What clients send to the local cloud's broker: raw MQTT before and after CONNECT, and policy documents."""

import itertools
import json

from bridge.errors import BridgeError
from bridge.lab.broker_client import ClientConnection
from bridge.lab.broker_policy import ClientCertificate, ThingPolicy
from bridge.lab.broker_router import Router
from bridge.lab.iot_policy import PolicyDocument
from bridge.lab.iot_policy_rules import Decision, evaluate
from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import (
    MQTT_3_1_1,
    MQTT_5,
    Connect,
    Disconnect,
    MalformedPacketError,
    Packet,
    PingReq,
    PubAck,
    Publish,
    Subscribe,
    Unsubscribe,
    Will,
)
from bridge.lab.mqtt_properties import Properties
from hil_tests.fuzz.choices import Choices
from hil_tests.fuzz.target import Target
from hil_tests.unit.lab.links import FakeLink, FakeTimers

_NOTES = Properties(
    payload_format=1,
    message_expiry_s=60,
    content_type="text/plain",
    response_topic="lab/answer",
    correlation_data=b"42",
    user_properties=(("k", "v"),),
    topic_alias=1,
)


def fuzz_broker(data: bytes) -> None:
    """Bytes of a client that may or may not have connected, beside one that behaves and must not suffer."""
    choices = Choices(data)
    timers = FakeTimers()
    router = Router(timers)
    good, good_link = _connection(router, "good")
    good.receive(encode_packet(Connect("good")) + encode_packet(Subscribe(1, (("lab/good", 1),))))
    bad, bad_link = _connection(router, "bad")
    version = choices.of((MQTT_3_1_1, MQTT_5))
    if choices.flag():
        bad.receive(encode_packet(Connect("bad", clean_session=False, version=version)))
    cut = choices.number(1)
    rest = choices.rest()
    for part in (rest[:cut], rest[cut:]):
        while not bad_link.closed and bad.receive(part):
            part = b""  # noqa: PLW2901 - the rest of it
    timers.advance(1)
    bad.lost()
    assert router.connected == {"good"}
    assert not good_link.closed
    good_link.take()
    router.publish(Publish("lab/good", b"alive", qos=1))
    assert [one.payload for one in good_link.take() if isinstance(one, Publish)] == [b"alive"]
    timers.advance(4000)


def _connection(router: Router, name: str) -> tuple[ClientConnection, FakeLink]:
    link = FakeLink()
    return ClientConnection(link, router, ThingPolicy(), ClientCertificate(name)), link


def fuzz_codec(data: bytes) -> None:
    """What can be read can be written, and reads the same again."""
    choices = Choices(data)
    version = choices.of((MQTT_3_1_1, MQTT_5))
    reader, packets = PacketReader(version=version), list[Packet]()
    try:
        packets.extend(reader.feed(choices.rest()))
    except MalformedPacketError:
        return
    for packet in itertools.takewhile(lambda one: not isinstance(one, Connect), packets):
        assert list(PacketReader(version=version).feed(encode_packet(packet, version))) == [packet]


def fuzz_policy(data: bytes) -> None:
    """Any JSON as a policy document; what is accepted can be asked, and nobody is allowed by accident."""
    try:
        document = PolicyDocument.parse(data)
    except BridgeError:
        return
    context = {"iot:ClientId": ("c",), "iot:ConnectAttributes": ()}
    decision = evaluate([document], "iot:Publish", "topic/a", context)
    if decision is Decision.ALLOWED:
        assert any(statement.effect == "Allow" for statement in document.statements)


def conversation_seeds() -> list[bytes]:
    """What real clients say, after a connection that they made themselves or were given."""
    seeds: list[bytes] = []
    for index, version in enumerate((MQTT_3_1_1, MQTT_5)):
        notes = _NOTES if version == MQTT_5 else Properties()
        connect = Connect(
            "c",
            clean_session=False,
            will=Will("lab/gone", b"", 1, retain=True),
            username="u",
            version=version,
        )
        packets: list[Packet] = [
            Publish("lab/x", b"payload", qos=1, retain=True, packet_id=1, properties=notes),
            Subscribe(2, (("lab/#", 1), ("$aws/things/bad/jobs/+/get", 0))),
            Publish("lab/good", b"", qos=0),
            PubAck(1),
            Unsubscribe(3, ("lab/#",)),
            PingReq(),
            Disconnect(),
        ]
        stream = b"".join(encode_packet(packet, version) for packet in packets)
        seeds += [
            bytes([index, 1, 20]) + stream,
            bytes([index, 0, 7]) + encode_packet(connect, version) + stream,
            bytes([index, 1, 0]) + b"\x30\xff\xff\xff\x7f",
        ]
    return seeds


def codec_seeds() -> list[bytes]:
    """The same, for the codec alone."""
    return [bytes([seed[0]]) + seed[3:] for seed in conversation_seeds()]


def policy_seeds() -> list[bytes]:
    """Policies as people write them."""
    own = {
        "Effect": "Allow",
        "Action": ["iot:Publish", "iot:Receive"],
        "Resource": "arn:aws:iot:*:*:topic/${iot:Connection.Thing.ThingName}/*",
        "Condition": {
            "Bool": {"iot:Connection.Thing.IsAttached": "true"},
            "ForAnyValue:StringLikeIfExists": {"iot:ConnectAttributes": ["Last*"]},
        },
    }
    documents: list[object] = [
        {"Version": "2012-10-17", "Statement": own},
        {"Version": "2012-10-17", "Statement": [own, {"Effect": "Deny", "Action": "*", "Resource": ["*"]}]},
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*a*b?"}]},
    ]
    odd = (b"[" * 1000 + b"]" * 1000, b"[" * 2000, b'{"Version":"2012-10-17","Statement":[{"Effect":1e999}]}')
    return [json.dumps(document).encode() for document in documents] + [*odd]


TARGETS = (
    Target("mqtt-broker", fuzz_broker, conversation_seeds, __name__),
    Target("mqtt-codec", fuzz_codec, codec_seeds, __name__),
    Target("iot-policy", fuzz_policy, policy_seeds, __name__, max_bytes=2048),
)

"""Eclipse paho-mqtt in MQTT 5 on our broker: subscription options, wills, sessions, refusals."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from hil_tests.contracts.sdk_jobs import PATIENCE_S, THING
from hil_tests.lab_rig import HOST, JobsRig, builtin_jobs

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsRig]:
    with builtin_jobs(tmp_path_factory.mktemp("paho")) as rig:
        yield rig


def properties(packet: int, **members: object) -> Properties:
    made = Properties(packet)  # type: ignore[no-untyped-call]  # paho's
    for name, value in members.items():
        setattr(made, name, value)
    return made


class PahoClient:
    """A paho client whose callbacks only put what they get into queues."""

    def __init__(self, rig: JobsRig, client_id: str) -> None:
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self.messages: SimpleQueue[paho.MQTTMessage] = SimpleQueue()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        cert_file, key_file = rig.certificates.thing(THING)
        self.client.tls_set(str(rig.certificates.ca_file), str(cert_file), str(key_file))
        # The callbacks know the queues only: a cycle would leave paho's sockets to the garbage collector.
        answers, messages = self.answers, self.messages
        self.client.on_connect = lambda *got: answers.put(("connect", got[3], got[4], got[2]))
        self.client.on_disconnect = lambda *got: answers.put(("disconnect", got[3], got[4]))
        self.client.on_subscribe = lambda *got: answers.put(("subscribe", [one.value for one in got[3]]))
        self.client.on_unsubscribe = lambda *got: answers.put(("unsubscribe", [one.value for one in got[3]]))
        self.client.on_publish = lambda *got: answers.put(("publish", got[3].value))
        self.client.on_message = lambda _c, _d, message: messages.put(message)
        self._port = rig.port

    def connect(self, **options: Any) -> Any:
        """Connect and give the answer: kind, reason, properties, flags."""
        self.client.connect(HOST, self._port, **options)
        self.client.loop_start()
        return self.answer()

    def answer(self) -> Any:
        return self.answers.get(timeout=PATIENCE_S)

    def message(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=PATIENCE_S)


@contextmanager
def paho_client(rig: JobsRig, client_id: str, **options: Any) -> Iterator[PahoClient]:
    one = PahoClient(rig, client_id)
    try:
        assert one.connect(**options)[1] == 0
        yield one
    finally:
        one.client.disconnect()
        one.client.loop_stop()


def test_given_no_client_id_then_paho_reads_the_assigned_one(rig: JobsRig) -> None:
    one = PahoClient(rig, "")
    _, reason, answered, _ = one.connect()
    assert reason == 0
    assert answered.AssignedClientIdentifier.startswith("auto-")
    assert (answered.TopicAliasMaximum, answered.MaximumQoS) == (8, 1)
    one.client.disconnect()
    one.client.loop_stop()


def test_given_subscription_options_then_the_broker_keeps_them(rig: JobsRig) -> None:
    with paho_client(rig, "options") as one:
        one.client.publish("lab/kept", b"retained", qos=1, retain=True)
        assert one.answer() == ("publish", 0)
        one.client.subscribe("lab/kept", options=SubscribeOptions(1, retainHandling=2))
        assert one.answer() == ("subscribe", [1])
        one.client.subscribe("lab/kept", options=SubscribeOptions(1, retainAsPublished=True, noLocal=True))
        assert one.answer() == ("subscribe", [1])
        kept = one.message()
        assert (kept.payload, kept.retain) == (b"retained", True)
        one.client.publish("lab/kept", b"own", qos=1)
        with paho_client(rig, "another") as other:
            other.client.publish("lab/kept", b"other's", qos=1, retain=True)
            other.answer()
        heard = one.message()
        assert (heard.payload, heard.retain) == (b"other's", True)
        one.client.unsubscribe(["lab/kept", "lab/never"])
        answers = [one.answer(), one.answer()]
        assert ("unsubscribe", [0, 0x11]) in answers


@pytest.mark.parametrize(
    ("what", "reason"),
    [("identifier", 0xA1), ("qos 2 publish", 0x9B), ("qos 0 denied", 0x87), ("too large", 0x95)],
)
def test_given_something_aws_does_not_take_then_paho_reads_why_it_is_disconnected(
    rig: JobsRig, what: str, reason: int
) -> None:
    with paho_client(rig, "refused") as one:
        if what == "identifier":
            numbered = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=7)
            one.client.subscribe("lab/x", options=SubscribeOptions(1), properties=numbered)
        elif what == "qos 2 publish":
            one.client.publish("lab/x", b"", qos=2)
        elif what == "qos 0 denied":
            one.client.publish("elsewhere", b"")
        else:
            one.client.publish("lab/x", bytes(128 * 1024 + 1))
        kinds = [one.answer()]
        while kinds[-1][0] != "disconnect":
            kinds.append(one.answer())
        assert kinds[-1][1].value == reason
        assert kinds[-1][2].ReasonString


def test_given_a_denied_connect_then_paho_reads_not_authorized(rig: JobsRig) -> None:
    one = PahoClient(rig, "x" * 129)
    assert one.connect()[1].value == 0x85
    one.client.loop_stop()
    two = PahoClient(rig, "will")
    two.client.will_set("elsewhere", b"")
    assert two.connect()[1].value == 0x87
    two.client.loop_stop()


def test_given_a_session_and_a_will_then_both_outlive_the_connection(rig: JobsRig) -> None:
    keeping = properties(PacketTypes.CONNECT, SessionExpiryInterval=60)
    with paho_client(rig, "watcher", clean_start=False, properties=keeping) as one:
        one.client.subscribe("lab/gone", options=SubscribeOptions(1))
        one.answer()
    dying = PahoClient(rig, "dying")
    told = properties(PacketTypes.WILLMESSAGE, ContentType="text/plain", UserProperty=("k", "v"))
    dying.client.will_set("lab/gone", b"bye", qos=1, properties=told)
    assert dying.connect()[1] == 0
    socket = dying.client.socket()
    assert socket is not None
    dying.client.loop_stop()
    socket.close()
    again = PahoClient(rig, "watcher")
    _, reason, _, flags = again.connect(clean_start=False, properties=keeping)
    assert (reason, flags.session_present) == (0, True)
    message = again.message()
    assert (message.topic, message.payload) == ("lab/gone", b"bye")
    heard = vars(message.properties)
    assert (heard["ContentType"], heard["UserProperty"]) == ("text/plain", [("k", "v")])
    again.client.disconnect()
    again.client.loop_stop()

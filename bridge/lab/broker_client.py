"""One client's conversation with the broker, without sockets: bytes in, packets out through a link.

Sources: OASIS MQTT 3.1.1, chapter 3; AWS IoT Developer Guide, "MQTT" and service quotas, for the refusals: no
QoS 2 (no acknowledgement at all), 128 KB payloads, 8 filters in a SUBSCRIBE, a publish that the policy denies
closes.
"""

import logging
import uuid
from dataclasses import replace
from typing import Final

from bridge.lab.broker_faults import Fault
from bridge.lab.broker_policy import MAX_CLIENT_ID_BYTES, Policy
from bridge.lab.broker_router import ClientLink, Router
from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_packets import (
    SUBSCRIPTION_REFUSED,
    ConnAck,
    Connect,
    ConnectCode,
    Disconnect,
    MalformedPacketError,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnacceptableProtocolError,
    UnsubAck,
    Unsubscribe,
)
from bridge.lab.mqtt_topics import is_topic_name, within_aws_limits

_log = logging.getLogger(__name__)

MAX_PAYLOAD_BYTES: Final = 128 * 1024
MAX_FILTERS_PER_SUBSCRIBE: Final = 8
MAX_KEEP_ALIVE_S: Final = 1200
CONNECT_TIMEOUT_S: Final = 10.0


class ClientConnection:
    """Protocol state of one connection.

    Args:
        link: Where packets go.
        router: The broker's shared state.
        policy: Who may do what.
        identity: Common name of the client's certificate.
    """

    def __init__(self, link: ClientLink, router: Router, policy: Policy, identity: str) -> None:
        self._link = link
        self._router = router
        self._policy = policy
        self._identity = identity
        self._reader = PacketReader()
        self._client_id: str | None = None
        self._graceful = False
        self._closed = False
        self.silence_limit_s = CONNECT_TIMEOUT_S
        """How long the client may be silent: 1.5 keep-alive intervals, or the time for its CONNECT."""

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        try:
            for packet in self._reader.feed(data):
                if self._closed:
                    return
                self._handle(packet)
        except UnacceptableProtocolError as error:
            if self._client_id is None:
                self._link.send(ConnAck(ConnectCode.UNACCEPTABLE_PROTOCOL))
            self._close(error.message)
        except MalformedPacketError as error:
            self._close(error.message)

    def resume_writing(self) -> None:
        """The client's outgoing buffer has room again."""
        if self._client_id is not None:
            self._router.pump(self._client_id)

    def lost(self) -> None:
        """The connection is gone, for whatever reason."""
        self._closed = True
        if self._client_id is not None:
            self._router.detach(self._client_id, self._link, graceful=self._graceful)

    def _handle(self, packet: Packet) -> None:
        if self._client_id is None:
            if isinstance(packet, Connect):
                self._connect(packet)
            else:
                self._close("first packet is no CONNECT")
            return
        match packet:
            case Publish():
                self._publish(self._client_id, packet)
            case PubAck(packet_id):
                self._router.acknowledge(self._client_id, packet_id)
            case Subscribe():
                self._subscribe(self._client_id, packet)
            case Unsubscribe():
                for topic_filter in packet.filters:
                    self._router.unsubscribe(self._client_id, topic_filter)
                self._link.send(UnsubAck(packet.packet_id))
            case PingReq():
                self._link.send(PingResp())
            case Disconnect():
                self._graceful = True
                self._close("client disconnected", level=logging.DEBUG)
            case _:
                self._close(f"a client must not send {type(packet).__name__}")

    def _connect(self, packet: Connect) -> None:
        if not packet.client_id and packet.clean_session:
            packet = replace(packet, client_id=f"auto-{uuid.uuid4()}")
        code = self._judge_connect(packet)
        if code is not ConnectCode.ACCEPTED:
            self._link.send(ConnAck(code))
            self._close(f"CONNECT of {self._identity} refused: {code.name}")
            return
        keep_alive_s = min(packet.keep_alive_s or MAX_KEEP_ALIVE_S, MAX_KEEP_ALIVE_S)
        self.silence_limit_s = keep_alive_s * 1.5
        present = self._router.attach(self._link, packet, self._identity)
        self._client_id = packet.client_id
        self._link.send(ConnAck(ConnectCode.ACCEPTED, session_present=present))
        self._router.resume(packet.client_id)

    def _judge_connect(self, packet: Connect) -> ConnectCode:
        if not packet.client_id or len(packet.client_id.encode()) > MAX_CLIENT_ID_BYTES:
            return ConnectCode.IDENTIFIER_REJECTED
        will = packet.will
        if not self._policy.may_connect(self._identity, packet.client_id) or (
            will is not None
            and not (
                will.qos < 2
                and is_topic_name(will.topic)
                and within_aws_limits(will.topic)
                and self._policy.may_publish(self._identity, will.topic)
            )
        ):
            return ConnectCode.NOT_AUTHORIZED
        return ConnectCode.ACCEPTED

    def _publish(self, client_id: str, packet: Publish) -> None:
        if packet.qos > 1:
            self._close("QoS 2 is not supported, as on AWS IoT Core")
        elif not is_topic_name(packet.topic) or not within_aws_limits(packet.topic):
            self._close(f"no valid topic to publish to: {packet.topic!r}")
        elif len(packet.payload) > MAX_PAYLOAD_BYTES:
            self._close(f"payload of {len(packet.payload)} bytes on {packet.topic} is over 128 KB")
        elif not self._policy.may_publish(self._identity, packet.topic):
            self._close(f"{self._identity} may not publish to {packet.topic}")
        elif self._router.faults.take(Fault.CUT_ON_PUBLISH, packet.topic):
            self._closed = True
            self._link.cut()
        else:
            if packet.qos and not self._router.faults.take(Fault.DROP_PUBACK, packet.topic):
                self._link.send(PubAck(packet.packet_id))
            self._router.receive(client_id, replace(packet, packet_id=0, dup=False))

    def _subscribe(self, client_id: str, packet: Subscribe) -> None:
        if len(packet.requests) > MAX_FILTERS_PER_SUBSCRIBE or any(qos > 1 for _, qos in packet.requests):
            self._close("SUBSCRIBE with QoS 2 or more than 8 filters, which AWS IoT Core does not take")
            return
        allowed = {
            topic_filter
            for topic_filter, _ in packet.requests
            if within_aws_limits(topic_filter) and self._policy.may_subscribe(self._identity, topic_filter)
        }
        for topic_filter, qos in packet.requests:
            if topic_filter in allowed:
                self._router.subscribe(client_id, topic_filter, qos)
            else:
                _log.warning("%s may not subscribe to %s", self._identity, topic_filter)
        codes = tuple(qos if wanted in allowed else SUBSCRIPTION_REFUSED for wanted, qos in packet.requests)
        self._link.send(SubAck(packet.packet_id, codes))
        for topic_filter, qos in packet.requests:
            if topic_filter in allowed:
                self._router.send_retained(client_id, topic_filter, qos)

    def _close(self, reason: str, *, level: int = logging.WARNING) -> None:
        _log.log(level, "closing the connection of %s (%s): %s", self._identity, self._client_id, reason)
        self._closed = True
        self._link.close()

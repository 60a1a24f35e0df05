"""One client's conversation with the broker, without sockets: bytes in, packets out through a link.

Sources: OASIS MQTT 3.1.1 and 5.0, chapter 3; AWS IoT Developer Guide, "MQTT" and "MQTT reason codes", and service
quotas, for the refusals. In MQTT 3.1.1 a refusal is the end of the connection without a word, in MQTT 5 a DISCONNECT with
its reason.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from bridge.lab.broker_connect import Admission, judge_connect, refuse
from bridge.lab.broker_faults import Fault
from bridge.lab.broker_limits import MAX_PACKET_BYTES, RateLimit
from bridge.lab.broker_link import ClientLink
from bridge.lab.broker_policy import ClientCertificate, Policy
from bridge.lab.broker_publish import Action, PublishJudge
from bridge.lab.broker_router import Router
from bridge.lab.broker_subscribe import judge_subscribe
from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_packets import (
    MQTT_5,
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
from bridge.lab.mqtt_reasons import ReasonCode

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 10.0
MAX_PACKETS_A_TURN: Final = 100
"""About a millisecond of work; a flood of tiny packets must not keep others waiting."""


class ClientConnection:
    """Protocol state of one connection.

    Args:
        link: Where packets go.
        router: The broker's shared state.
        policy: Who may do what.
        certificate: What the client proved.
    """

    def __init__(
        self, link: ClientLink, router: Router, policy: Policy, certificate: ClientCertificate
    ) -> None:
        self._link = link
        self._router = router
        self._policy = policy
        self._certificate = certificate
        self._reader = PacketReader(MAX_PACKET_BYTES)
        self._admission: Admission | None = None
        self._graceful = False
        self._closed = False
        self.silence_limit_s = CONNECT_TIMEOUT_S
        """How long the client may be silent: 1.5 keep-alive intervals, or the time for its CONNECT."""

    @property
    def client_id(self) -> str | None:
        """MQTT client identifier, once connected."""
        return None if self._admission is None else self._admission.connect.client_id

    def receive(self, data: bytes) -> bool:
        """Take bytes from the client.

        Returns:
            True when packets are left: the others' turn comes first, then call again without bytes.
        """
        try:
            for count, packet in enumerate(self._reader.feed(data), 1):
                if self._closed:
                    return False
                self._handle(packet)
                if count == MAX_PACKETS_A_TURN:
                    return True
        except UnacceptableProtocolError as error:
            if self._admission is None:
                self._refuse_version(error.level)
            self._close(None, error.message)
        except MalformedPacketError as error:
            self._close(error.reason_code, error.message)
        return False

    def resume_writing(self) -> None:
        """The client's outgoing buffer has room again."""
        if self.client_id is not None:
            self._router.pump(self.client_id)

    def too_silent(self) -> None:
        """The silence limit passed."""
        self._close(ReasonCode.KEEP_ALIVE_TIMEOUT, f"silent for {self.silence_limit_s:.1f} s")

    def lost(self) -> None:
        """The connection is gone, for whatever reason."""
        self._closed = True
        if self.client_id is not None:
            self._router.detach(self.client_id, self._link, graceful=self._graceful)

    def _handle(self, packet: Packet) -> None:
        if self._admission is None:
            if isinstance(packet, Connect):
                self._connect(packet)
            else:
                self._close(None, "first packet is no CONNECT")
            return
        handler = _HANDLERS.get(type(packet))
        if handler is None:
            self._close(ReasonCode.PROTOCOL_ERROR, f"a client must not send {type(packet).__name__}")
        else:
            handler(self, self._admission, packet)

    def _connect(self, packet: Connect) -> None:
        self._link.version = packet.version
        judgement = (
            judge_connect(packet, self._certificate, self._policy, self._router.limits)
            if self._router.may_connect_now(packet.client_id)
            else refuse(packet.version, ReasonCode.QUOTA_EXCEEDED)
        )
        if not isinstance(judgement, Admission):
            if judgement.answer is not None:
                self._link.send(judgement.answer)
            self._close(None, f"CONNECT of {self._certificate.common_name} refused: {judgement.text}")
            return
        connect = judgement.connect
        present = self._router.attach(self._link, connect, judgement.access, judgement.expiry_s)
        self.silence_limit_s = judgement.keep_alive_s * 1.5
        self._admission = judgement
        limits = self._router.limits
        rate = limits.publishes_per_s and RateLimit(limits.publishes_per_s, self._router.now_s)
        self._publishes = PublishJudge(judgement.access, connect.version, self._router, rate or None)
        self._link.send(ConnAck(0, present, judgement.properties))
        self._router.resume(connect.client_id)

    def _refuse_version(self, level: int) -> None:
        self._link.version = MQTT_5 if level > MQTT_5 else 4
        code = (
            ReasonCode.UNSUPPORTED_PROTOCOL_VERSION if level > MQTT_5 else ConnectCode.UNACCEPTABLE_PROTOCOL
        )
        self._link.send(ConnAck(code))

    def _publish(self, admission: Admission, packet: Publish) -> None:
        client_id = admission.connect.client_id
        action, publish, reason, text = self._publishes.judge(packet)
        match action:
            case Action.TAKE:
                if packet.qos and not self._router.faults.take(Fault.DROP_PUBACK, publish.topic):
                    self._link.send(PubAck(packet.packet_id))
                self._router.receive(client_id, replace(publish, packet_id=0, dup=False))
            case Action.CLOSE:
                self._close(reason, text)
            case Action.CUT:
                self._closed = True
                self._link.cut()
            case Action.REFUSE:
                _log.warning("%s: %s", client_id, text)
                self._link.send(PubAck(packet.packet_id, reason))
            case Action.DISCARD:
                _log.warning("%s: a message is discarded: %s", client_id, text)

    def _acknowledge(self, admission: Admission, packet: PubAck) -> None:
        self._router.acknowledge(admission.connect.client_id, packet.packet_id)

    def _subscribe(self, admission: Admission, packet: Subscribe) -> None:
        client_id = admission.connect.client_id
        judgement = judge_subscribe(packet, admission, self._router)
        if judgement.end is not None and not judgement.codes:
            self._close(judgement.end, judgement.text)
            return
        granted = judgement.granted
        retained = [one for one in granted if one.wants_retained(self._router, client_id)]
        for one in granted:
            self._router.subscribe(client_id, one.topic_filter, one.subscription)
        self._link.send(SubAck(packet.packet_id, judgement.codes))
        if judgement.text:
            _log.warning("%s: %s", client_id, judgement.text)
        for one in retained:
            self._router.send_retained(client_id, one.topic_filter, one.subscription.qos)
        if judgement.end is not None:
            self._close(judgement.end, judgement.text)

    def _unsubscribe(self, admission: Admission, packet: Unsubscribe) -> None:
        client_id = admission.connect.client_id
        codes = [
            ReasonCode.SUCCESS
            if self._router.unsubscribe(client_id, topic_filter)
            else ReasonCode.NO_SUBSCRIPTION_EXISTED
            for topic_filter in packet.filters
        ]
        self._link.send(UnsubAck(packet.packet_id, tuple(codes) if self._link.version == MQTT_5 else ()))

    def _ping(self, _: Admission, __: PingReq) -> None:
        self._link.send(PingResp())

    def _disconnect(self, admission: Admission, packet: Disconnect) -> None:
        wanted_s = packet.properties.session_expiry_s
        if wanted_s is not None:
            if wanted_s and not admission.expiry_s:
                self._close(ReasonCode.PROTOCOL_ERROR, "a session of expiry 0 cannot be prolonged")
                return
            expiry_s = min(wanted_s, self._router.limits.session_expiry_s)
            self._router.set_session_expiry(admission.connect.client_id, expiry_s)
        self._graceful = packet.reason != ReasonCode.DISCONNECT_WITH_WILL
        self._close(None, "client disconnected", level=logging.DEBUG)

    def _close(self, reason: ReasonCode | None, text: str, *, level: int = logging.WARNING) -> None:
        name = self._certificate.common_name
        _log.log(level, "closing the connection of %s (%s): %s", name, self.client_id, text)
        self._closed = True
        self._link.close(reason if self._admission is not None else None, text)


_HANDLERS: Final[dict[type, Callable[[ClientConnection, Admission, Any], None]]] = {
    Publish: ClientConnection._publish,
    PubAck: ClientConnection._acknowledge,
    Subscribe: ClientConnection._subscribe,
    Unsubscribe: ClientConnection._unsubscribe,
    PingReq: ClientConnection._ping,
    Disconnect: ClientConnection._disconnect,
}

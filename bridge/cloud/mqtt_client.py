"""paho-mqtt 2 with its traps closed: events out, a few calls in.

Measured, and read in its ``client.py``: it never subscribes again by itself; an exception in a callback, or in its
own reading of a malformed packet, ends its network thread silently; its reconnect waits have no jitter; it does
not tell why a connection failed, but calls ``on_connect_fail`` while it handles the exception;
``wait_for_publish`` cannot be trusted after an offline publish, so confirmations are told by message id; it
resends an unconfirmed message after every reconnect.
"""

import logging
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Final, ParamSpec, Protocol, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from bridge import clock
from bridge.cloud.diagnosis import UNREADABLE
from bridge.cloud.endpoint import Endpoint
from bridge.errors import CloudError

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")

MAX_FILTERS_PER_SUBSCRIBE: Final = 8
"""AWS IoT closes the connection on more."""
_MAX_QUEUED_MESSAGES: Final = 100
_QOS: Final = 1


class MqttEvents(Protocol):
    """What happens; called on the network thread, must not block, may call :meth:`MqttClient.stop`."""

    def accepted(self) -> None:
        """The broker let us in."""
        ...

    def refused(self, code_name: str) -> None:
        """The broker answered CONNECT with a refusal; :meth:`lost` follows."""
        ...

    def attempt_failed(self, error: BaseException | None) -> None:
        """No connection came about."""
        ...

    def lost(self, reason_name: str) -> None:
        """A connection ended, let in or not."""
        ...

    def subscribed(self, message_id: int, refused: Sequence[bool]) -> None:
        """A SUBACK; for each filter, whether it was refused."""
        ...

    def confirmed(self, message_id: int) -> None:
        """A PUBACK. The library holds a lock that publishing needs: do not wait for one who publishes."""
        ...

    def not_taken(self, message_id: int, reason_name: str) -> None:
        """A PUBACK of MQTT 5 that refuses the message; instead of :meth:`confirmed`, and the same holds."""
        ...

    def message(self, topic: str, payload: bytes) -> None:
        """A message, subscribed or not."""
        ...


def _guarded(
    callback: Callable[Concatenate["MqttClient", _P], None],
) -> Callable[Concatenate["MqttClient", _P], None]:
    """Keep exceptions of a callback from ending the network thread."""

    def guarded(self: "MqttClient", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, the network thread must live on
            _log.exception("bug in the MQTT callback %s", callback.__name__)

    return guarded


class _LastingClient(paho.Client):
    """A client whose network thread outlives errors of the library itself."""

    recover: Callable[[Exception], bool]
    """Called on the network thread after such an error; False when the thread shall end."""

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        while True:
            try:
                code = super().loop_forever(timeout, retry_first_connection)
            except Exception as error:  # noqa: BLE001 - whatever it is, the network thread must live on
                if not self.recover(error):
                    return MQTTErrorCode.MQTT_ERR_UNKNOWN
            else:
                if (left_open := self.socket()) is not None:
                    left_open.close()
                return code


class MqttClient:
    """An MQTT client with a clean session and a network thread of its own.

    Args:
        endpoint: Broker, client id, keep alive.
        context: TLS context.
        events: Who is told what happens.
        next_delay_s: Gives the wait before each new attempt.
        reasons: Speak MQTT 5, in which the broker says why it ends a connection, and not 3.1.1.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext,
        events: MqttEvents,
        next_delay_s: Callable[[], float],
        *,
        reasons: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._events = events
        self._next_delay_s = next_delay_s
        self.reasons = reasons
        self._stopping = False
        self._stopped = clock.event()
        self._let_in = False
        self._paho = _LastingClient(
            CallbackAPIVersion.VERSION2,
            client_id=endpoint.client_id,
            clean_session=None if reasons else True,
            protocol=MQTTProtocolVersion.MQTTv5 if reasons else MQTTProtocolVersion.MQTTv311,
        )
        self._paho.recover = self._recover
        self._paho.tls_set_context(context)
        self._paho.max_queued_messages_set(_MAX_QUEUED_MESSAGES)
        self._paho.on_connect = self._on_connect
        self._paho.on_connect_fail = self._on_connect_fail
        self._paho.on_disconnect = self._on_disconnect
        self._paho.on_subscribe = self._on_subscribe
        self._paho.on_publish = self._on_publish
        self._paho.on_message = self._on_message

    def start(self, *, after_s: float = 0.0) -> None:
        """Begin to connect, now or after a pause, and to connect again whenever the connection is lost."""
        if after_s:
            clock.thread(self._start_late, "mqtt-pause", (after_s,)).start()
        else:
            self._aim()
            self._paho.loop_start()

    def stop(self) -> None:
        """Disconnect and try no more; waits for the network thread to end, unless called on it."""
        # disconnect() alone is not enough: after a lost connection the library overwrites the state it sets.
        self._stopping = True
        self._stopped.set()
        self._paho.disconnect()
        self._paho.loop_stop()

    def subscribe(self, names: Sequence[str]) -> int | None:
        """Subscribe to at most 8 filters at QoS 1; returns the message id, None without a connection."""
        code, message_id = self._paho.subscribe([(name, _QOS) for name in names])
        return message_id if code == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish at QoS 1, now or at the next connect; returns the message id.

        Raises:
            CloudError: The queue is full (``queue-full``).
        """
        info = self._paho.publish(topic, payload, qos=_QOS)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise CloudError("too many messages wait for the broker", reason="queue-full")
        return info.mid

    @_guarded
    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if self._stopping:
            client.disconnect()  # stop() came while this connection was being made
        elif code.is_failure:
            self._events.refused(code.getName())
        else:
            self._let_in = True
            self._events.accepted()

    @_guarded
    def _on_connect_fail(self, _client: paho.Client, _data: Any) -> None:
        error = sys.exception()
        self._schedule()
        self._events.attempt_failed(error)

    @_guarded
    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if not self._stopping:
            self._let_in = False
            self._events.lost(code.getName())
            if not self._stopping:
                self._schedule()

    @_guarded
    def _on_subscribe(
        self, _client: paho.Client, _data: Any, message_id: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        self._events.subscribed(message_id, [code.is_failure for code in codes])

    @_guarded
    def _on_publish(
        self, _client: paho.Client, _data: Any, message_id: int, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            self._events.not_taken(message_id, code.getName())
        else:
            self._events.confirmed(message_id)

    @_guarded
    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._events.message(message.topic, bytes(message.payload))

    def _aim(self) -> None:
        self._paho.connect_async(
            self._endpoint.host,
            self._endpoint.port,
            keepalive=self._endpoint.keep_alive_s,
            clean_start=True if self.reasons else paho.MQTT_CLEAN_START_FIRST_ONLY,
        )

    def _start_late(self, after_s: float) -> None:
        if not self._stopped.wait(after_s):
            self._aim()
            self._paho.loop_start()

    def _recover(self, error: Exception) -> bool:
        """Go on after the library broke: as after a lost connection, whose rest it reads no more."""
        if self._stopping:
            return False
        _log.error("the MQTT library failed; connecting anew", exc_info=error)
        if self._let_in:
            self._let_in = False
            self._events.lost(UNREADABLE)
        else:
            self._events.attempt_failed(error)
        if self._stopped.wait(self._next_delay_s()):
            return False
        self._aim()
        return True

    def _schedule(self) -> None:
        # The library declares whole seconds and takes fractions; equal bounds make it wait just this long.
        delay_s = cast("int", self._next_delay_s())
        self._paho.reconnect_delay_set(delay_s, delay_s)

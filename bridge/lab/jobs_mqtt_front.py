"""The Jobs service as an ordinary MQTT client, so that it also runs on mosquitto or any other broker.

What a foreign broker cannot do stays a difference to AWS: replies go to every subscriber of the reply topic,
and to the requester only if it subscribed. Facts about paho-mqtt 2 that shaped this: it does not subscribe
again after a reconnect, an exception in a callback kills its thread silently, and messages published while
offline wait for the connection.
"""

import logging
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bridge.errors import CloudError
from bridge.lab.jobs_api import REQUEST_FILTERS, JobsApi

_log = logging.getLogger(__name__)

SERVICE_NAME: Final = "nrf91-bridge-jobs-service"
"""Common name of the service's certificate, and its client id."""
CONNECT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class ServiceLogin:
    """How the service reaches its broker."""

    host: str
    port: int
    ca_file: Path
    cert_file: Path
    key_file: Path


class MqttClientFront:
    """Front for :class:`bridge.lab.jobs_service.JobsService` over paho-mqtt."""

    def __init__(self, login: ServiceLogin) -> None:
        self._login = login
        self._subscribed = threading.Event()
        self._requests: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=SERVICE_NAME, clean_session=False)
        self._client.max_queued_messages_set(10_000)
        self._client.reconnect_delay_set(1, 5)
        self._client.tls_set(str(login.ca_file), str(login.cert_file), str(login.key_file))
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self, api: JobsApi) -> None:
        """Connect and subscribe.

        Raises:
            CloudError: The broker cannot be reached or does not let the service in (reason ``broker``).
        """
        self._worker = threading.Thread(target=self._answer, args=(api,), name="jobs-front", daemon=True)
        self._worker.start()
        try:
            self._client.connect(self._login.host, self._login.port, keepalive=60)
        except OSError as error:
            self.close()
            raise CloudError(f"the Jobs service cannot connect: {error}", reason="broker") from error
        self._client.loop_start()
        if not self._subscribed.wait(CONNECT_TIMEOUT_S):
            self.close()
            raise CloudError("the broker did not let the Jobs service subscribe in time", reason="broker")

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1; waits in memory while the broker is away."""
        self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        """Disconnect; requests not answered by now stay unanswered."""
        self._requests.put(None)
        if self._worker is not None:
            self._worker.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _answer(self, api: JobsApi) -> None:
        while (request := self._requests.get()) is not None:
            reply = api.handle(*request)
            if reply is not None:
                self.publish(reply.topic, reply.payload)

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, code: Any, _properties: object
    ) -> None:
        if code.is_failure:
            _log.error("the broker refuses the Jobs service: %s", code)
        else:
            client.subscribe([(topic_filter, 1) for topic_filter in REQUEST_FILTERS])

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, codes: list[Any], _properties: object
    ) -> None:
        if any(code.is_failure for code in codes):
            _log.error("the broker refuses the Jobs service's subscriptions; check its ACL")
        else:
            self._subscribed.set()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self._requests.put((message.topic, bytes(message.payload)))

"""The ways to the Jobs service, behind one protocol: nobody who works jobs knows which one it is."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum

from bridge.cloud.channel import Channel
from bridge.cloud.connection import Connection
from bridge.cloud.endpoint import Endpoint
from bridge.cloud.jobs_https import HTTPS_JOBS_PORT, POLL_S, HttpsChannel
from bridge.cloud.jobs_https_auto import PATIENCE_S, AutoChannel


class JobsOver(StrEnum):
    """By which protocol the Jobs service is spoken to."""

    MQTT = "mqtt"
    HTTPS = "https"
    AUTO = "auto"
    """MQTT; and HTTPS while it cannot be had."""


@dataclass(frozen=True)
class JobsLink:
    """A way to the Jobs service.

    Attributes:
        endpoint: The broker, and our identity.
        over: The protocol.
        https: Host and port for HTTPS; None for port 8443 of the broker's host, as at AWS IoT.
        poll_s: How often the queue is looked at over HTTPS.
        patience_s: How long MQTT is waited for before HTTPS is used.
    """

    endpoint: Endpoint
    over: JobsOver = JobsOver.MQTT
    https: tuple[str, int] | None = None
    poll_s: float = POLL_S
    patience_s: float = PATIENCE_S

    def open(self) -> AbstractContextManager[Channel]:
        """Begin to connect when the block begins, and disconnect when it ends.

        Raises:
            UsageError: Host or port for HTTPS are none.
        """
        if self.over is JobsOver.MQTT:
            return Connection(self.endpoint)
        host, port = self.https or (self.endpoint.host, HTTPS_JOBS_PORT)
        https = HttpsChannel(replace(self.endpoint, host=host, port=port, alpn=None), poll_s=self.poll_s)
        if self.over is JobsOver.HTTPS:
            return https
        return AutoChannel(lambda: Connection(self.endpoint), https, patience_s=self.patience_s)

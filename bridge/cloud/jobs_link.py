"""The ways to the Jobs service, behind one protocol: nobody who works jobs knows which one it is."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from bridge.cloud.channel import Channel
from bridge.cloud.connection import Connection
from bridge.cloud.endpoint import Endpoint


class JobsOver(StrEnum):
    """By which protocol the Jobs service is spoken to."""

    MQTT = "mqtt"


@dataclass(frozen=True)
class JobsLink:
    """A way to the Jobs service.

    Attributes:
        endpoint: The broker, and our identity.
        over: The protocol.
    """

    endpoint: Endpoint
    over: JobsOver = JobsOver.MQTT

    def open(self) -> AbstractContextManager[Channel]:
        """Begin to connect when the block begins, and disconnect when it ends."""
        return Connection(self.endpoint)

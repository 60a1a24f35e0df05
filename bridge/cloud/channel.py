"""What the Jobs client asks of a connection to a broker; :class:`~bridge.cloud.connection.Connection` is the one over MQTT."""

from collections.abc import Sequence
from typing import Final, Protocol

from bridge.errors import CloudError

CONNECT_TIMEOUT_S: Final = 30.0


class Listener(Protocol):
    """Gets the messages of a connection. All methods are called on the network thread and must not block."""

    @property
    def filters(self) -> Sequence[str]:
        """What to subscribe to, on every connect."""
        ...

    def on_message(self, topic: str, payload: bytes) -> None:
        """A message came in, subscribed or not."""
        ...

    def on_ready(self) -> None:
        """The connection is there (again), or a listener was added, and all subscriptions are in place."""
        ...

    def on_lost(self) -> None:
        """The connection is lost, for now or for good."""
        ...


class Channel(Protocol):
    """A connection that comes back by itself."""

    @property
    def failure(self) -> CloudError | None:
        """Why there will never be a connection, as a new error to raise; None while there is hope."""
        ...

    def add_listener(self, listener: Listener) -> None:
        """Deliver messages to a listener from now on."""
        ...

    def remove_listener(self, listener: Listener) -> None:
        """Deliver no more messages to a listener."""
        ...

    def wait_ready(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Block until connected with all subscriptions in place.

        Raises:
            CloudError: That takes too long, or cannot be.
        """
        ...

    def send(self, topic: str, payload: bytes) -> int:
        """Publish without waiting for the broker.

        Raises:
            CloudError: It cannot be sent.
        """
        ...

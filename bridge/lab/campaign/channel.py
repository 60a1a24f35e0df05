"""A host's connection to the broker of a run: as :class:`bridge.cloud.connection.Connection`, without MQTT."""

from collections import deque
from typing import Final, Self

from bridge import clock
from bridge.cloud.channel import CONNECT_TIMEOUT_S, Listener
from bridge.errors import CloudError
from bridge.lab.campaign.cloud import SimulatedCloud
from bridge.lab.campaign.mail import Mail
from bridge.lab.campaign.timeline import Timeline

_CONNECT_S: Final = 0.5


class SimulatedChannel:
    """Connects in the background, comes back, sends what was not sent; see :class:`bridge.cloud.channel.Channel`.

    Args:
        cloud: The other end.
        timeline: Gets notes.
    """

    def __init__(self, cloud: SimulatedCloud, timeline: Timeline) -> None:
        self._cloud = cloud
        self._timeline = timeline
        self._mail = Mail()
        self._changed = clock.condition()
        self._listeners: list[Listener] = []
        self._connected = False
        self._closed = False
        self._taken = False
        self._unsent: deque[tuple[str, bytes]] = deque()
        self._sent = 0
        self._thread = clock.thread(self._mail.run, "mqtt")

    def __enter__(self) -> Self:
        self._thread.start()
        self._mail.put(_CONNECT_S, self._connect)
        return self

    def __exit__(self, *_: object) -> None:
        self._cloud.disconnect(self)
        self._mail.close()
        self._thread.join()

    # --- what the Jobs client asks --------------------------------------------------------------------------

    @property
    def failure(self) -> CloudError | None:
        """Another client uses our id."""
        if not self._taken:
            return None
        return CloudError("another client took over the session", reason="client-id-taken")

    def add_listener(self, listener: Listener) -> None:
        """Deliver messages to a listener from now on."""
        with self._changed:
            self._listeners.append(listener)
            connected = self._connected
        if connected:
            self._mail.put(0.0, listener.on_ready)

    def remove_listener(self, listener: Listener) -> None:
        """Deliver no more."""
        with self._changed:
            self._listeners.remove(listener)

    def wait_ready(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Block until connected."""
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._taken, timeout_s)
            if (failure := self.failure) is not None:
                raise failure
            if not self._connected:
                raise CloudError("no connection to the broker", reason="broker-unreachable")

    def send(self, topic: str, payload: bytes) -> int:
        """Publish, now or when the connection is back."""
        if (failure := self.failure) is not None:
            raise failure
        with self._changed:
            self._sent += 1
            if not self._connected:
                self._unsent.append((topic, payload))
                return self._sent
        self._cloud.request(self, topic, payload)
        return self._sent

    # --- what the broker does -------------------------------------------------------------------------------

    def deliver(self, delay_s: float, topic: str, payload: bytes) -> None:
        """A message is on its way; it is lost if the connection is, by then."""
        self._mail.put(delay_s, lambda: self._take(topic, payload))

    def lose(self, outage_s: float | None) -> None:
        """The connection breaks."""
        self._mail.put(0.0, lambda: self._break(outage_s))

    def _take(self, topic: str, payload: bytes) -> None:
        if self._connected:
            for listener in list(self._listeners):
                listener.on_message(topic, payload)

    def _connect(self) -> None:
        if self._taken:
            return
        self._cloud.connect(self)
        with self._changed:
            self._connected = True
            waiting, self._unsent = self._unsent, deque()
            self._changed.notify_all()
        for topic, payload in waiting:
            self._cloud.request(self, topic, payload)
        for listener in list(self._listeners):
            listener.on_ready()

    def _break(self, outage_s: float | None) -> None:
        self._timeline.note("host", "session taken over" if outage_s is None else "broker lost")
        self._cloud.disconnect(self)
        with self._changed:
            self._connected = False
            self._taken = outage_s is None
            self._changed.notify_all()
        if outage_s is not None:
            self._mail.put(outage_s + _CONNECT_S, self._connect)
        for listener in list(self._listeners):
            listener.on_lost()

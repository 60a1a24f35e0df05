"""MQTT while it can be had, HTTPS while it cannot: a network that blocks one often lets the other through."""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Self

from bridge import clock
from bridge.cloud.channel import CONNECT_TIMEOUT_S, Listener
from bridge.cloud.connection import Connection
from bridge.cloud.diagnosis import CLIENT_ID_REASON, UNREACHABLE_REASON
from bridge.cloud.jobs_https import HttpsChannel
from bridge.errors import CloudError

_log = logging.getLogger(__name__)

PATIENCE_S: Final = 30.0
"""How long MQTT is waited for before HTTPS is used."""
SECOND_CHANCE_S: Final = 600.0
"""After so long a broker is tried again that seemed hopeless, such as one whose port something else answers on."""


class AutoChannel:
    """A channel that chooses; see :class:`~bridge.cloud.channel.Channel`.

    MQTT is tried all the time and used again as soon as it is there. Both ways end at one Jobs service, and every update
    says which version it expects, so a request that went both ways has its effect once.

    Args:
        make_mqtt: Makes a connection to the broker; called again when one has failed for good.
        https: The other way.
        patience_s: How long MQTT is waited for.
        second_chance_s: How long after its failure MQTT is tried anew.
    """

    filters: Sequence[str] = ()

    def __init__(
        self,
        make_mqtt: Callable[[], Connection],
        https: HttpsChannel,
        *,
        patience_s: float = PATIENCE_S,
        second_chance_s: float = SECOND_CHANCE_S,
    ) -> None:
        self._make_mqtt = make_mqtt
        self._mqtt = make_mqtt()
        self._https = https
        self._patience_s = patience_s
        self._second_chance_s = second_chance_s
        self._lock = clock.rlock()
        self._listeners: list[Listener] = []
        self._over_https = False
        self._mqtt_ready = False
        self._without_mqtt_since_s = clock.monotonic()

    def __enter__(self) -> Self:
        self._https.set_active(False)
        self._https.open()
        self._open_mqtt()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            mqtt = self._mqtt
        mqtt.close()
        self._https.close()

    @property
    def over_https(self) -> bool:
        """Whether requests go over HTTPS now."""
        return self._over_https

    @property
    def failure(self) -> CloudError | None:
        """Why neither way will ever work. A client id in use ends it all: somebody else does our work."""
        failure = self._mqtt.failure
        if failure is None or failure.reason == CLIENT_ID_REASON:
            return failure
        return failure if self._https.failure is not None else None

    def add_listener(self, listener: Listener) -> None:
        """Deliver messages to a listener from now on, whichever way they come."""
        with self._lock:
            self._listeners.append(listener)
            mqtt = self._mqtt
        mqtt.add_listener(listener)
        self._https.add_listener(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Deliver no more messages to a listener."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
            mqtt = self._mqtt
        mqtt.remove_listener(listener)
        self._https.remove_listener(listener)

    def wait_ready(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Block until there is a way.

        Raises:
            CloudError: There is none in time, or there will never be one.
        """
        deadline_s = clock.monotonic() + timeout_s
        self._give_second_chance()
        if self._wait_for_mqtt(deadline_s):
            self._choose(https=False)
            return
        if (failure := self.failure) is not None:
            raise failure
        left_s = deadline_s - clock.monotonic()
        if not self._over_https and self._mqtt.failure is None and self._patience_left_s() > 0:
            raise CloudError(
                f"no connection to the broker in {timeout_s:g} s; HTTPS is not tried yet",
                reason=UNREACHABLE_REASON,
            )
        self._choose(https=True)
        self._https.wait_ready(max(0.0, left_s))

    def send(self, topic: str, payload: bytes) -> int:
        """Send by the way that :meth:`wait_ready` chose."""
        with self._lock:
            way: Connection | HttpsChannel = self._https if self._over_https else self._mqtt
        return way.send(topic, payload)

    # What the MQTT connection tells.

    def on_message(self, topic: str, payload: bytes) -> None:
        """Nothing to do: whom it concerns listens itself."""

    def on_ready(self) -> None:
        """MQTT is there."""
        with self._lock:
            self._mqtt_ready = True

    def on_lost(self) -> None:
        """MQTT is lost, for now or for good."""
        with self._lock:
            if self._mqtt_ready:
                self._without_mqtt_since_s = clock.monotonic()
            self._mqtt_ready = False

    def _wait_for_mqtt(self, deadline_s: float) -> bool:
        """Whether MQTT is there; once HTTPS is in use, nobody waits for it."""
        patience_s = 0.0 if self._over_https else max(0.0, self._patience_left_s())
        try:
            self._mqtt.wait_ready(max(0.0, min(patience_s, deadline_s - clock.monotonic())))
        except CloudError as error:
            if error.reason == UNREACHABLE_REASON or self._mqtt.failure is not None:
                return False
            raise  # a refused subscription: MQTT is there, and says no
        return True

    def _choose(self, *, https: bool) -> None:
        with self._lock:
            if https == self._over_https:
                return
            self._over_https = https
        if https:
            _log.warning("MQTT cannot be had; working over HTTPS, and going on trying")
        else:
            _log.warning("MQTT is there again; HTTPS is not needed any more")
        self._https.set_active(https)

    def _patience_left_s(self) -> float:
        return self._without_mqtt_since_s + self._patience_s - clock.monotonic()

    def _give_second_chance(self) -> None:
        failure = self._mqtt.failure
        since_s = clock.monotonic() - self._without_mqtt_since_s
        if failure is None or failure.reason == CLIENT_ID_REASON or since_s < self._second_chance_s:
            return
        with self._lock:
            old, self._mqtt = self._mqtt, self._make_mqtt()
            self._without_mqtt_since_s = clock.monotonic()
            listeners = list(self._listeners)
        old.close()
        for listener in listeners:
            self._mqtt.add_listener(listener)
        self._open_mqtt()

    def _open_mqtt(self) -> None:
        self._mqtt.add_listener(self)
        self._mqtt.open()

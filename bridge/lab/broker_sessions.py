"""The broker's book of sessions: who has one, how long it outlives its client, and what is to happen later.

Sources: AWS IoT Developer Guide, "MQTT persistent sessions": a session ends when its time after the disconnect is
over, or when its client connects with a clean session; OASIS MQTT 5.0, section 3.1.2.11.2.
"""

from collections.abc import Callable
from typing import Final

from bridge.lab.broker_link import Timer, Timers
from bridge.lab.broker_policy import Access
from bridge.lab.mqtt_packets import Connect
from bridge.lab.mqtt_session import Session


class SessionBook:
    """Sessions by client id.

    Args:
        timers: The broker's clock.
        forget: Told about each session that ends.
    """

    def __init__(self, timers: Timers, forget: Callable[[Session], None]) -> None:
        self.sessions: Final[dict[str, Session]] = {}
        self._timers = timers
        self._forget = forget
        self._pending: dict[str, Timer] = {}

    def open(self, connect: Connect, access: Access, expiry_s: int) -> bool:
        """Find the client's session, or begin a new one; whether it was there.

        Nobody inherits the session of another certificate.
        """
        client_id = connect.client_id
        session = self.sessions.get(client_id)
        self._cancel(client_id)
        present = (
            session is not None
            and not connect.clean_session
            and session.access.identity == access.identity
            and session.expiry_s > 0
        )
        if session is None or not present:
            self._end(client_id)
            session = self.sessions[client_id] = Session(client_id, access)
        session.expiry_s = expiry_s
        session.connected(connect, access)
        return present

    def leave(self, client_id: str) -> None:
        """The client is gone: its session ends now or after its expiry."""
        self._cancel(client_id)
        expiry_s = self.sessions[client_id].expiry_s
        if expiry_s:
            self.later(client_id, expiry_s, lambda: self._end(client_id))
        else:
            self._end(client_id)

    def later(self, client_id: str, delay_s: float, action: Callable[[], None]) -> None:
        """Do something for a session in a while, unless its client comes or goes before."""
        self._cancel(client_id)
        self._pending[client_id] = self._timers.call_later(delay_s, action)

    def _cancel(self, client_id: str) -> None:
        if (timer := self._pending.pop(client_id, None)) is not None:
            timer.cancel()

    def _end(self, client_id: str) -> None:
        self._pending.pop(client_id, None)
        if (session := self.sessions.pop(client_id, None)) is not None:
            self._forget(session)

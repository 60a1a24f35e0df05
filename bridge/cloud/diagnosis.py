"""Why a broker connection fails, and whether trying again can help; judged from events, no I/O.

paho-mqtt tries for ever and tells little: with TLS 1.3 a missing client certificate looks like a connection
that drops before its CONNACK, a client id in use like a connection that drops again and again. AWS IoT
closes the connection of a client that subscribes or publishes where its policy does not allow it.
"""

import ssl
from typing import Final

from bridge.errors import CloudError

TLS_REASON: Final = "tls"
REFUSED_REASON: Final = "connection-refused-by-broker"
CLIENT_ID_REASON: Final = "client-id-taken"
UNREACHABLE_REASON: Final = "broker-unreachable"

MAX_REFUSALS: Final = 3
"""So many refusals, or drops before the CONNACK, in a row end the attempts, unless one succeeded before."""
MAX_SHORT_LIVES: Final = 5
SHORT_LIFE_S: Final = 30.0
"""A connection that the broker ends sooner counts as thrown out."""

_SERVER_UNAVAILABLE: Final = "Server unavailable"
_KEEP_ALIVE_TIMEOUT: Final = "Keep alive timeout"
UNREADABLE: Final = "what the broker sent cannot be read"
_PASSING_ALERTS: Final = ("INTERNAL_ERROR", "USER_CANCEL", "CLOSE_NOTIFY")
_TLS_WORDS: Final = {
    "CERTIFICATE_REQUIRED": "the broker wants a client certificate and got none",
    "HANDSHAKE_FAILURE": "the broker refused the TLS handshake; often a client certificate is missing",
    "UNKNOWN_CA": "the broker does not know the authority that signed our certificate",
    "CERTIFICATE_EXPIRED": "the broker says that our certificate has expired",
    "CERTIFICATE_REVOKED": "the broker says that our certificate is revoked",
    "CERTIFICATE_UNKNOWN": "the broker does not accept our certificate",
    "BAD_CERTIFICATE": "the broker does not accept our certificate",
    "NO_APPLICATION_PROTOCOL": "the broker does not speak MQTT on this port (ALPN)",
    "WRONG_VERSION_NUMBER": "the broker does not speak TLS on this port",
}


class ConnectionDoctor:
    """Watches one client's attempts and connections.

    Each method that can find a permanent cause returns it as an error, ready to be raised; None means: try
    again.

    Args:
        broker: Name of the broker for messages.
        client_id: Our client id, for messages.
    """

    def __init__(self, broker: str, client_id: str) -> None:
        self._broker = broker
        self._client_id = client_id
        self._tls_error: ssl.SSLError | None = None
        self._connected_at_s: float | None = None
        self._ever_connected = False
        self._refused_now = False
        self._refusals = 0
        self._short_lives = 0
        self._ended_by_request = 0
        self.last_problem = "no answer yet"

    def tls_error(self, error: ssl.SSLError) -> None:
        """A read or write on the current connection failed with a TLS error."""
        self._tls_error = error

    def attempt_failed(self, error: BaseException | None) -> CloudError | None:
        """No connection came about: TCP or the TLS handshake failed."""
        if isinstance(error, ssl.SSLError):
            return self._judge_tls(error)
        self.last_problem = (
            f"{error.strerror or error}" if isinstance(error, OSError) else "it cannot be reached"
        )
        self.explained()  # A broker that is away is not one that throws us out.
        return None

    def connected(self, now_s: float) -> None:
        """The broker sent a CONNACK that lets us in."""
        self._connected_at_s = now_s
        self._ever_connected = True
        self._refusals = 0

    def refused(self, code_name: str) -> CloudError | None:
        """The broker sent a CONNACK that does not let us in."""
        self._refused_now = True
        self.last_problem = f"it refuses the connection: {code_name}"
        if code_name == _SERVER_UNAVAILABLE:
            return None
        return self._count_refusal("Check client id and certificate, and the policy's iot:Connect.")

    def lost(self, now_s: float, reason_name: str, *, busy: bool, topic: str = "") -> CloudError | None:
        """The connection, or an attempt that had got as far as TLS, ended without our asking.

        Args:
            now_s: The time.
            reason_name: paho-mqtt's name for the cause.
            busy: Whether a SUBSCRIBE or PUBLISH was still unanswered.
            topic: What it was about, if known.
        """
        connected_at_s, self._connected_at_s = self._connected_at_s, None
        refused, self._refused_now = self._refused_now, False
        tls_error, self._tls_error = self._tls_error, None
        if tls_error is not None and (permanent := self._judge_tls(tls_error)) is not None:
            return permanent
        if connected_at_s is not None:
            self.last_problem = f"the connection was lost: {reason_name}"
            return self._judge_life(now_s - connected_at_s, reason_name, busy=busy, topic=topic)
        if refused:
            return None
        self.last_problem = "it drops the connection before it answers"
        return self._count_refusal(
            "Often the client certificate is missing, unknown to the broker or inactive, or its policy does not allow"
            " this client id; `nrf91-bridge thing check NAME` tells which."
        )

    def stable(self, now_s: float) -> bool:
        """Whether the current connection has lasted long enough to be trusted."""
        return self._connected_at_s is not None and now_s - self._connected_at_s >= SHORT_LIFE_S

    def _count_refusal(self, hint: str) -> CloudError | None:
        self._refusals += 1
        if self._ever_connected or self._refusals < MAX_REFUSALS:
            return None
        return CloudError(
            f"broker {self._broker}: {self.last_problem} ({self._refusals} times in a row)",
            reason=REFUSED_REASON,
            hint=hint,
        )

    def explained(self) -> None:
        """It is known why the last connections ended, and it will not happen again."""
        self._short_lives = self._ended_by_request = 0

    def _judge_life(self, life_s: float, reason_name: str, *, busy: bool, topic: str) -> CloudError | None:
        if life_s >= SHORT_LIFE_S or reason_name in {_KEEP_ALIVE_TIMEOUT, UNREADABLE}:
            self.explained()
            return None
        self._short_lives += 1
        self._ended_by_request += busy
        if self._short_lives < MAX_SHORT_LIVES:
            return None
        if 2 * self._ended_by_request > self._short_lives:
            return CloudError(
                f"broker {self._broker} ends the connection each time we subscribe or publish"
                + (f", last on {topic}" if topic else ""),
                reason=REFUSED_REASON,
                hint="The policy must allow Subscribe, Publish and Receive on the thing's jobs topics.",
            )
        return CloudError(
            f"broker {self._broker} threw us out {self._short_lives} times: "
            f"another client uses the client id {self._client_id!r}",
            reason=CLIENT_ID_REASON,
            hint="Stop the other client, or choose another client id; it need not be the thing name.",
        )

    def _judge_tls(self, error: ssl.SSLError) -> CloudError | None:
        if isinstance(error, ssl.SSLCertVerificationError):
            self.last_problem = f"its certificate cannot be trusted: {error.verify_message}"
            return CloudError(
                f"broker {self._broker}: {self.last_problem}",
                reason=TLS_REASON,
                hint="Check the CA file, the host name, and this computer's clock.",
            )
        code = error.reason or ""
        words = next((words for key, words in _TLS_WORDS.items() if key in code), None)
        self.last_problem = words or f"TLS failed: {code or error.strerror or 'the connection broke'}"
        final = "ALERT" in code and not any(passing in code for passing in _PASSING_ALERTS)
        if words is None and not final:
            return None
        return CloudError(
            f"broker {self._broker}: {self.last_problem}",
            reason=TLS_REASON,
            hint="Check certificate, key, CA file, host and port.",
        )

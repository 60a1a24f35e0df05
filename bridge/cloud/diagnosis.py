"""Why a broker connection fails, and whether trying again can help; judged from events, no I/O.

paho-mqtt tries for ever and tells little: with TLS 1.3 a missing client certificate looks like a connection
that drops before its CONNACK. In MQTT 3.1.1 a client id in use, a denied request and a bad line all look like a
connection that drops again and again; in MQTT 5 the broker says which it is (AWS IoT Developer Guide, "MQTT reason
codes": 0x8E for a session taken over, 0x87 in PUBACK and DISCONNECT for what the policy denies). So when in doubt,
the broker is asked in MQTT 5. Where it tells nothing either, a TLS close_notify shows that it was the broker, and no
line, that ended the connection. What stays in doubt is taken for a bad line, and tried again with growing pauses.
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
STABLE_LIFE_S: Final = 30.0
"""A connection that has lasted so long is no part of a storm: the next pause is a short one."""
DOUBTFUL_LIFE_S: Final = 300.0
"""A connection that ends sooner, and without a reason, raises doubts. Longer than any pause of another client that we throw
out, whose next attempt throws us out."""
DOUBTS: Final = 2
"""After so many of them in a row the broker is asked in MQTT 5."""
MAX_TAKEOVERS: Final = 3
TAKEOVER_WINDOW_S: Final = 900.0
"""So many takeovers within that time are another client that stays, and not an operator who had a look."""
MAX_EVICTIONS: Final = 5
"""So many short lives in a row that the broker ended by its own will, and without a reason, are another client's doing, or
the policy's."""
MAX_DENIALS: Final = 8
"""So many connections in a row that end before the broker answers to the same request, which it never granted: more
than chance."""
MAX_TOLD_DENIALS: Final = 3
"""The same, where the broker says that it was not authorized."""
_MAX_QUESTIONS: Final = 3
"""So often MQTT 5 is tried with a broker that hangs up on it."""

_TAKEN_OVER: Final = "Session taken over"
NOT_AUTHORIZED: Final = "Not authorized"
_NO_MQTT_5: Final = "Unsupported protocol version"
_NO_ROOM: Final = frozenset(
    {"Server unavailable", "Server busy", "Quota exceeded", "Connection rate exceeded"}
)
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
        self._doubts = 0
        self._evictions = 0
        self._hung_up = False
        self._questions = 0
        self._answers = False
        self._takeovers: list[float] = []
        self._denied = ("", 0)
        self.last_problem = "no answer yet"
        self.wants_reasons = False
        """Whether the next connection should be one in MQTT 5."""

    def tls_error(self, error: ssl.SSLError) -> None:
        """A read or write on the current connection failed with a TLS error."""
        self._tls_error = error

    def hung_up(self) -> None:
        """The broker has ended the current connection properly."""
        self._hung_up = True

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
        self._answers = self.wants_reasons
        self._refusals = 0

    def refused(self, code_name: str) -> CloudError | None:
        """The broker sent a CONNACK that does not let us in."""
        self._refused_now = True
        if self.wants_reasons and code_name == _NO_MQTT_5:
            self._stop_asking(_MAX_QUESTIONS)
            return None
        self.last_problem = f"it refuses the connection: {code_name}"
        if code_name in _NO_ROOM:
            return None
        return self._count_refusal("Check client id and certificate, and the policy's iot:Connect.")

    def lost(
        self, now_s: float, reason_name: str, *, asked: str = "", granted: bool = False
    ) -> CloudError | None:
        """The connection, or an attempt that had got as far as TLS, ended without our asking.

        Args:
            now_s: The time.
            reason_name: paho-mqtt's name for the cause.
            asked: What the first SUBSCRIBE or PUBLISH is about that was still unanswered.
            granted: Whether the broker has answered to such a request before.
        """
        connected_at_s, self._connected_at_s = self._connected_at_s, None
        refused, self._refused_now = self._refused_now, False
        tls_error, self._tls_error = self._tls_error, None
        hung_up, self._hung_up = self._hung_up, False
        if tls_error is not None and (permanent := self._judge_tls(tls_error)) is not None:
            return permanent
        if connected_at_s is not None:
            life_s = now_s - connected_at_s
            self.last_problem = f"the connection was lost after {life_s:.0f} s: {reason_name}"
            if reason_name == _TAKEN_OVER:
                return self._judge_takeover(now_s)
            self._evictions = self._evictions + 1 if hung_up and life_s < STABLE_LIFE_S else 0
            return self._judge_life(life_s, reason_name, asked, granted=granted)
        if refused:
            return None
        self.last_problem = "it drops the connection before it answers"
        if self.wants_reasons and not self._answers:
            self._stop_asking(1)
            return None
        return self._count_refusal(
            "Often the client certificate is missing, unknown to the broker or inactive, or its policy does not allow"
            " this client id; `nrf91-bridge thing check NAME` tells which."
        )

    def stable(self, now_s: float) -> bool:
        """Whether the current connection has lasted long enough to be trusted."""
        return self._connected_at_s is not None and now_s - self._connected_at_s >= STABLE_LIFE_S

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
        """It is known why the last connections ended, and it was not that the broker threw us out."""
        self._doubts = self._evictions = 0
        self._denied = ("", 0)

    def _judge_takeover(self, now_s: float) -> CloudError | None:
        self.last_problem = f"another client has connected with our client id {self._client_id!r}"
        self.explained()
        self._takeovers = [at_s for at_s in self._takeovers if now_s - at_s < TAKEOVER_WINDOW_S] + [now_s]
        return self._taken() if len(self._takeovers) >= MAX_TAKEOVERS else None

    def _judge_life(self, life_s: float, reason_name: str, asked: str, *, granted: bool) -> CloudError | None:
        told = reason_name == NOT_AUTHORIZED
        if not told and (life_s >= DOUBTFUL_LIFE_S or reason_name in {_KEEP_ALIVE_TIMEOUT, UNREADABLE}):
            self.explained()
            return None
        self._doubts += 1
        last, count = self._denied
        self._denied = (asked, (count + 1 if asked == last else 1) if asked and (told or not granted) else 0)
        if self._denied[1] >= (MAX_TOLD_DENIALS if told else MAX_DENIALS):
            return self.denial(asked)
        if self._evictions >= MAX_EVICTIONS:
            return self.denial(asked) if self._denied[1] >= MAX_EVICTIONS else self._taken()
        if self._doubts >= DOUBTS:
            self.last_problem += f" ({self._doubts} times in a row: " + (
                f"each time before it answered to {asked}, which our policy must allow)"
                if self._denied[1] > 1
                else f"a bad line, or another client with the client id {self._client_id!r})"
            )
            self.wants_reasons = self._questions < _MAX_QUESTIONS
        return None

    def _taken(self) -> CloudError:
        return CloudError(
            f"broker {self._broker} threw us out again and again: "
            f"another client uses the client id {self._client_id!r}",
            reason=CLIENT_ID_REASON,
            hint="Stop the other client, or choose another client id; it need not be the thing name.",
        )

    def denial(self, asked: str) -> CloudError:
        """The broker does not allow what we must ask of it."""
        return CloudError(
            f"broker {self._broker} ends the connection each time we subscribe or publish, last on {asked}",
            reason=REFUSED_REASON,
            hint="The policy must allow Subscribe, Publish and Receive on the thing's jobs topics.",
        )

    def _stop_asking(self, cost: int) -> None:
        """The broker does not speak MQTT 5, or would not this time."""
        self._questions += cost
        self.wants_reasons = False

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

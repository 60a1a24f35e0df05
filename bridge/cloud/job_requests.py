"""A request to the Jobs service until it is answered: repeated when a reply is lost, slower when it is busy.

Source: error codes of the AWS IoT Jobs device API (``RequestThrottled``, ``InternalError``). Replies can be
lost with the connection, and a QoS 1 confirmation only says that the broker has the request.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge import clock
from bridge.cloud.backoff import Backoff
from bridge.cloud.channel import Channel
from bridge.cloud.correlation import ReplyDesk
from bridge.cloud.job_messages import Reply
from bridge.errors import CloudError

_log = logging.getLogger(__name__)

_THROTTLED: Final = "RequestThrottled"
_BUSY_CODES: Final = {_THROTTLED, "InternalError", "ServiceUnavailable"}
_REASONS: Final = {
    "InvalidRequest": "invalid-request",
    "RequestThrottled": "throttled",
    "InternalError": "service-error",
}


@dataclass(frozen=True)
class JobsTiming:
    """How patient the Jobs client is.

    Attributes:
        request_s: A request, with all its repetitions, fails after this time.
        reply_s: A reply that has not come by then is taken for lost, and the request is repeated.
        busy_min_s: First pause after the service said that it is busy.
        busy_max_s: Longest pause of that kind.
    """

    request_s: float = 30.0
    reply_s: float = 8.0
    busy_min_s: float = 1.0
    busy_max_s: float = 15.0


@dataclass(frozen=True)
class Answer:
    """The reply, and whether the request was sent before, so that it may have had its effect already."""

    reply: Reply
    repeated: bool


def request(
    connection: Channel, desk: ReplyDesk, timing: JobsTiming, topic: str, build: Callable[[str], bytes]
) -> Answer:
    """Send a request, with a new token each time, until it is answered.

    Args:
        connection: Where to send it.
        desk: Where the replies come in.
        timing: How patient to be.
        topic: Topic of the request.
        build: Makes the body for a token.

    Raises:
        CloudError: As :meth:`Connection.wait_ready`; ``no-answer``, or ``throttled`` and ``service-error``
            when the service stays busy.
    """
    deadline_s = clock.monotonic() + timing.request_s
    busy = Backoff(timing.busy_min_s, timing.busy_max_s)
    sent = 0
    while True:
        connection.wait_ready(_left(deadline_s))
        reply = _exchange(connection, desk, topic, build, min(timing.reply_s, _left(deadline_s)))
        sent += 1
        if reply is None:
            _log.info("no reply on %s", topic)
            pause_s = 0.0
        elif reply.accepted or reply.code not in _BUSY_CODES:
            return Answer(reply, repeated=sent > 1)
        else:
            pause_s = busy.next_s()
        if clock.monotonic() + pause_s >= deadline_s:
            raise _given_up(topic, timing, reply)
        if pause_s:
            _say_busy(topic, reply, pause_s)
            desk.pause(pause_s)


def _say_busy(topic: str, reply: Reply | None, pause_s: float) -> None:
    what = "throttles us" if reply is not None and reply.code == _THROTTLED else "is busy"
    _log.warning("the Jobs service %s (%s); again in %.1f s", what, topic, pause_s)


def refusal(reply: Reply) -> CloudError:
    """The error for a rejection that cannot be put right here, with the service's own words."""
    return CloudError(
        f"the Jobs service refuses the request ({reply.code}): {reply.message}",
        reason=_REASONS.get(reply.code, "service-refused"),
    )


def _exchange(
    connection: Channel, desk: ReplyDesk, topic: str, build: Callable[[str], bytes], timeout_s: float
) -> Reply | None:
    with desk.expect(topic) as expected:
        connection.send(topic, build(expected.token))
        return expected.wait(timeout_s)


def _given_up(topic: str, timing: JobsTiming, last: Reply | None) -> CloudError:
    if last is not None:
        return refusal(last)
    return CloudError(
        f"the Jobs service did not answer on {topic} in {timing.request_s:g} s",
        reason="no-answer",
        hint="Check the thing name, and that the policy allows publishing on its jobs topics.",
    )


def _left(deadline_s: float) -> float:
    return max(0.0, deadline_s - clock.monotonic())

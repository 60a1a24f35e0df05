"""The device side of AWS IoT Jobs: what is next, how does it stand, this is how far we are.

Source: AWS IoT Developer Guide, "Jobs device MQTT API", "Jobs notifications", and the error codes of the
service model. A request whose reply is lost is repeated with a new token. Reading twice is harmless; an
update carries ``expectedVersion``, so it takes effect once: the repetition is rejected with a
VersionMismatch (or, after a terminal status, an InvalidStateTransition) whose state is the one that we
wanted, and that is success.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Self

from bridge import clock
from bridge.cloud.channel import Channel
from bridge.cloud.correlation import ReplyDesk
from bridge.cloud.job_execution import TAKEN_OVER, JobExecution, JobExecutionState, JobGoneError, JobStatus
from bridge.cloud.job_messages import (
    NEXT_JOB,
    JobTopics,
    Reply,
    build_get,
    build_update,
    check_job_id,
    clean_details,
    read_execution,
    read_reply,
    read_state,
)
from bridge.cloud.job_requests import Answer, JobsTiming, refusal, request
from bridge.errors import CloudError

_log = logging.getLogger(__name__)

MAX_VERSION_CONFLICTS: Final = 5
_REMEMBERED_REPORTS: Final = 16
"""A report whose reply was lost may still be what the service has; after so many it cannot be."""
_IMPOSSIBLE_VERSION: Final = 2**31 - 1
_GONE_CODES: Final = {"InvalidStateTransition", "ResourceNotFound", "TerminalStateReached"}


class JobsClient:
    """Jobs of one thing over a connection.

    Thread-safe; the updates of one execution belong to one thread at a time.

    Args:
        connection: Connection to the broker; its client id need not be the thing name.
        thing_name: The thing.
        timing: How patient to be.

    Raises:
        UsageError: The thing name is none.
    """

    def __init__(self, connection: Channel, thing_name: str, *, timing: JobsTiming | None = None) -> None:
        self._connection = connection
        self._topics = JobTopics(thing_name)
        self._timing = timing or JobsTiming()
        self._desk = ReplyDesk()
        self._news = clock.condition()
        self._changed = False
        self._woken = False
        self._ours: deque[Mapping[str, str]] = deque(maxlen=_REMEMBERED_REPORTS)

    def __enter__(self) -> Self:
        """Begin to listen; the broker need not be there yet."""
        self._connection.add_listener(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._connection.remove_listener(self)
        self._desk.interrupt()

    def next_job(self) -> JobExecution | None:
        """Read the execution at the head of the queue (``$next``), in progress or queued.

        Returns:
            The execution with its document; None for an empty queue.

        Raises:
            CloudError: The broker or the service does not answer, or refuses.
        """
        with self._news:
            self._changed = False
        reply = self._request(self._topics.get(NEXT_JOB), build_get).reply
        if reply.accepted:
            return read_execution(reply.body)
        if reply.code == "ResourceNotFound":
            return None
        raise refusal(reply)

    def describe(self, job_id: str) -> JobExecution:
        """Read an execution again, with a freshly signed document.

        Raises:
            JobGoneError: There is no such execution (any more), or it has ended.
            CloudError: The broker or the service does not answer, or refuses.
            UsageError: The job id is none.
        """
        reply = self._request(self._topics.get(check_job_id(job_id)), build_get).reply
        if not reply.accepted:
            raise _gone(job_id, reply, None) if reply.code in _GONE_CODES else refusal(reply)
        execution = read_execution(reply.body)
        if execution is None:
            raise JobGoneError(f"there is no execution of job {job_id}")
        return execution

    def update(
        self,
        execution: JobExecution,
        status: JobStatus,
        details: Mapping[str, str],
        *,
        step_timeout_minutes: int | None = None,
        exclusive: bool = False,
    ) -> JobExecution:
        """Report how an execution stands.

        Args:
            execution: The execution as last seen; its version number is sent along.
            status: IN_PROGRESS, SUCCEEDED, FAILED or REJECTED.
            details: Replaces the ``statusDetails``; shortened to what the service takes. Empty leaves them
                as they are.
            step_timeout_minutes: (Re)starts the step timer, 1 to 10080; None leaves it alone.
            exclusive: Give way to another client that has reported on the execution since we did.

        Returns:
            The execution with its new version, status and details.

        Raises:
            JobGoneError: The execution was cancelled, deleted, has timed out or ended otherwise; it carries
                the final state. With ``exclusive`` also: another client works it now (reason ``taken-over``).
            CloudError: The report may not have been taken: ``no-answer``, ``invalid-request`` and others.
                It is safe to call this again with the same values.
            UsageError: Status, step timeout or a key of the details is not possible.
        """
        topic = self._topics.update(check_job_id(execution.job_id))
        wanted = clean_details(details)
        current = execution
        self._ours.extend((dict(execution.status_details), wanted))
        for _ in range(MAX_VERSION_CONFLICTS):
            build = partial(
                build_update,
                execution=current,
                status=status,
                details=wanted,
                step_timeout_minutes=step_timeout_minutes,
            )
            answer = self._request(topic, build)
            done = _settled(answer, current, status, wanted)
            if done is not None:
                return done
            current = self._adopt(current, read_state(answer.reply.body))
            if exclusive and current.status_details not in self._ours:
                raise JobGoneError(
                    f"job {current.job_id} is worked by another client now",
                    execution=current,
                    reason=TAKEN_OVER,
                )
        raise CloudError(
            f"job {execution.job_id} is being changed by someone else all the time", reason="version-conflict"
        )

    def has_taken(
        self, job_id: str, execution_number: int, status: JobStatus, details: Mapping[str, str]
    ) -> bool:
        """Whether an execution ended with a report of ours whose reply was lost; changes nothing.

        Only the rejection of an update shows the state of an execution that has ended, so one is sent that cannot be taken.

        Raises:
            CloudError: The broker or the service does not answer.
        """
        never = JobExecution(job_id, execution_number, _IMPOSSIBLE_VERSION, JobStatus.IN_PROGRESS)
        wanted = clean_details(details)
        build = partial(build_update, execution=never, status=status, details=wanted)
        state = read_state(self._request(self._topics.update(check_job_id(job_id)), build).reply.body)
        return state is not None and _is_wanted(state, status, wanted, repeated=False)

    def wait_for_job_change(self, timeout_s: float) -> bool:
        """Block until :meth:`next_job` may have something new to say: a notification, or a reconnect.

        Returns:
            Whether there was one; False when time is up.

        Raises:
            CloudError: The connection has failed for good.
        """
        with self._news:
            self._news.wait_for(
                lambda: self._changed or self._woken or self._connection.failure is not None,
                timeout=timeout_s,
            )
            changed, self._changed, self._woken = self._changed, False, False
        if (failure := self._connection.failure) is not None:
            raise failure
        return changed

    def wake(self) -> None:
        """End the :meth:`wait_for_job_change` that is going on, or the next one."""
        with self._news:
            self._woken = True
            self._news.notify_all()

    @property
    def filters(self) -> Sequence[str]:
        """What the connection subscribes to for us."""
        return self._topics.filters

    def on_message(self, topic: str, payload: bytes) -> None:
        """Sort a message: a notification, a reply, or nothing of ours (called by the connection)."""
        if not topic.startswith(self._topics.prefix):
            # A policy that is too wide shows the messages of other things: a warning on Nordic's AWS FOTA
            # page.
            _log.debug("ignored a message of another thing on %s", topic)
        elif self._topics.is_notification(topic):
            self._note_change()
        else:
            self._take_reply(topic, payload)

    def on_ready(self) -> None:
        """Let the queue be read again: a notification may be lost (called by the connection)."""
        self._note_change()

    def on_lost(self) -> None:
        """Repeat requests: their replies may be lost (called by the connection)."""
        self._desk.interrupt()
        with self._news:
            self._news.notify_all()

    def _note_change(self) -> None:
        with self._news:
            self._changed = True
            self._news.notify_all()

    def _take_reply(self, topic: str, payload: bytes) -> None:
        try:
            reply = read_reply(topic, payload)
        except CloudError as error:
            _log.warning("%s", error.message)
            return
        if reply is not None and not self._desk.deliver(reply):
            _log.debug("ignored a reply on %s that nobody waits for", topic)

    def _request(self, topic: str, build: Callable[[str], bytes]) -> Answer:
        return request(self._connection, self._desk, self._timing, topic, build)

    def _adopt(self, current: JobExecution, state: JobExecutionState | None) -> JobExecution:
        """Take over the service's version; if the rejection has no state, ask for it."""
        if state is None:
            seen = self.describe(current.job_id)
            if seen.execution_number != current.execution_number:
                raise JobGoneError(f"job {current.job_id} was started anew", execution=seen)
            state = JobExecutionState(seen.status, seen.status_details, seen.version_number)
        _log.info(
            "job %s is at version %d, not %d", current.job_id, state.version_number, current.version_number
        )
        return _after(current, state)


def _settled(
    answer: Answer, current: JobExecution, status: JobStatus, wanted: Mapping[str, str]
) -> JobExecution | None:
    """What an answer to an update means: the updated execution, or None for a try with another version.

    Raises:
        JobGoneError: The execution has ended otherwise.
        CloudError: The service refuses.
    """
    reply, state = answer.reply, read_state(answer.reply.body)
    if reply.accepted:
        return _after(current, state or JobExecutionState(status, wanted, current.version_number + 1))
    if state is not None and _is_wanted(state, status, wanted, repeated=answer.repeated):
        _log.info("job %s: %s had been taken already, the reply was lost", current.job_id, status)
        return _after(current, state)
    if reply.code in _GONE_CODES or (state is not None and state.status.terminal):
        raise _gone(current.job_id, reply, None if state is None else _after(current, state))
    if reply.code != "VersionMismatch":
        raise refusal(reply)
    return None


def _is_wanted(
    state: JobExecutionState, status: JobStatus, wanted: Mapping[str, str], *, repeated: bool
) -> bool:
    """Whether the service has what we report: without details only if we may have reported it before."""
    same_details = dict(state.status_details) == dict(wanted) if wanted else repeated
    return state.status is status and same_details


def _after(execution: JobExecution, state: JobExecutionState) -> JobExecution:
    return replace(
        execution,
        version_number=state.version_number,
        status=state.status,
        status_details=dict(state.status_details),
    )


def _gone(job_id: str, reply: Reply, execution: JobExecution | None) -> JobGoneError:
    state = reply.code if execution is None else execution.status
    return JobGoneError(f"job {job_id} is not ours any more ({state}): {reply.message}", execution=execution)

"""The cloud of a run: the lab's own Jobs service behind a broker of which nothing is left but its failures."""

from collections.abc import Callable
from typing import Final, Protocol

from bridge import clock
from bridge.lab.campaign.mail import Mail
from bridge.lab.campaign.mishap import Mishap, MishapKind
from bridge.lab.campaign.timeline import Timeline
from bridge.lab.campaign.world import SimulatedWorld
from bridge.lab.jobs_api import JobsApi
from bridge.lab.jobs_document import Presigner
from bridge.lab.jobs_model import Execution, ExecutionStatus, JobsRejectedError
from bridge.lab.jobs_store import JobsStore

THING: Final = "campaign-thing"
_EPOCH_S: Final = 1_700_000_000
_LATENCY_S: Final = 0.03
_LATE_S: Final = 12.0
"""Longer than the Jobs client waits for an answer."""
_TICK_S: Final = 60.0


class Client(Protocol):
    """A connected client as the broker sees it."""

    def deliver(self, delay_s: float, topic: str, payload: bytes) -> None:
        """A message for it is on its way."""
        ...

    def lose(self, outage_s: float | None) -> None:
        """Its connection breaks, for so long; None for good, since another client took over its session."""
        ...


class SimulatedCloud:
    """Jobs, and messages to and fro.

    Args:
        world: Where it is.
        timeline: Gets notes.
        mishaps: Those that befall messages.
        presigner: Signs URLs of images in job documents.
    """

    def __init__(
        self, world: SimulatedWorld, timeline: Timeline, mishaps: list[Mishap], presigner: Presigner
    ) -> None:
        self._world = world
        self._timeline = timeline
        self._mishaps = {mishap.where: mishap for mishap in mishaps}
        self.store = JobsStore(clock=self._now_s, presigner=presigner)
        self.store.add_thing(THING)
        self._api = JobsApi(self.store, self._now_s)
        self._mail = Mail()
        self._client: Client | None = None
        self.changed = clock.condition()
        self.messages = 0
        self.asked_in_vain = 0
        """How often the queue was found empty; who asks in vain has nothing left to do."""
        self.store.set_listener(lambda: self._mail.put(0.0, self._announce))
        world.spawn(world.process("cloud"), "cloud", self._run)

    def _run(self) -> None:
        self._mail.put(_TICK_S, self._tick)
        self._mail.run()

    def _tick(self) -> None:
        self.store.advance()
        self._mail.put(_TICK_S, self._tick)

    def _now_s(self) -> float:
        return _EPOCH_S + self._world.elapsed_s

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let an operator do something in so many seconds."""
        self._mail.put(delay_s, action)

    def no_more_mishaps(self) -> None:
        """From now on nothing goes wrong any more."""
        self._mishaps.clear()

    @property
    def executions(self) -> list[Execution]:
        """All of the thing's."""
        return self.store.list_thing_executions(THING)

    # --- the broker's side of a connection ------------------------------------------------------------------

    def connect(self, client: Client) -> None:
        """A client is there; another one with the same id is thrown out."""
        self._client = client

    def disconnect(self, client: Client) -> None:
        """A client is gone."""
        if self._client is client:
            self._client = None

    def request(self, client: Client, topic: str, payload: bytes) -> None:
        """A client has published something."""
        self.messages += 1
        mishap = self._mishaps.pop(self.messages, None)
        if mishap is not None:
            self._timeline.note("fault", str(mishap), topic=topic.rsplit("/jobs/", maxsplit=1)[-1])
        kind = None if mishap is None else mishap.kind
        self._mail.put(_LATENCY_S, lambda: self._answer(client, topic, payload, kind))
        if kind is MishapKind.MESSAGE_DOUBLED:
            self._mail.put(2 * _LATENCY_S, lambda: self._answer(client, topic, payload, kind))
        elif kind is MishapKind.BROKER_LOST and mishap is not None:
            client.lose(mishap.lasts_s)
        elif kind is MishapKind.SESSION_TAKEN:
            client.lose(None)

    def _answer(self, client: Client, topic: str, payload: bytes, kind: MishapKind | None) -> None:
        before = {(each.job_id, each.version_number) for each in self.executions}
        reply = self._api.handle(topic, payload)
        for execution in self.executions:
            if (execution.job_id, execution.version_number) not in before:
                self._note(execution)
        if reply is None:
            return
        if topic.endswith("/$next/get") and b'"execution"' not in reply.payload:
            with self.changed:
                self.asked_in_vain += 1
                self.changed.notify_all()
        if kind is not MishapKind.ANSWER_LOST and client is self._client:
            delay_s = _LATE_S if kind is MishapKind.ANSWER_LATE else _LATENCY_S
            for number in range(2 if kind is MishapKind.MESSAGE_DOUBLED else 1):
                client.deliver(delay_s * (number + 1), reply.topic, reply.payload)

    def _announce(self) -> None:
        for notification in self.store.take_notifications():
            try:
                message = self._api.notification(notification)
            except JobsRejectedError:
                continue  # the job was deleted meanwhile
            if self._client is not None:
                self._client.deliver(_LATENCY_S, message.topic, message.payload)
        with self.changed:
            self.changed.notify_all()

    def _note(self, execution: Execution) -> None:
        details = execution.status_details
        shown = {key: details[key] for key in ("stage", "percent", "reason") if key in details}
        if execution.status is not ExecutionStatus.IN_PROGRESS:
            shown |= {key: details[key] for key in ("message", "running_version") if key in details}
        self._timeline.note("cloud", f"{execution.job_id} {execution.status}", **shown)

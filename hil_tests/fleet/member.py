"""One thing of the fleet: a simulated board in this process, and a real agent that works its jobs in a thread."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bridge.board import Board
from bridge.cloud import Endpoint, JobExecution
from bridge.fetch import THIS_HOST
from bridge.fota import Stage, StageStarted, UpdateEvent, UpdateOptions, over_at
from bridge.fota.agent import Agent
from bridge.fota.service import DownloadSettings, running_agent
from bridge.lab.local_cloud import Credentials
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import SwapType, running_version, swap_type


class Kind(StrEnum):
    """What is peculiar about a thing."""

    PLAIN = "plain"
    CURRENT = "has the new version already"
    STRANGER = "trusts another key"
    CUT = "loses its connection during the transfer"
    DEAF = "misses the answer to its first report"


def kind_of(number: int) -> Kind:
    """Every twentieth thing is of each peculiar kind."""
    return {3: Kind.CURRENT, 7: Kind.STRANGER, 11: Kind.CUT, 15: Kind.DEAF}.get(number % 20, Kind.PLAIN)


@dataclass(frozen=True)
class Surroundings:
    """What all things share.

    Attributes:
        endpoint: Host and port of the broker.
        directory: For downloads.
        changed: Notified whenever a job has ended on a thing.
        on_transfer: Told which thing begins to write.
    """

    endpoint: tuple[str, int]
    directory: Path
    changed: threading.Condition
    on_transfer: Callable[[str, Kind], None]


class Member:
    """A thing with its board and its agent, from :meth:`start` to :meth:`close`.

    Args:
        credentials: The thing's.
        kind: What is peculiar about it.
        board: Its board.
        around: What it shares with the others.

    Attributes:
        transfers: How often each job was written to the board.
        ended: Jobs that the agent has brought to an end, in order.
        failure: What ended the agent's thread, if anything did.
    """

    def __init__(
        self, credentials: Credentials, kind: Kind, board: VirtualBoard, around: Surroundings
    ) -> None:
        self.name = credentials.thing_name
        self.kind = kind
        self.board = board
        self.transfers: Counter[str] = Counter()
        self.ended: list[str] = []
        self.failure: BaseException | None = None
        self._credentials = credentials
        self._around = around
        self._agent: Agent | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"agent-{self.name}", daemon=True)

    def start(self) -> None:
        """Switch the board on and let the agent work."""
        registry.register(self.name, self.board)
        self.board.start()
        self._thread.start()

    def stop(self) -> None:
        """Tell the agent to end."""
        self._stopping.set()
        if self._agent is not None:
            self._agent.stop()

    def close(self) -> None:
        """Wait for the agent's end, and switch the board off."""
        self.stop()
        self._thread.join()
        self.board.stop()
        registry.unregister(self.name)

    @property
    def version(self) -> str:
        """What the board's flash says that it runs."""
        return self.board.call(lambda: running_version(self.board.flash, self.board.layout))

    @property
    def confirmed(self) -> bool:
        """Whether it would run that after another reset, too."""
        return self.board.call(lambda: swap_type(self.board.flash, self.board.layout)) is SwapType.NONE

    def _run(self) -> None:
        thing = self._credentials
        url = f"virtual://{self.name}"
        try:
            with running_agent(
                Endpoint(
                    *self._around.endpoint,
                    thing.ca_file,
                    thing.cert_file,
                    thing.key_file,
                    client_id=self.name,
                ),
                self.name,
                over_at(lambda: Board.open(url)),
                DownloadSettings(self._around.directory / self.name, ca_file=thing.ca_file, rules=THIS_HOST),
                options=UpdateOptions(confirm_timeout_s=1),
                on_event=self._on_event,
                place=url,
            ) as agent:
                self._agent = agent
                while not self._stopping.is_set():
                    result = agent.run(once=True)
                    if result is not None:
                        self._note(result.execution.job_id)
        except BaseException as error:
            self.failure = error
            self._note("")

    def _note(self, job_id: str) -> None:
        with self._around.changed:
            if job_id:
                self.ended.append(job_id)
            self._around.changed.notify_all()

    def _on_event(self, execution: JobExecution, event: UpdateEvent) -> None:
        if event == StageStarted(Stage.TRANSFER):
            self.transfers[execution.job_id] += 1
            self._around.on_transfer(self.name, self.kind)

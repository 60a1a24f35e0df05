"""A board, a local cloud, an agent with a journal, and what a process leaves of all three when it dies at some stage."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bridge.board import Board
from bridge.cloud import Connection, Endpoint, JobsClient, JobStatus
from bridge.dfu import TransferImage, XdfuTarget
from bridge.dfu.transfer import transfer
from bridge.fetch import THIS_HOST
from bridge.fota import (
    BoardIdentified,
    ImageAccepted,
    ImageJudged,
    Progress,
    Stage,
    StageStarted,
    UpdateEvent,
    UpdateOptions,
    over_at,
)
from bridge.fota.agent import Agent
from bridge.fota.job_result import JobResult
from bridge.fota.journal import Journal
from bridge.fota.journal_rows import read_history
from bridge.fota.journal_values import JournalEntry
from bridge.fota.reconcile import Reconciler, order_of
from bridge.fota.route import RouteOpener
from bridge.fota.service import DownloadSettings, running_agent
from bridge.image import FileSource, FirmwareImage, ImageKind, inspect_file
from bridge.lab.iot_policy_rules import LOCAL_ARN_PREFIX
from bridge.lab.jobs_model import Execution
from bridge.lab.local_cloud import Credentials, LocalCloud
from bridge.lab.registry_model import RegistryRefusedError
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.pty_server import PtyServer
from bridge.virtual.serial_modem_options import SerialModemOptions

OLD, NEW = "1.0.0", "2.0.0"
SECOND_HOST = "second-host"
_NUMBERS = itertools.count(1)
_ORDER = (Stage.TRANSFER, Stage.SCHEDULE, Stage.REBOOT, Stage.VERIFY, Stage.CONFIRM)


@dataclass
class JobBench:
    """Everything around one thing.

    Attributes:
        route: Opens the board.
        options: How its agent updates.
    """

    cloud: LocalCloud
    thing: Credentials
    samples: SampleImages
    board: VirtualBoard
    port: str
    directory: Path
    route: RouteOpener = field(init=False)
    options: UpdateOptions = field(default_factory=lambda: UpdateOptions(confirm_timeout_s=0.1))

    def __post_init__(self) -> None:
        self.route = over_at(lambda: Board.open(self.port))

    @property
    def journal_file(self) -> Path:
        return self.directory / "journal.sqlite3"

    @property
    def version(self) -> str:
        """What the board runs."""
        return self.board.call(lambda: running_version(self.board.flash, self.board.layout))

    @property
    def next_swap(self) -> SwapType:
        """What MCUboot would do at the next reset."""
        return self.board.call(lambda: swap_type(self.board.flash, self.board.layout))

    @property
    def operations(self) -> int:
        """Flash operations so far."""
        return self.board.call(lambda: self.board.flash.operations)

    def create_job(self, image: Path, *, timeout_minutes: int | None = None) -> str:
        job_id = f"job-{next(_NUMBERS)}"
        kind = "modem_fw_update" if image.name.startswith("mfw_") else "app_fw_update"
        document = {"operation": kind, "location": {"url": self.cloud.publish_image(image)}}
        self.cloud.jobs.create_job(
            job_id, self.thing.thing_name, document, in_progress_timeout_minutes=timeout_minutes
        )
        return job_id

    def execution(self, job_id: str) -> Execution:
        """The job as the service has it."""
        return self.cloud.jobs.describe_execution(job_id, self.thing.thing_name)

    def entries(self) -> list[JournalEntry]:
        """The journal, oldest first."""
        return [entry for entry, _ in reversed(read_history(self.journal_file, 100))]

    def entry(self, job_id: str) -> JournalEntry:
        """The only entry of a job."""
        (found,) = [entry for entry in self.entries() if entry.order.job_id == job_id]
        return found

    def endpoint(self, client_id: str) -> Endpoint:
        thing = self.thing
        return Endpoint(
            *self.cloud.mqtt_endpoint, thing.ca_file, thing.cert_file, thing.key_file, client_id=client_id
        )

    @contextmanager
    def agent(self, on_event: Callable[[UpdateEvent], None] = lambda _: None) -> Iterator[Agent]:
        """A connected agent with the bench's journal."""
        with (
            Journal(self.journal_file) as journal,
            running_agent(
                self.endpoint(self.thing.thing_name),
                self.thing.thing_name,
                self.route,
                DownloadSettings(self.directory / "cache", ca_file=self.cloud.ca_file, rules=THIS_HOST),
                options=self.options,
                on_event=lambda _, event: on_event(event),
                journal=journal,
                place=self.port,
            ) as agent,
        ):
            yield agent

    def work(self, on_event: Callable[[UpdateEvent], None] = lambda _: None) -> JobResult:
        """Settle what is left, and work the next job."""
        with self.agent(on_event) as agent:
            result = agent.run(once=True)
        assert result is not None
        return result

    @contextmanager
    def client(self, name: str = SECOND_HOST) -> Iterator[JobsClient]:
        """Another client of the same thing."""
        with (
            Connection(self.endpoint(name)) as connection,
            JobsClient(connection, self.thing.thing_name) as jobs,
        ):
            yield jobs

    def reconcile(self) -> bool:
        """Only settle what is left."""
        with self.client(self.thing.thing_name) as jobs, Journal(self.journal_file) as journal:
            return Reconciler(jobs, journal, self.route, self.thing.thing_name, threading.Event()).run()

    # --- a process that died -----------------------------------------------------------------------------------------

    def die_in(self, stage: Stage, image: Path, *, effect: bool = True) -> str:
        """Leave cloud, journal and board as a process does that is killed in a stage.

        Args:
            stage: The last one that it wrote down.
            image: What it was installing.
            effect: Whether what the stage announces still happened.
        """
        job_id = self.create_job(image)
        with self.client(self.thing.thing_name) as jobs:
            taken = jobs.next_job()
            assert taken is not None
            taken = jobs.update(taken, JobStatus.IN_PROGRESS, {"stage": stage.value})
        found = inspect_file(image)
        with Journal(self.journal_file) as journal:
            record = journal.begin(order_of(taken, self.thing.thing_name, self.port))
            for event in _events_until(stage, found, self._imei()):
                record.take(event)
        if stage in _ORDER:
            self._leave_board(stage, image, found, effect=effect)
        return job_id

    def _imei(self) -> str | None:
        with Board.open(self.port) as board:
            return board.identify().imei

    def _leave_board(self, stage: Stage, image: Path, found: FirmwareImage, *, effect: bool) -> None:
        done = _ORDER.index(stage) + effect
        with closing(FileSource(image)) as source, Board.open(self.port) as board:
            target = XdfuTarget(board)
            for step in transfer(target, source, TransferImage(found.kind, found.size_bytes)):
                if done == 0 and step.done_bytes:
                    return
            if done >= _ORDER.index(Stage.SCHEDULE) + 1:
                target.schedule()
            if done >= _ORDER.index(Stage.REBOOT) + 1:
                _ = board.reset_modem() if found.kind is ImageKind.MODEM_DELTA else board.reset()
            if done >= _ORDER.index(Stage.CONFIRM) + 1:
                board.reset()


def _events_until(stage: Stage, image: FirmwareImage, imei: str | None) -> Iterator[UpdateEvent]:
    accepted = ImageAccepted(
        Stage.CHECK, image.kind, image.name, image.size_bytes, _running(image), image.version
    )
    story: list[UpdateEvent] = [
        StageStarted(Stage.FETCH),
        StageStarted(Stage.CHECK),
        BoardIdentified(Stage.CHECK, "nRF9151-LACA", imei, f"v{OLD}", "mfw_nrf91x1_2.0.2", "xdfu"),
        accepted,
        StageStarted(Stage.TRANSFER),
        Progress(Stage.TRANSFER, image.size_bytes // 2, image.size_bytes, 1.0, 1),
        ImageJudged(Stage.TRANSFER, image.sha256, image.mcuboot.digest if image.mcuboot else None),
        StageStarted(Stage.SCHEDULE),
        StageStarted(Stage.REBOOT),
        StageStarted(Stage.VERIFY),
        StageStarted(Stage.CONFIRM),
    ]
    for event in story:
        yield event
        if event == StageStarted(stage):
            return


def _running(image: FirmwareImage) -> str:
    return "2.0.2" if image.kind is ImageKind.MODEM_DELTA else OLD


def _let_in(cloud: LocalCloud, thing_name: str, client_id: str) -> None:
    """Let a thing's certificate connect under another client id, which its own policy does not."""
    allow = {
        "Effect": "Allow",
        "Action": "iot:Connect",
        "Resource": f"{LOCAL_ARN_PREFIX}:client/{client_id}",
    }
    with suppress(RegistryRefusedError):  # it is there from another thing
        cloud.registry.create_policy(client_id, json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    for certificate in cloud.registry.principals_of(thing_name):
        cloud.registry.attach_policy(client_id, certificate)


@contextmanager
def job_bench(
    cloud: LocalCloud, samples: SampleImages, directory: Path, *, modem_full: bool = False
) -> Iterator[JobBench]:
    """A fresh board with version 1.0.0 on a pty, and a thing of its own."""
    thing = cloud.add_thing(f"thing-{next(_NUMBERS)}")
    _let_in(cloud, thing.thing_name, SECOND_HOST)
    board = VirtualBoard(
        factory_image=samples.application(OLD).read_bytes(),
        keys=[samples.public_key_pem],
        serial_modem=SerialModemOptions(modem_full=modem_full),
    )
    with board, PtyServer(board) as pty:
        yield JobBench(cloud, thing, samples, board, pty.path, directory)

"""One job end to end on one machine: local cloud, virtual board on a pty, agent; the parts are those that users run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bridge.board import Board
from bridge.cloud import Endpoint
from bridge.fetch import THIS_HOST
from bridge.fota import RouteOpener, UpdateEvent, UpdateOptions, over_at
from bridge.fota.service import DownloadSettings, running_agent
from bridge.fota.versions import modem_release
from bridge.image import inspect_file
from bridge.lab.jobs_model import Execution, ExecutionStatus
from bridge.lab.local_cloud import Credentials, LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.clock import Timing
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.pty_server import PtyServer

DemoKind = Literal["application", "modem-delta"]

THING: Final = "demo-board"
JOB_ID: Final = "demo-update"
_OLD_VERSION: Final = "1.0.0"
_NEW_VERSION: Final = "2.0.0"
_OLD_MODEM: Final = "2.0.2"
_NEW_MODEM: Final = "2.0.3"
_OPERATIONS: Final = {"application": "app_fw_update", "modem-delta": "modem_fw_update"}


@dataclass(frozen=True)
class DemoSetup:
    """What is shown.

    Attributes:
        kind: What is updated.
        timing: Whether line and flash take their time.
        baud: Line speed of the transfer.
        size_bytes: Size of the image.
    """

    kind: DemoKind
    timing: Timing
    baud: int
    size_bytes: int


@dataclass(frozen=True)
class DemoResult:
    """What came of it, as the Jobs service and the board's flash have it.

    Attributes:
        execution: The job execution, read back from the Jobs service.
        running_version: Version that the board runs.
        confirmed: Whether it would still run it after another reset.
    """

    execution: Execution
    running_version: str
    confirmed: bool

    @property
    def good(self) -> bool:
        """Whether the cloud says SUCCEEDED and the board bears it out."""
        details = self.execution.status_details
        return (
            self.execution.status is ExecutionStatus.SUCCEEDED
            and self.confirmed
            and details.get("running_version") == self.running_version
            and details.get("from_version") not in (None, self.running_version)
        )


@dataclass(frozen=True)
class DemoScene:
    """The places of the demo, for people.

    Attributes:
        broker: Host and port of the broker.
        image_url: Where the image is.
        port: The board's pty.
    """

    broker: str
    image_url: str
    port: str


def run_demo(
    setup: DemoSetup,
    directory: Path,
    *,
    on_scene: Callable[[DemoScene], None],
    on_event: Callable[[UpdateEvent], None],
) -> DemoResult:
    """Run one job.

    Args:
        setup: What is shown.
        directory: For certificates, images, the board's state and the download cache.
        on_scene: Told where everything is, before the job starts.
        on_event: Told about every event of the update.

    Raises:
        BridgeError: The scene could not be built. An update that fails does not raise; the result tells.
    """
    samples = SampleImages(directory / "images")
    image = _build_image(samples, setup)
    factory_image = samples.application(_OLD_VERSION, size_bytes=setup.size_bytes).read_bytes()
    board = VirtualBoard(
        timing=setup.timing,
        factory_image=factory_image,
        keys=[samples.public_key_pem],
        state_dir=directory / "board",
    )
    with LocalCloud(directory / "cloud") as cloud, board, PtyServer(board) as pty:
        thing = cloud.add_thing(THING)
        url = cloud.publish_image(image)
        host, port = cloud.mqtt_endpoint
        on_scene(DemoScene(f"{host}:{port}", url, pty.path))
        cloud.jobs.create_job(JOB_ID, THING, _job_document(setup, image, url))
        downloads = DownloadSettings(directory / "cache", ca_file=cloud.ca_file, rules=THIS_HOST)
        _work_job(
            cloud.mqtt_endpoint, thing, over_at(lambda: Board.open(pty.path)), downloads, setup.baud, on_event
        )
        execution = cloud.jobs.describe_execution(JOB_ID, THING)
        return _read_back(setup, execution, board, pty.path)


def _build_image(samples: SampleImages, setup: DemoSetup) -> Path:
    if setup.kind == "modem-delta":
        return samples.modem_delta(_OLD_MODEM, _NEW_MODEM, size_bytes=setup.size_bytes)
    return samples.application(_NEW_VERSION, size_bytes=setup.size_bytes)


def _job_document(setup: DemoSetup, image: Path, url: str) -> dict[str, object]:
    inspected = inspect_file(image)
    return {
        "operation": _OPERATIONS[setup.kind],
        "fwversion": inspected.version,
        "size": inspected.size_bytes,
        "sha256": inspected.sha256,
        "board": "nrf9151dk",
        "location": {"url": url},
    }


def _work_job(  # noqa: PLR0917 - the parts of the scene
    broker: tuple[str, int],
    thing: Credentials,
    open_route: RouteOpener,
    downloads: DownloadSettings,
    baud: int,
    on_event: Callable[[UpdateEvent], None],
) -> None:
    with running_agent(
        Endpoint(*broker, thing.ca_file, thing.cert_file, thing.key_file, client_id=THING),
        THING,
        open_route,
        downloads,
        options=UpdateOptions(transfer_baud=baud),
        on_event=lambda _execution, event: on_event(event),
    ) as agent:
        agent.run(once=True)


def _read_back(setup: DemoSetup, execution: Execution, board: VirtualBoard, port: str) -> DemoResult:
    """Ask the board once more, and look into its flash: its own word is not enough for a demo."""
    if setup.kind == "modem-delta":
        with Board.open(port) as opened:
            return DemoResult(execution, modem_release(opened.identify().modem_version) or "", confirmed=True)
    flash, layout = board.flash, board.layout
    confirmed = swap_type(flash, layout) is SwapType.NONE
    return DemoResult(execution, running_version(flash, layout), confirmed)

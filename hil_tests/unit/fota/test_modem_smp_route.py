"""Full modem updates over SMP through the whole line: on the virtual board's fmfu sample, and on a scripted server."""

from collections.abc import Callable, Iterator

import pytest

from bridge.board.smp_board import SmpBoard
from bridge.errors import BridgeError
from bridge.fota import (
    Finished,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
    Update,
    UpdateEvent,
    UpdateOptions,
)
from bridge.fota.choose_route import RouteOptions, Transport, route_opener
from bridge.fota.events import BoardIdentified
from bridge.image import BytesSource, FileSource, ImageSource
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import ByteFault, FaultPlan
from hil_tests.unit.dfu.fake_fmfu_server import FakeFmfuServer
from hil_tests.unit.image.build import modem_full, zipped

NAME = "modem-smp"
URL = f"virtual://{NAME}"


def run(
    source: ImageSource,
    port: str,
    *,
    transport: Transport = Transport.MODEM_SMP,
    gate: Callable[[Stage], None] = lambda _: None,
) -> tuple[list[UpdateEvent], Finished, BridgeError | None]:
    options = RouteOptions(lambda: port, transport)
    update = Update(source, route_opener(options), options=UpdateOptions(), commit_gate=gate)
    events = list(update)
    assert isinstance(events[-1], Finished)
    return events, events[-1], update.error


def notices(events: list[UpdateEvent]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Notice))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.dfu.modem_smp_client._WRITE_TIMEOUT_S", 1.0)
    monkeypatch.setattr("bridge.board.smp_board._RESET_DELAY_S", 0.1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


def make_board(
    samples: SampleImages, firmware: str = "fmfu", faults: FaultPlan | None = None
) -> VirtualBoard:
    return VirtualBoard(
        firmware=firmware,
        factory_image=samples.application("1.0.0").read_bytes(),
        keys=[samples.public_key_pem],
        faults=faults,
    )


@pytest.fixture
def board(samples: SampleImages) -> Iterator[VirtualBoard]:
    board = make_board(samples)
    with registry_entry(board):
        yield board


class registry_entry:  # noqa: N801 - used like a function
    """A running board behind the URL."""

    def __init__(self, board: VirtualBoard) -> None:
        self.board = board

    def __enter__(self) -> VirtualBoard:
        registry.register(NAME, self.board)
        self.board.start()
        self.board.wait_for_event("ready")
        return self.board

    def __exit__(self, *_: object) -> None:
        self.board.stop()
        registry.unregister(NAME)


def modem_version(board: VirtualBoard) -> str | None:
    """What the modem would start, from its flash."""
    firmware = board.call(lambda: board.modem_nvm.firmware)
    return firmware.version if firmware else None


# --- on the virtual board ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [Transport.AUTO, Transport.MODEM_SMP])
def test_a_release_zip_is_written_and_read_back(
    board: VirtualBoard, samples: SampleImages, transport: Transport
) -> None:
    events, end, _ = run(FileSource(samples.modem_package("2.0.3")), URL, transport=transport)
    assert (end.outcome, modem_version(board)) == (Outcome.SUCCEEDED, "2.0.3")
    identified = next(event for event in events if isinstance(event, BoardIdentified))
    assert (identified.route, identified.application_version) == ("modem-smp", "1.0.0")
    said = notices(events)
    assert "3 range(s) of the modem's flash hold what the release says" in said
    assert "its version was not read" in said
    assert "whether it starts was not seen" in end.message
    assert end.running_version is None  # nobody saw it


def test_firmware_that_is_not_encrypted_is_compared_with_what_was_sent(
    board: VirtualBoard, samples: SampleImages
) -> None:
    events, end, _ = run(FileSource(samples.modem_full("2.0.3")), URL)
    assert (end.outcome, modem_version(board)) == (Outcome.SUCCEEDED, "2.0.3")
    assert "hold what was sent" in notices(events)


def test_a_release_whose_digests_are_others_is_a_failure_that_says_what_is_left(
    board: VirtualBoard, samples: SampleImages
) -> None:
    _, end, error = run(FileSource(samples.modem_package("2.0.3", wrong_digests=True)), URL)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "digest-mismatch")
    assert error is not None
    assert "no working firmware" in (error.hint or "")


def test_a_byte_that_is_lost_costs_a_new_start(samples: SampleImages) -> None:
    with registry_entry(make_board(samples, faults=FaultPlan(rx={20_000: ByteFault.FLIP}))) as board:
        events, end, _ = run(FileSource(samples.modem_package("2.0.3")), URL)
        assert (end.outcome, modem_version(board)) == (Outcome.SUCCEEDED, "2.0.3")
        assert {event.attempt for event in events if isinstance(event, Progress)} == {1, 2}


@pytest.mark.parametrize("done_bytes", [3_000, 20_000])
def test_a_power_cut_is_repaired_by_the_next_run(
    board: VirtualBoard, samples: SampleImages, done_bytes: int
) -> None:
    image = samples.modem_package("2.0.3")
    opener = route_opener(RouteOptions(lambda: URL, Transport.MODEM_SMP))
    events = iter(Update(FileSource(image), opener))
    for event in events:
        if isinstance(event, Progress) and event.done_bytes >= done_bytes:
            break
    board.power_cut()
    events.close()
    board.power_on()
    _, end, _ = run(FileSource(image), URL)
    assert (end.outcome, modem_version(board)) == (Outcome.SUCCEEDED, "2.0.3")


def test_an_update_that_was_left_in_its_loader_is_started_from_the_beginning(
    board: VirtualBoard, samples: SampleImages
) -> None:
    with SmpBoard.open(URL) as left:
        left.client.request(2, 65, 1, {"data": b"half a loader", "len": 3000, "off": 0, "addr": 1})  # type: ignore[arg-type]
    _, end, _ = run(FileSource(samples.modem_package("2.0.3")), URL)
    assert (end.outcome, modem_version(board)) == (Outcome.SUCCEEDED, "2.0.3")


def test_an_application_server_without_the_commands_is_named(samples: SampleImages) -> None:
    with registry_entry(make_board(samples, "smp")):
        image = samples.modem_package("2.0.3")
        _, end, error = run(FileSource(image), URL)
        assert (end.outcome, end.reason) == (Outcome.FAILED, "not-supported")
        assert error is not None
        assert "fmfu" in (error.hint or "")
        assert run(FileSource(image), URL, transport=Transport.AUTO)[1].reason == "wrong-route"


def test_an_application_on_the_modem_route_is_refused_and_on_auto_goes_over_smp(
    board: VirtualBoard, samples: SampleImages
) -> None:
    image = samples.application("2.0.0")
    assert run(FileSource(image), URL)[1].reason == "wrong-route"
    events, end, _ = run(FileSource(image), URL, transport=Transport.AUTO)
    assert end.outcome is Outcome.SUCCEEDED
    assert next(event for event in events if isinstance(event, BoardIdentified)).route == "smp"


# --- on a scripted server: what the virtual board's does not do ---------------------------------------------

FILE = modem_full(3000, 9000, segments=[0x2000_0000, 3000, 0x6000, 9000])


@pytest.fixture
def server() -> Iterator[FakeFmfuServer]:
    with FakeFmfuServer() as running:
        yield running


def test_a_version_that_is_printed_at_the_start_is_part_of_the_proof(server: FakeFmfuServer) -> None:
    server.boot_text = "Starting modem mgmt sample\n\rModem version: mfw_nrf91x1_2.0.3\n\r"
    events, end, _ = run(BytesSource(FILE, "mfw_nrf91x1_2.0.3.cbor"), server.path)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.3")
    assert "it starts as mfw_nrf91x1_2.0.3" in end.message
    assert "not proven" not in notices(events)
    _, end, _ = run(BytesSource(FILE, "mfw_nrf91x1_2.0.4.cbor"), server.path)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "unexpected-version")


def test_encrypted_firmware_alone_proves_nothing_and_is_no_success(server: FakeFmfuServer) -> None:
    server.encrypted = True
    events, end, error = run(BytesSource(FILE, "mfw_nrf91x1_2.0.3.cbor"), server.path)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "unproven")
    assert error is not None
    assert "digest.txt" in (error.hint or "")
    server.boot_text = "Modem version: mfw_nrf91x1_2.0.3\n"
    _, end, _ = run(BytesSource(FILE, "mfw_nrf91x1_2.0.3.cbor"), server.path)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.3")
    assert StageStarted(Stage.VERIFY) in events


def test_the_release_s_digests_prove_encrypted_firmware(server: FakeFmfuServer) -> None:
    server.encrypted = True
    digest = server.digest_of(b"\1" * 9000).hex()
    text = f"Range: 0x00006000--0x00008327 SHA256: {digest}\n".encode()
    archive = zipped({"firmware.update.image.cbor": FILE, "firmware.update.image.digest.txt": text})
    events, end, _ = run(BytesSource(archive, "mfw_nrf91x1_2.0.3.zip"), server.path)
    assert (end.outcome, end.to_version) == (Outcome.SUCCEEDED, "2.0.3")
    assert "what the release says" in notices(events)


def test_digests_that_are_cut_off_are_said_to_be(server: FakeFmfuServer) -> None:
    server.digest_bytes = 8
    events, end, _ = run(BytesSource(FILE, "mfw_nrf91x1_2.0.3.cbor"), server.path)
    assert end.outcome is Outcome.SUCCEEDED
    assert "first 8 bytes" in notices(events)

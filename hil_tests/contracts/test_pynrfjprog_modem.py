"""pynrfjprog, unmodified, programs and verifies modem firmware on the virtual board's fmfu sample, over a pty."""

import warnings
from collections.abc import Iterator

import pytest

from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer

with warnings.catch_warnings():
    # It announces that its next major version will call this module differently.
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    from pynrfjprog import HighLevel
    from pynrfjprog.APIError import APIError

pytestmark = pytest.mark.contract

VERIFY_ERROR = -160
DFU_TIMEOUT_MS = 5_000


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("images"))


class Bench:
    """A board on a pty, and Nordic's library."""

    def __init__(self, board: VirtualBoard, port: str, baud: int, api: HighLevel.API) -> None:
        self.board = board
        self.port = port
        self.baud = baud
        self.api = api

    def probe(self) -> HighLevel.ModemUARTDFUProbe:
        return HighLevel.ModemUARTDFUProbe(self.api, self.port, self.baud, DFU_TIMEOUT_MS)

    def modem_version(self) -> str | None:
        firmware = self.board.call(lambda: self.board.modem_nvm.firmware)
        return None if firmware is None else firmware.version


@pytest.fixture(params=[115_200, 1_000_000])
def bench(samples: SampleImages, request: pytest.FixtureRequest) -> Iterator[Bench]:
    baud: int = request.param
    board = VirtualBoard(
        firmware="fmfu",
        baud=baud,
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
    )
    with board, PtyServer(board) as pty, HighLevel.API() as api:
        board.wait_for_event("ready")
        yield Bench(board, pty.path, baud, api)


def test_given_a_release_when_programmed_then_its_digests_agree_and_the_modem_runs_it(
    bench: Bench, samples: SampleImages
) -> None:
    package = samples.modem_package("2.0.3")
    assert bench.modem_version() == "2.0.2"
    probe = bench.probe()
    probe.program(str(package))
    probe.verify(str(package))
    probe.close()
    bench.board.reset()
    ready = bench.board.wait_for_event("ready", count=2)
    assert ready.details["modem_version"] == "2.0.3"


def test_given_other_digests_when_verified_then_nordics_library_says_so(
    bench: Bench, samples: SampleImages
) -> None:
    probe = bench.probe()
    probe.program(str(samples.modem_package("2.0.3")))
    with pytest.raises(APIError) as refused:
        probe.verify(str(samples.modem_package("2.0.3", wrong_digests=True)))
    assert refused.value.err_code == VERIFY_ERROR
    probe.close()


def test_given_another_version_in_flash_when_verified_then_nordics_library_says_so(
    bench: Bench, samples: SampleImages
) -> None:
    probe = bench.probe()
    probe.program(str(samples.modem_package("2.0.3")))
    with pytest.raises(APIError):
        probe.verify(str(samples.modem_package("2.0.4")))
    probe.close()
    assert bench.modem_version() == "2.0.3"

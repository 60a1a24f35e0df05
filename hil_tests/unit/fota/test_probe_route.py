"""The update line through a debug probe; pynrfjprog is a fake that behaves as the real one was seen to."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge.dfu.probe import ProbeProgrammer
from bridge.fota import Finished, Outcome, Route, Update
from bridge.fota.probe_route import ProbeRoute
from bridge.image import BytesSource, ImageHead
from hil_tests.unit.board.test_ports import DK, bench
from hil_tests.unit.dfu.fake_pynrfjprog import FakeChip, FakeHighLevel, InProcessEngine
from hil_tests.unit.dfu.test_probe_plan import MODEM, SLOT, application
from hil_tests.unit.image import build

__all__ = ["bench"]


def update(chip: FakeChip, data: bytes, name: str = "app.bin") -> Finished:
    @contextmanager
    def open_route(head: ImageHead) -> Iterator[Route]:
        engine = InProcessEngine(FakeHighLevel({int(DK): chip}))
        with ProbeProgrammer.open(engine=engine) as programmer:
            yield ProbeRoute(programmer, head, address=SLOT)

    *_, end = Update(BytesSource(data, name), open_route)
    assert isinstance(end, Finished)
    return end


@pytest.fixture
def chip(bench: object) -> FakeChip:
    return FakeChip()


def test_given_an_application_then_it_is_written_read_back_and_started_and_no_more_is_claimed(
    chip: FakeChip,
) -> None:
    end = update(chip, application())
    assert end.outcome is Outcome.SUCCEEDED
    assert "nobody asked what runs" in end.message
    assert chip.read(SLOT, len(application())) == application()
    assert chip.log == ["swd open", "swd program", "swd verify", "swd reset RESET_SYSTEM", "swd close"]


def test_given_intel_hex_then_it_goes_where_it_says(chip: FakeChip) -> None:
    assert update(chip, build.intel_hex((0x9000, b"data")), "app.hex").outcome is Outcome.SUCCEEDED
    assert chip.read(0x9000, 4) == b"data"


def test_given_a_modem_release_then_it_goes_into_the_modem(chip: FakeChip) -> None:
    assert update(chip, build.zipped(MODEM), "mfw_nrf9160_1.3.7.zip").outcome is Outcome.SUCCEEDED
    assert any("modem" in entry or "ipc" in entry for entry in chip.log), chip.log


def test_given_a_modem_release_for_another_chip_then_it_is_rejected(chip: FakeChip) -> None:
    end = update(chip, build.zipped(MODEM), "mfw_nrf91x1_2.0.2.zip")
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "wrong-board")
    assert "swd program" not in chip.log


def test_given_a_dfu_package_then_its_application_is_written(chip: FakeChip) -> None:
    package = build.dfu_package(application(), load_address=SLOT + 0x200)
    assert update(chip, package, "dfu_application.zip").outcome is Outcome.SUCCEEDED
    assert chip.read(SLOT, len(application())) == application()


def test_given_an_image_for_another_slot_then_it_is_rejected_and_the_chip_runs_on(chip: FakeChip) -> None:
    before = bytes(chip.read(SLOT, 64))
    end = update(chip, build.mcuboot())
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "wrong-address")
    assert chip.read(SLOT, 64) == before
    assert chip.log == ["swd open", "swd reset RESET_SYSTEM", "swd close"]


def test_given_a_delta_then_the_probe_is_the_wrong_route(chip: FakeChip) -> None:
    end = update(chip, build.DELTA, "mfw.bin")
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "wrong-route")

"""pynrfjprog's MCUBootDFUProbe, unmodified and without a J-Link, against recovery and application of a virtual board."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from intelhex import IntelHex

from bridge.virtual.bootloader_options import default_options
from bridge.virtual.faults import ByteFault, FaultPlan
from bridge.virtual.smp_options import SmpOptions
from hil_tests.contracts.peer_bench import PLAIN, PeerBench, peer_bench, run

pytestmark = pytest.mark.contract

_DRIVER = Path(__file__).with_name("pynrfjprog_driver.py")
_LONG_LINES = replace(PLAIN, line_bytes=512)
_ALL_STEPS = ["open", "program", "verify", "close"]


def program(bench: PeerBench, file: Path, timeout_ms: int = 3000) -> dict[str, Any]:
    done = run(sys.executable, str(_DRIVER), bench.port, str(file), str(timeout_ms))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def restart(bench: PeerBench) -> None:
    """Let the button go and press reset; the probe's own reset, sent when it closes the port, is often lost."""
    bench.board.release_button()
    bench.board.reset()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, recovery=_LONG_LINES) as bench:
        yield bench


def test_given_lines_of_512_when_programmed_then_the_image_is_in_the_primary_slot_and_runs(
    bench: PeerBench,
) -> None:
    assert program(bench, bench.file) == {"done": _ALL_STEPS, "error": None}
    bench.assert_landed(bench.board.layout.primary)
    restart(bench)
    assert bench.board.wait_for_event("ready").details == {"version": "1.1.0"}


def test_given_a_hex_file_then_it_is_programmed_as_well(bench: PeerBench) -> None:
    hex_file = bench.directory / "app.hex"
    hexes = IntelHex()
    hexes.frombytes(bench.image, offset=bench.board.layout.primary.address)
    hexes.write_hex_file(str(hex_file))
    assert program(bench, hex_file)["done"] == _ALL_STEPS
    bench.assert_landed(bench.board.layout.primary)


def test_given_thingy91_as_it_ships_then_it_can_be_programmed(tmp_path: Path) -> None:
    with peer_bench(tmp_path, recovery=default_options("thingy91"), model="thingy91") as bench:
        assert program(bench, bench.file)["done"] == _ALL_STEPS
        bench.assert_landed(bench.board.layout.primary)


def test_given_a_byte_that_is_lost_then_the_packet_is_sent_again(tmp_path: Path) -> None:
    faults = FaultPlan(rx={5_000: ByteFault.DROP}, tx={100: ByteFault.FLIP})
    with peer_bench(tmp_path, recovery=_LONG_LINES, faults=faults) as bench:
        assert program(bench, bench.file, timeout_ms=6000)["done"] == _ALL_STEPS
        bench.assert_landed(bench.board.layout.primary)


def test_given_a_spoiled_image_then_verify_finds_nothing_and_the_board_has_nothing_to_run(
    bench: PeerBench,
) -> None:
    assert program(bench, bench.spoiled_file()) == {"done": _ALL_STEPS, "error": None}
    restart(bench)
    bench.board.wait_for_event("no-image")
    bench.board.wait_for_event("recovery", count=2)
    assert program(bench, bench.file)["done"] == _ALL_STEPS
    restart(bench)
    assert bench.board.wait_for_event("ready").details == {"version": "1.1.0"}


def test_given_lines_of_128_then_there_is_no_answer_and_nothing_is_written(tmp_path: Path) -> None:
    with peer_bench(tmp_path, recovery=PLAIN) as bench:
        old = bench.flash(bench.board.layout.primary)
        result = program(bench, bench.file)
        assert result["done"] == ["open"]
        assert "TIME_OUT" in result["error"]
        assert bench.flash(bench.board.layout.primary) == old


def test_given_an_application_then_its_answers_without_rc_are_not_understood(tmp_path: Path) -> None:
    with peer_bench(tmp_path, smp=SmpOptions(line_bytes=512, buffer_bytes=512)) as bench:
        result = program(bench, bench.file)
        assert result["done"] == ["open"]
        assert "INVALID_OPERATION" in result["error"]


def test_given_an_application_that_says_rc_then_the_image_lands_and_is_never_tested(tmp_path: Path) -> None:
    options = SmpOptions(line_bytes=512, buffer_bytes=512, legacy_rc=True)
    with peer_bench(tmp_path, smp=options) as bench:
        assert program(bench, bench.file)["done"] == _ALL_STEPS
        bench.assert_landed(bench.board.layout.secondary)
        restart(bench)
        assert bench.board.wait_for_event("ready", count=2).details == {"version": "1.0.0"}

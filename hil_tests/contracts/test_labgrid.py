"""labgrid shares two virtual boards between users: reserved, locked, updated over rfc2217://, lost and found again."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from bridge.lab.sample_images import SampleImages
from hil_tests.contracts.labgrid_bench import Lab, Shared, running_lab, said, virtual_board

SMP = ("--firmware", "smp", "--smp", "boot-mode", "--recovery-entry", "boot-mode")

pytestmark = pytest.mark.contract


@dataclass
class TwoBoards:
    """A laboratory with a fast board and one at real pace, on two hosts.

    Attributes:
        image: A new application for both.
    """

    lab: Lab
    fast: Shared
    slow: Shared
    image: str


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoBoards]:
    directory = tmp_path_factory.mktemp("labgrid")
    image = SampleImages(directory / "samples").application("2.0.0", size_bytes=24 * 1024)
    with ExitStack() as stack:
        lab = stack.enter_context(running_lab(directory, "fast", "slow"))
        fast = stack.enter_context(virtual_board(lab, "fast", "1051202303", *SMP, transport="smp"))
        slow = stack.enter_context(virtual_board(lab, "slow", "1051202304", "--timing", "real"))
        for board in (fast, slow):
            lab.start_exporter(board)
        lab.wait_exported(fast, slow)
        yield TwoBoards(lab, fast, slow, str(image))


def test_board_is_reserved_by_tag_locked_and_updated_and_the_second_user_is_refused(two: TwoBoards) -> None:
    lab = two.lab
    with lab.driver("+", "reserved", lab.coordinator, "pace=fast", two.image) as process:
        lines = said(process)
        first = next(lines)
        second = lab.client("-p", "fast", "lock", user="second")
        rest = list(lines)

    assert first["what"] == "reserved"
    assert second.returncode != 0
    assert "already acquired by" in second.stdout + second.stderr
    assert (rest[-1]["what"], rest[-1]["version"]) == ("updated", "2.0.0")
    assert process.returncode == 0
    # It was given back: the second user gets it now, and the first one waits in vain.
    assert lab.client("-p", "fast", "lock", user="second").returncode == 0
    (error,) = lab.told("+", "reserved", lab.coordinator, "pace=fast")
    assert (error["what"], error["exit_code"], error["reason"]) == ("error", 9, "reservation-timeout")
    assert lab.client("-p", "fast", "unlock", user="second").returncode == 0


def test_strategy_switches_the_board_off_and_brings_it_into_recovery_and_back(two: TwoBoards) -> None:
    lab = two.lab
    lab.client("-p", "fast", "lock", check=True)
    states = ("normal", "off", "recovery", "normal")
    told = lab.told("fast", "strategy", *states, power=lab.power(two.fast))
    lab.client("-p", "fast", "unlock", check=True)

    assert [line.get("state") for line in told] == list(states)


def test_exporter_that_is_lost_in_mid_transfer_is_a_bench_error_and_the_board_recovers(
    two: TwoBoards,
) -> None:
    lab = two.lab
    lab.client("-p", "slow", "lock", check=True)
    with lab.driver("slow", "update", two.image) as process:
        for line in said(process):
            if line.get("event") == "progress" and int(str(line["done_bytes"])) > 0:
                lab.kill("exporter-slow")
                break
        error = list(said(process))[-1]

    assert (error["what"], error["exit_code"], error["reason"]) == ("error", 9, "exporter-lost")
    assert error["stage"] == "transfer"

    lab.start_exporter(two.slow)
    *_, identity = lab.told("slow", "identify")
    assert (identity["what"], identity["serial_number"]) == ("identity", "1051202304")
    assert identity["application_version"] == "v1.0.0"
    assert str(identity["url"]).startswith("rfc2217://127.0.0.1:")
    assert lab.told("slow", "update", two.image)[-1] == {"what": "updated", "version": "v2.0.0"}
    lab.client("-p", "slow", "unlock", check=True)

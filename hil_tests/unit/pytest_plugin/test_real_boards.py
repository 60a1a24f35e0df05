"""Suites on boards that the plugin did not build: each is served on a pty, as a cable would bring it."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.pty_server import PtyServer
from hil_tests.scenarios.table import ROOT

REAL = ("--nrf91-require", "--nrf91-images", "sample", "-p", "no:cacheprovider")


@contextmanager
def served(
    tmp_path: Path, count: int = 1, *, downgrade_prevention: bool = False, version: str = "1.0.0"
) -> Iterator[list[str]]:
    """Boards on ptys; gives their ports."""
    samples = SampleImages(tmp_path / "images")
    image = samples.application(version).read_bytes()
    options = BootloaderOptions(downgrade_prevention=downgrade_prevention)
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            board = VirtualBoard(factory_image=image, keys=[samples.public_key_pem], bootloader=options)
            stack.enter_context(board)
            ports.append(stack.enter_context(PtyServer(board)).path)
            board.wait_for_event("ready")
        yield ports


def test_the_scenarios_run_on_a_board_that_another_program_serves_as_if_it_were_a_real_one(
    tmp_path: Path,
) -> None:
    """A slice of the dry run; ``docs/hil-tests.md`` has the command for all of it."""
    link = tmp_path / "ttyACM0"
    serve = [
        sys.executable,
        "-m",
        "bridge",
        "board",
        "--link",
        str(link),
        "--bootloader",
        "downgrade-prevention=0",
        "--json",
    ]
    slice_of_all = (
        "application_job_ends or identity_and_credentials or corrupted_after or cancelled_early or keeps_talking"
        " or (loses_and and 4)"
    )
    command = [
        *(
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "scenario",
            "-k",
            slice_of_all,
            "-p",
            "no:cacheprovider",
            "--timeout=100",
        ),
        *("--nrf91-port", str(link), *REAL[:3], "--junitxml", str(tmp_path / "junit.xml")),
        *(
            f"hil_tests/scenarios/test_{name}.py"
            for name in ("success", "bad_input", "lifecycle", "link_and_bench")
        ),
    ]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        assert json.loads(board.stdout.readline())["port"] == str(link)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, cwd=ROOT)
        finally:
            board.send_signal(signal.SIGTERM)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"port {link} (option)" in done.stdout
    assert "4096 bytes both ways intact" in done.stdout
    assert "application 1.0.0 restored" in done.stdout
    assert "deselected: needs a virtual board: it injects faults" in done.stdout


UPDATE_AND_LOOK = """
def test_update(nrf91_board, nrf91_update, nrf91_images):
    assert nrf91_update(nrf91_images.newer).outcome == "succeeded"

def test_look(nrf91_board):
    assert nrf91_board.version() == "{version}"
"""


def test_a_baseline_is_restored_between_tests(suite: pytest.Pytester, tmp_path: Path) -> None:
    suite.makepyfile(UPDATE_AND_LOOK.format(version="1.0.0"))
    with served(tmp_path) as (port,):
        result = suite.runpytest(f"--nrf91-port={port}", *REAL)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["application 1.0.0 restored on *"])


def test_a_board_that_an_earlier_run_left_elsewhere_is_brought_to_its_baseline_first(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile("def test_it(nrf91_board): assert nrf91_board.version() == '1.0.0'")
    with served(tmp_path, version="3.0.0") as (port,):
        result = suite.runpytest(f"--nrf91-port={port}", *REAL)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*was found with v3.0.0", "application 1.0.0 restored on *"])


def test_a_baseline_that_cannot_be_restored_makes_the_board_dirty(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile(UPDATE_AND_LOOK.format(version="1.0.0"))
    with served(tmp_path, downgrade_prevention=True) as (port,):
        result = suite.runpytest(f"--nrf91-port={port}", *REAL)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*BENCH ERROR (board-dirty)*is dirty*", "2 bench errors: *"])


def test_what_runs_for_good_can_be_accepted_as_the_new_baseline(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile(UPDATE_AND_LOOK.format(version="2.0.0"))
    with served(tmp_path, downgrade_prevention=True) as (port,):
        result = suite.runpytest(f"--nrf91-port={port}", "--nrf91-baseline", "accept", *REAL)
    result.assert_outcomes(passed=2)


def test_jobs_that_a_test_left_behind_are_deleted_and_reported(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile(
        """
        def test_leaves(nrf91_cloud, nrf91_thing):
            nrf91_cloud.create_job("forgotten", nrf91_thing.name, {"operation": "app_fw_update"})

        def test_next(nrf91_deploy, nrf91_images):
            assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
        """
    )
    with served(tmp_path) as (port,):
        (suite.path / "bench.toml").write_text(f'[boards.1]\nport = "{port}"\nthing = "bench-1"\n')
        result = suite.runpytest("--nrf91-bench", "bench.toml", *REAL)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["stale jobs of bench-1 were deleted: forgotten"])


def test_workers_never_share_a_board_and_those_without_one_wait(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    """Three workers, two boards."""
    notes = tmp_path / "notes"
    notes.mkdir()
    suite.makepyfile(
        f"""
        import os, time
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_board(nrf91_board, number):
            began = time.monotonic_ns()
            assert nrf91_board.version() == "1.0.0"
            note = f"{{nrf91_board.name}} {{os.getpid()}} {{began}} {{time.monotonic_ns()}}"
            with open(r"{notes}/" + str(number), "w") as file:
                file.write(note)

        def test_none(): pass

        def test_faults(nrf91_faults): raise AssertionError
        """
    )
    with served(tmp_path, 2) as ports:
        boards = "\n".join(
            f'[boards.{number}]\nname = "b{number}"\nport = "{port}"' for number, port in enumerate(ports)
        )
        (suite.path / "bench.toml").write_text(boards)
        result = suite.runpytest_subprocess("--nrf91-bench", "bench.toml", "-n3", "--nrf91-wait", "90", *REAL)
    result.assert_outcomes(passed=9)
    result.stdout.fnmatch_lines(["1 deselected: needs a virtual board: it injects faults*"])
    found = [path.read_text().split() for path in notes.iterdir()]
    assert {name for name, *_ in found} == {"b0", "b1"}
    for name in ("b0", "b1"):
        times = sorted((int(began), int(ended), pid) for board, pid, began, ended in found if board == name)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(times))
        pids = [pid for *_, pid in times]
        turns = 1 + sum(left != right for left, right in itertools.pairwise(pids))
        assert turns == len(set(pids))  # a worker keeps its board until it is done


def test_a_board_that_somebody_else_has_is_a_bench_error_that_names_the_holder(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    from bridge.fota.bench_file import BenchBoard  # noqa: PLC0415
    from bridge.pytest_plugin.pool import BoardPool  # noqa: PLC0415

    suite.makepyfile("def test_it(nrf91_board): pass")
    pool = BoardPool([BenchBoard("mine", "", port="/dev/ttyNowhere")], owner="another run")
    pool.take()
    try:
        result = suite.runpytest("--nrf91-port", "/dev/ttyNowhere", "--nrf91-wait", "0", *REAL)
    finally:
        pool.give_back()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*BENCH ERROR (board-taken)*another run (process {os.getpid()})*"])

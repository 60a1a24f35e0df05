"""Boards that go away or fall silent while a suite runs: the bench's fault, told as such, and mended where it can be."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bridge.fota.bench_file import BenchBoard
from bridge.fota.port_lock import place_of, port_for_us
from bridge.lab.sample_images import SampleImages
from bridge.pytest_plugin.pool import BoardPool
from bridge.pytest_plugin.virtual_bench import VirtualCable
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.control_socket import ControlSocket

SAMPLES = ("--nrf91-images", "sample", "-p", "no:cacheprovider")


class Rig:
    """What the suite inside may do to the board behind its port, as a plugin of it."""

    def __init__(self, board: VirtualBoard, cable: VirtualCable) -> None:
        self.board = board
        self.cable = cable

    @pytest.fixture
    def rig(self) -> "Rig":
        return self

    @pytest.fixture
    def plugged(self) -> None:
        self.cable.plug()


@contextmanager
def rigged(tmp_path: Path) -> Iterator[Rig]:
    """A board with a link to its port."""
    samples = SampleImages(tmp_path / "images")
    board = VirtualBoard(
        factory_image=samples.application("1.0.0").read_bytes(),
        keys=[samples.public_key_pem],
        bootloader=BootloaderOptions(downgrade_prevention=False),
    )
    with ExitStack() as stack:
        stack.enter_context(board)
        cable = VirtualCable(board, tmp_path / "ttyACM0")
        cable.plug()
        stack.callback(cable.unplug)
        board.wait_for_event("ready")
        yield Rig(board, cable)


def test_a_board_that_goes_away_is_no_failure_and_no_skip_and_has_its_baseline_when_it_is_back(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile(
        """
        def test_lost(rig, nrf91_board, nrf91_update, nrf91_images):
            assert nrf91_update(nrf91_images.newer).outcome == "succeeded"
            rig.cable.unplug()
            assert nrf91_board.at("AT") == []

        def test_still_lost(nrf91_board): pass

        def test_back(plugged, nrf91_board):
            assert nrf91_board.version() == "1.0.0"
        """
    )
    with rigged(tmp_path) as rig:
        result = suite.runpytest_inprocess(
            f"--nrf91-port={rig.cable.link}", "--nrf91-artifacts=out", *SAMPLES, plugins=[rig]
        )
    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*BENCH ERROR (board-lost)*ttyACM0 went away during the test",
            "*there is no port*",
            "*BENCH ERROR (board-lost)*is lost, nobody knows what it runs*",
            "application 1.0.0 restored on *",
            "3 bench errors: *",
        ]
    )
    results = [json.loads(file.read_text()) for file in (suite.path / "out").glob("*/result.json")]
    assert {each["test"].partition("::")[2]: each["outcome"] for each in results} == {
        "test_lost": "bench-error",
        "test_still_lost": "bench-error",
        "test_back": "passed",
    }
    assert all(each["board"]["name"] == str(rig.cable.link) for each in results)


def test_a_board_that_was_left_silent_gets_its_supply_switched(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile(
        """
        def test_switched_off(rig, nrf91_board):
            nrf91_board.release()
            rig.board.power_cut()

        def test_next(nrf91_board):
            assert nrf91_board.version() == "1.0.0"
        """
    )
    with rigged(tmp_path) as rig, ControlSocket(rig.board, tmp_path / "control"):
        suite.path.joinpath("bench.toml").write_text(
            f'[boards.1]\nport = "{rig.cable.link}"\ntimeout = 1.0\n'
            f'power = {{ kind = "virtual", control = "{tmp_path / "control"}" }}\n'
        )
        result = suite.runpytest_inprocess("--nrf91-bench=bench.toml", *SAMPLES, plugins=[rig])
    result.assert_outcomes(passed=2)


def test_a_failure_is_still_told_when_the_clean_up_fails_as_well(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken():
            yield
            raise RuntimeError("cannot clean up")

        def test_it(broken, nrf91_board):
            assert 1 + 1 == 3
        """
    )
    with rigged(tmp_path) as rig:
        suite.runpytest(f"--nrf91-port={rig.cable.link}", "--nrf91-artifacts=out").assert_outcomes(
            failed=1, errors=1
        )
    (file,) = (suite.path / "out").glob("*/result.json")
    failure = json.loads(file.read_text())["failure"]
    assert "assert (1 + 1) == 3" in failure
    assert "cannot clean up" in failure


def test_a_firmware_that_crashes_while_fixtures_clean_up_is_told(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile(
        r"""
        import pytest

        @pytest.fixture
        def last_words(rig, nrf91_board, nrf91_log):
            yield
            since = nrf91_log.mark()
            rig.board.say(b"\r\nASSERTION FAIL [ready] @ main.c:7\r\n")
            nrf91_log.wait_for("main.c:7", since=since)

        def test_it(last_words): pass
        """
    )
    with rigged(tmp_path) as rig:
        result = suite.runpytest_inprocess(f"--nrf91-port={rig.cable.link}", plugins=[rig])
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: the board's log has fault texts:*"])


def test_boards_of_the_bench_that_are_not_there_are_passed_over_and_named(
    suite: pytest.Pytester, tmp_path: Path
) -> None:
    suite.makepyfile("def test_it(nrf91_board): assert nrf91_board.name == 'there'")
    with rigged(tmp_path) as rig:
        suite.path.joinpath("bench.toml").write_text(
            '[boards.1]\nname = "gone"\nport = "/dev/ttyNowhere"\n'
            f'[boards.2]\nname = "there"\nport = "{rig.cable.link}"\n'
        )
        result = suite.runpytest("--nrf91-bench=bench.toml", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["the board gone of the bench is not there"])


def test_a_board_whose_jobs_an_agent_works_is_left_to_it(suite: pytest.Pytester, tmp_path: Path) -> None:
    """Its port is closed between two jobs, and nobody would notice."""
    suite.makepyfile("def test_it(nrf91_board): pass")
    with (
        rigged(tmp_path) as rig,
        port_for_us(place_of(str(rig.cable.link), None, "auto"), "nrf91-bridge run for left"),
    ):
        result = suite.runpytest(f"--nrf91-port={rig.cable.link}", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*BENCH ERROR (port-held)*is in use by nrf91-bridge run for left*"])


def test_two_runs_on_one_board_are_kept_apart_however_they_name_it(tmp_path: Path) -> None:
    device = tmp_path / "ttyACM0"
    device.touch()
    (tmp_path / "by-id").symlink_to(device)
    by_number = BenchBoard("desk", "1051202303", port=str(tmp_path / "by-id"))
    by_port = BenchBoard("ttyACM0", "", port=str(device))
    first = BoardPool([by_number], owner="first", wait_s=0, directory=tmp_path / "locks")
    second = BoardPool([by_port], owner="second", wait_s=0, directory=tmp_path / "locks")
    assert first.take() is by_number
    with pytest.raises(Exception, match="in use by first"):
        second.take()
    first.give_back()
    assert second.take() is by_port
    second.give_back()


def test_locks_that_cannot_be_made_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pool = BoardPool([BenchBoard("desk", "1")], wait_s=600, directory=tmp_path / "file" / "locks")
    with pytest.raises(Exception, match="cannot lock the board desk"):
        pool.take()

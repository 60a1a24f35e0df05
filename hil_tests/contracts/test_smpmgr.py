"""smpmgr's command line, unmodified, against application and recovery of a virtual board."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.virtual.smp_options import SmpOptions
from hil_tests.contracts.peer_bench import PLAIN, RICH, SECONDARY, PeerBench, peer_bench, run

pytestmark = pytest.mark.contract


def smpmgr(bench: PeerBench, *arguments: str) -> str:
    """Run it; it must be content."""
    program = str(Path(sys.executable).with_name("smpmgr"))
    done = run(program, "--port", bench.port, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def application(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path) as bench:
        yield bench


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, recovery=PLAIN) as bench:
        yield bench


@pytest.fixture
def rich(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, recovery=RICH) as bench:
        yield bench


def test_given_an_application_when_updated_step_by_step_then_the_image_stays(application: PeerBench) -> None:
    board = application.board
    assert "r='hello'" in smpmgr(application, "os", "echo", "hello")
    smpmgr(application, "image", "upload", str(application.file))
    application.assert_landed(board.layout.secondary)
    smpmgr(application, "image", "state-write", application.digest)
    assert "pending=True" in smpmgr(application, "image", "state-read")
    smpmgr(application, "os", "reset")
    assert board.wait_for_event("ready", count=2).details == {"version": "1.1.0"}
    smpmgr(application, "image", "state-write", "--confirm")
    board.reset()
    assert board.wait_for_event("ready", count=3).details == {"version": "1.1.0"}


def test_given_an_application_when_upgraded_into_slot_0_then_it_says_complete_and_nothing_has_changed(
    application: PeerBench,
) -> None:
    assert "Upgrade complete." in smpmgr(application, "upgrade", str(application.file))
    assert application.board.wait_for_event("ready", count=2).details == {"version": "1.0.0"}
    application.assert_landed(application.board.layout.secondary)


def test_given_an_application_when_upgraded_into_slot_1_then_the_image_is_on_trial(
    application: PeerBench,
) -> None:
    smpmgr(application, "upgrade", "--slot", "1", str(application.file))
    assert application.board.wait_for_event("ready", count=2).details == {"version": "1.1.0"}
    application.board.reset()
    assert application.board.wait_for_event("ready", count=3).details == {"version": "1.0.0"}


def test_given_a_server_with_room_then_longer_lines_and_more_of_them_do_as_well(tmp_path: Path) -> None:
    options = SmpOptions(buffer_bytes=2048, line_bytes=512)
    with peer_bench(tmp_path, smp=options) as bench:
        smpmgr(bench, "--line-length", "512", "--line-buffers", "4", "image", "upload", str(bench.file))
        bench.assert_landed(bench.board.layout.secondary)


def test_given_plain_recovery_when_upgraded_then_the_new_image_runs_without_a_trial(plain: PeerBench) -> None:
    smpmgr(plain, "upgrade", str(plain.file))
    assert plain.board.wait_for_event("ready").details == {"version": "1.1.0"}
    plain.assert_landed(plain.board.layout.primary)


def test_given_rich_recovery_when_upgraded_then_it_is_on_trial_until_the_application_confirms(
    rich: PeerBench,
) -> None:
    smpmgr(rich, "upgrade", "--slot", str(SECONDARY), str(rich.file))
    assert rich.board.wait_for_event("ready").details == {"version": "1.1.0"}
    smpmgr(rich, "image", "state-write", "--confirm")
    rich.board.release_button()
    rich.board.reset()
    assert rich.board.wait_for_event("ready", count=2).details == {"version": "1.1.0"}


def test_given_a_spoiled_image_then_smpmgr_is_content_and_the_board_has_nothing_to_run(
    plain: PeerBench,
) -> None:
    assert "Upgrade complete." in smpmgr(plain, "upgrade", str(plain.spoiled_file()))
    plain.board.wait_for_event("no-image")
    assert plain.board.wait_for_event("recovery", count=2).details == {"entry": "no-application"}
    smpmgr(plain, "upgrade", str(plain.file))
    assert plain.board.wait_for_event("ready").details == {"version": "1.1.0"}


def test_given_what_recovery_refuses_then_smpmgr_prints_it_and_exits_0(plain: PeerBench) -> None:
    assert "ENOTSUP" in smpmgr(plain, "image", "state-write", plain.digest)
    assert "ENOTSUP" in smpmgr(plain, "image", "erase", "1")

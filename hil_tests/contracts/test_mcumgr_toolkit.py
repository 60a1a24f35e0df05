"""mcumgr-toolkit's Python interface, unmodified, against application and recovery of a virtual board."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.virtual.faults import ByteFault, FaultPlan
from bridge.virtual.smp_options import SmpOptions
from hil_tests.contracts.peer_bench import PLAIN, RICH, SECONDARY, PeerBench, peer_bench

pytestmark = pytest.mark.contract

_DRIVER = Path(__file__).with_name("toolkit_driver.py")
_MODE_BOOTLOADER = 1


class Toolkit:
    """A client in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """Call a method; it must work."""
        answer = self._ask(method, *arguments, **keywords)
        assert "ok" in answer, answer
        return answer["ok"]

    def refused(self, method: str, *arguments: Any, **keywords: Any) -> str:
        """Call a method; it must not work."""
        answer = self._ask(method, *arguments, **keywords)
        assert "error" in answer, answer
        return str(answer["error"])

    def _ask(self, method: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        call = [
            method,
            list(map(_encoded, arguments)),
            {name: _encoded(value) for name, value in keywords.items()},
        ]
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _encoded(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


@contextmanager
def toolkit(bench: PeerBench) -> Iterator[Toolkit]:
    command = [sys.executable, str(_DRIVER), bench.port]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        yield Toolkit(process)


@pytest.fixture
def application(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, smp=SmpOptions(boot_mode=True)) as bench:
        yield bench


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, recovery=PLAIN) as bench:
        yield bench


@pytest.fixture
def rich(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, recovery=RICH) as bench:
        yield bench


def test_given_an_application_then_it_tells_what_it_is(application: PeerBench) -> None:
    with toolkit(application) as peer:
        peer("check_connection")
        assert peer("os_mcumgr_parameters") == [384, 4]
        assert peer("os_application_info", "i") == "nrf9151dk/nrf9151/ns"
        assert peer("os_bootloader_info") == {"name": "MCUboot", "mode": 3, "no_downgrade": False}
        assert peer("image_slot_info") == [[[0, 0x6F000, None], [1, 0x6E000, 0]]]


def test_given_an_application_when_updated_step_by_step_then_the_image_stays(application: PeerBench) -> None:
    board, new = application.board, bytes.fromhex(application.digest)
    with toolkit(application) as peer:
        peer("use_auto_frame_size")
        peer("image_upload", application.image)
        application.assert_landed(board.layout.secondary)
        assert [image["pending"] for image in peer("image_set_state", new)] == [False, True]
        assert "NO_FREE_SLOT" in peer.refused("image_erase")
        peer("os_system_reset")
        assert board.wait_for_event("ready", count=2).details == {"version": "1.1.0"}
        running, old = peer("image_get_state")
        assert (running["confirmed"], running["active"], old["confirmed"]) == (False, True, True)
        assert peer("image_set_state", None, True)[0]["confirmed"]
        board.reset()
        assert board.wait_for_event("ready", count=3).details == {"version": "1.1.0"}


def test_given_an_application_when_updated_in_one_call_then_it_is_on_trial(application: PeerBench) -> None:
    with toolkit(application) as peer:
        peer("firmware_update", application.image)
        application.board.wait_for_event("ready", count=2)
        application.board.reset()
        application.board.wait_for_event("ready", count=3)
    assert application.versions_started() == ["1.0.0", "1.1.0", "1.0.0"]


def test_given_a_build_that_checks_images_then_the_upload_is_checked(tmp_path: Path) -> None:
    with peer_bench(tmp_path, smp=SmpOptions(image_check=True)) as bench, toolkit(bench) as peer:
        peer("image_upload", bench.image)
        peer("image_upload", bench.image)
        bench.assert_landed(bench.board.layout.secondary)


def test_given_an_answer_that_is_lost_then_the_same_request_again_does_no_harm(tmp_path: Path) -> None:
    faults = FaultPlan(tx={1500: ByteFault.FLIP, 4000: ByteFault.DROP}, rx={20_000: ByteFault.DROP})
    with peer_bench(tmp_path, faults=faults) as bench, toolkit(bench) as peer:
        peer("image_upload", bench.image)
        bench.assert_landed(bench.board.layout.secondary)


def test_given_a_boot_mode_then_the_application_goes_into_recovery_and_comes_back_new(
    application: PeerBench,
) -> None:
    with toolkit(application) as peer:
        peer("os_system_reset", boot_mode=_MODE_BOOTLOADER)
        assert application.board.wait_for_event("recovery").details == {"entry": "boot-mode"}
        peer("image_upload", application.image)
        application.assert_landed(application.board.layout.primary)
        peer("os_system_reset")
    assert application.board.wait_for_event("ready", count=2).details == {"version": "1.1.0"}


def test_given_plain_recovery_then_uploads_work_and_little_else(plain: PeerBench) -> None:
    with toolkit(plain) as peer:
        for method in ("check_connection", "use_auto_frame_size", "os_bootloader_info", "image_slot_info"):
            assert "ENOTSUP" in peer.refused(method)
        assert "ENOTSUP" in peer.refused("firmware_update", plain.image)
        peer("image_upload", plain.image)
        (image,) = peer("image_get_state")
        assert (image["version"], image["confirmed"]) == ("1.1.0", False), "what is not said counts as false"
        assert "ENOTSUP" in peer.refused("image_set_state", bytes.fromhex(plain.digest))
        peer("os_system_reset")
    assert plain.board.wait_for_event("ready").details == {"version": "1.1.0"}
    plain.assert_landed(plain.board.layout.primary)


def test_given_rich_recovery_when_the_secondary_slot_is_written_then_the_update_is_a_trial(
    rich: PeerBench,
) -> None:
    with toolkit(rich) as peer:
        peer("check_connection")
        peer("use_auto_frame_size")
        assert peer("image_slot_info") == [[[0, 0x6F000, 1], [1, 0x6E000, 2]]]
        peer("image_upload", rich.image, SECONDARY)
        rich.assert_landed(rich.board.layout.secondary)
        assert peer("image_set_state", bytes.fromhex(rich.digest))[1]["pending"]
        peer("os_system_reset")
        rich.board.wait_for_event("ready")
        rich.board.release_button()
        rich.board.reset()
        rich.board.wait_for_event("ready", count=2)
    assert rich.versions_started() == ["1.1.0", "1.0.0"]


def test_given_rich_recovery_when_updated_in_one_call_then_the_old_image_is_gone(rich: PeerBench) -> None:
    with toolkit(rich) as peer:
        peer("firmware_update", rich.image, bootloader_type="MCUboot")
    assert rich.board.wait_for_event("ready").details == {"version": "1.1.0"}
    rich.assert_landed(rich.board.layout.primary)
    secondary = rich.board.layout.secondary
    assert rich.flash(secondary) == b"\xff" * secondary.size, "nothing to go back to"


def test_given_half_an_upload_then_only_an_application_goes_on_with_it(tmp_path: Path) -> None:
    """Killed in the middle; how much the second process has written tells where it began."""
    written = {}
    for name, recovery in (("application", None), ("recovery", PLAIN)):
        with peer_bench(tmp_path / name, recovery=recovery) as bench:
            _upload_until_half(bench)
            before = bench.board.flash.written_words
            with toolkit(bench) as peer:
                peer("image_upload", bench.image)
            written[name] = (bench.board.flash.written_words - before) * 4 / len(bench.image)
            layout = bench.board.layout
            bench.assert_landed(layout.secondary if recovery is None else layout.primary)
    assert written["application"] < 0.55
    assert written["recovery"] > 0.95


def _upload_until_half(bench: PeerBench) -> None:
    """Upload; with half of the image in flash the board waits until the peer is dead."""
    flash, half_words = bench.board.flash, len(bench.image) // 8
    is_half, is_dead = threading.Event(), threading.Event()
    observe = flash.on_operation

    def wait_at_half(duration_ns: int) -> None:
        observe(duration_ns)
        if flash.written_words >= half_words and not is_half.is_set():
            is_half.set()
            is_dead.wait(30)

    flash.on_operation = wait_at_half
    command = [sys.executable, str(_DRIVER), bench.port]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(["image_upload", [_encoded(bench.image)], {}]) + "\n")
        process.stdin.flush()
        reached = is_half.wait(30)
        process.kill()
    is_dead.set()
    assert reached

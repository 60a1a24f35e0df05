"""Many boards in one process: ``run --bench``, with boards of which some are at fault."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.cli.app import run
from bridge.cli.journals import port_for_us
from bridge.lab.jobs_model import ExecutionStatus
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.control_socket import ControlSocket
from bridge.virtual.pty_server import PtyServer
from hil_tests.scenarios.conftest import image_facts

OLD, NEW = "1.0.0", "2.0.0"
NAMES = ("left", "middle", "right")


@dataclass
class Rack:
    """Three boards on ptys, a bench file for them, and a cloud in which each is a thing.

    Attributes:
        ports: By board name.
    """

    cloud: LocalCloud
    samples: SampleImages
    ports: dict[str, str]
    directory: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def file(self) -> Path:
        return self.directory / "bench.toml"

    def thing(self, name: str) -> str:
        return f"{name}-{self.directory.name[-20:]}"

    def write_file(self, **ports: str) -> None:
        """The bench file; ports by board name replace the real ones."""
        host, port = self.cloud.mqtt_endpoint
        lines = [
            f'name = "rack"\n[cloud]\nendpoint = "{host}:{port}"\nca = "{self.cloud.ca_file}"',
            f'download_ca = "{self.cloud.ca_file}"\n[defaults]\ngroups = ["all"]',
        ]
        for number, name in enumerate(NAMES):
            thing = self.cloud.add_thing(self.thing(name))
            lines += [
                f'[boards.10{number}]\nname = "{name}"\nthing = "{thing.thing_name}"',
                f'cert = "{thing.cert_file}"\nkey = "{thing.key_file}"',
                f'port = "{ports.get(name, self.ports[name])}"\ntimeout = 2.0',
            ]
        self.file.write_text("\n".join(lines))

    def order(self, name: str, job: str, version: str = NEW, **members: object) -> None:
        """Create a job for one board; all of them get the same image."""
        image = self.samples.application(version)
        document = {
            "operation": "app_fw_update",
            **image_facts(image),
            "location": {"url": f"{self.cloud.publish_image(image)}?for={name}"},
            **members,
        }
        self.cloud.jobs.create_job(f"{job}-{self.directory.name[-20:]}", self.thing(name), document)

    def status(self, name: str, job: str) -> ExecutionStatus:
        found = self.cloud.jobs.describe_execution(f"{job}-{self.directory.name[-20:]}", self.thing(name))
        return found.status

    def arguments(self, *options: str) -> list[str]:
        return [
            *("run", "--bench", str(self.file), "--json", "--allow-network", "loopback"),
            *("--cache-dir", str(self.directory / "cache"), *options),
        ]

    def run(self, *options: str) -> int:
        """``run --bench`` in this process; its exit code."""
        return self.command(*self.arguments(*options))

    def command(self, *arguments: str) -> int:
        """Run the command line in this process; returns its exit code."""
        self.monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *arguments])
        return run()


@pytest.fixture
def rack(
    cloud: LocalCloud, samples: SampleImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rack]:
    """Three fresh boards."""
    factory_image = samples.application(OLD).read_bytes()
    with ExitStack() as stack:
        ports = {}
        for name in NAMES:
            board = stack.enter_context(
                VirtualBoard(factory_image=factory_image, keys=[samples.public_key_pem])
            )
            ports[name] = stack.enter_context(PtyServer(board)).path
        made = Rack(cloud, samples, ports, tmp_path, monkeypatch)
        made.write_file()
        yield made
    cloud.images.faults.clear()


def _events(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_all_boards_get_their_jobs_done_from_one_download(
    rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        rack.order(name, name)
    before = len(rack.cloud.images.requests)

    assert rack.run("--once") == 0

    assert [rack.status(name, name) for name in NAMES] == [ExecutionStatus.SUCCEEDED] * 3
    assert len(rack.cloud.images.requests) - before == 1
    events = _events(capsys.readouterr().out)
    finished = [event for event in events if event["event"] == "finished"]
    assert {event["board_name"] for event in finished} == set(NAMES)
    assert {event["serial_number"] for event in finished} == {"100", "101", "102"}
    assert [event["exit_code"] for event in events if event["event"] == "board-ended"] == [0, 0, 0]
    assert run_history(rack, capsys) == dict.fromkeys(map(rack.thing, NAMES), "succeeded")


def run_history(rack: Rack, capsys: pytest.CaptureFixture[str]) -> dict[object, object]:
    """Outcome by thing in the journal that all boards share."""
    assert rack.command("history", "--json") == 0
    return {event["thing"]: event["outcome"] for event in _events(capsys.readouterr().out)}


def test_failure_of_one_board_stops_no_other_and_the_worst_exit_code_counts(
    rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    rack.write_file(left="/dev/does-not-exist")
    rack.order("left", "left")
    rack.order("middle", "middle", OLD)  # is refused: the board runs it
    rack.order("right", "right")

    assert rack.run("--once") == 3

    assert rack.status("middle", "middle") == ExecutionStatus.REJECTED
    assert rack.status("right", "right") == ExecutionStatus.SUCCEEDED
    events = _events(capsys.readouterr().out)
    codes = {event["board_name"]: event["exit_code"] for event in events if event["event"] == "board-ended"}
    assert codes == {"left": 3, "middle": 5, "right": 0}
    last = events[-1]
    assert (last["event"], last["exit_code"]) == ("error", 3)
    assert str(last["message"]).startswith("2 of 3 boards failed; worst left: ")


def test_board_that_somebody_else_works_on_is_a_bench_error_of_its_own(
    rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    rack.order("right", "right")
    with port_for_us(rack.ports["left"], "somebody"):
        assert rack.run("--once", "--bench-board", "left", "--bench-board", "right") == 9

    assert rack.status("right", "right") == ExecutionStatus.SUCCEEDED
    last = _events(capsys.readouterr().out)[-1]
    assert (last["reason"], last["exit_code"]) == ("port-held", 9)


def test_sigterm_stops_all_boards_where_the_next_run_can_go_on(rack: Rack) -> None:
    for name in NAMES:
        rack.order(name, name)

    first = _run_until(rack, lambda event: event["event"] == "progress")
    between = [rack.status(name, name) for name in NAMES]
    left = len(NAMES) - between.count(ExecutionStatus.SUCCEEDED)
    ends = itertools.count(1)
    second = 0
    if left:  # the first run may have been too fast to be stopped
        second = _run_until(rack, lambda event: event["event"] == "finished" and next(ends) == left)

    assert first in {0, 130}
    assert set(between) <= {ExecutionStatus.QUEUED, ExecutionStatus.IN_PROGRESS, ExecutionStatus.SUCCEEDED}
    assert second == 0
    assert [rack.status(name, name) for name in NAMES] == [ExecutionStatus.SUCCEEDED] * 3


def _run_until(rack: Rack, enough: Callable[[dict[str, object]], bool]) -> int:
    """Run the command until an event is enough, and stop it with one SIGTERM; its exit code."""
    command = [sys.executable, "-m", "bridge", *rack.arguments()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(90, process.kill)
        watchdog.start()
        try:
            next(filter(enough, map(json.loads, process.stdout)))
            process.terminate()
            process.stdout.read()
            return process.wait()
        finally:
            watchdog.cancel()


def test_status_tells_ports_holders_versions_and_last_jobs(
    rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    rack.order("right", "right")
    assert rack.run("--once", "--bench-board", "right") == 0
    rack.write_file(left="/dev/does-not-exist")
    capsys.readouterr()

    with port_for_us(rack.ports["middle"], "somebody"):
        assert rack.command("bench", "status", "--bench", str(rack.file), "--json") == 3
        rows = _events(capsys.readouterr().out)
        assert rack.command("bench", "status", "--bench", str(rack.file)) == 3
        table = capsys.readouterr().out

    left, middle, right = rows[:3]
    assert (left["state"], left["reason"]) == ("missing", "port-missing")
    assert middle["state"] == "held"
    assert str(middle["holder"]).startswith("somebody (process ")
    assert right["state"] == "answers"
    identity, last = right["identity"], right["last_update"]
    assert isinstance(identity, dict)
    assert isinstance(last, dict)
    assert identity["application_version"] == f"v{NEW}"
    assert (last["outcome"], last["thing"]) == ("succeeded", rack.thing("right"))
    assert "1 of 3 boards cannot be worked: left is missing" in str(rows[3]["message"])
    assert [line.split()[0] for line in table.splitlines()] == ["board", *NAMES]
    assert NEW in table.splitlines()[3]


def test_status_finds_programs_that_know_nothing_of_our_locks(
    rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        Path(rack.ports["left"]).open("rb") as port,
        subprocess.Popen(["sleep", "300"], stdin=port) as holder,
    ):
        try:
            options = ("--bench-board", "left", "--no-ask", "--json")
            assert rack.command("bench", "status", "--bench", str(rack.file), *options) == 0
        finally:
            holder.kill()

    (row,) = _events(capsys.readouterr().out)
    assert (row["state"], row["holder"]) == ("held", f"sleep (process {holder.pid})")


def test_power_is_switched_of_named_boards_only(rack: Rack, capsys: pytest.CaptureFixture[str]) -> None:
    board = VirtualBoard(firmware="at_client")
    with board, ControlSocket(board, rack.directory / "v"):
        rack.file.write_text("[boards.1]\nname='v'\npower={kind='virtual',control='v'}\n[boards.2]")

        assert (
            rack.command("bench", "power", "off", "--bench", str(rack.file), "--bench-board", "v", "--json")
            == 0
        )
        board.wait_for_event("power-off")
        assert _events(capsys.readouterr().out)[0]["action"] == "off"
        assert rack.command("bench", "power", "on", "--bench", str(rack.file)) == 2
        assert "which boards is not said" in capsys.readouterr().err
        assert rack.command("bench", "power", "on", "--bench", str(rack.file), "--bench-board", "2") == 2
        assert "[boards.2] has no power" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--port", "/dev/ttyACM0"], "--port is about one board"),
        (["--group", "night"], "no board in the group night"),
        (["--bench-board", "top"], "no single board top"),
    ],
)
def test_options_that_make_no_sense_with_a_bench_are_refused(
    rack: Rack, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    assert rack.run("--once", *options) == 2
    assert complaint in capsys.readouterr().err


def test_bench_without_what_jobs_need_is_refused_before_anything_is_opened(
    rack: Rack, capsys: pytest.CaptureFixture[str]
) -> None:
    rack.file.write_text("[cloud]\nendpoint = 'localhost:1'\n[boards.7]\nport = '/dev/null'")

    assert rack.run("--once") == 2
    assert "[boards.7] has no thing and no cert and key" in capsys.readouterr().err

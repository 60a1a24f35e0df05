"""Power control: virtual board, commands of one's own, uhubctl; and what a bench at fault looks like."""

import os
import select
import signal
import socket
import sys
from pathlib import Path

import pytest

from bridge.board.power import CommandPower, UhubctlPower, VirtualPower, port_states
from bridge.board.socket_power import SocketPower
from bridge.errors import BenchError, UsageError
from bridge.virtual.board import VirtualBoard
from bridge.virtual.control_socket import ControlSocket

# A hub as uhubctl 2.5 prints it; the description of what is attached may hold any word.
FAKE_UHUBCTL = f"""#!{sys.executable}
import json, pathlib, sys
state = pathlib.Path(__file__).with_name("hub.json")
ports = json.loads(state.read_text())
state.with_name("calls").open("a").write(" ".join(sys.argv[1:]) + "\\n")
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if options["-l"] != "1-1.4":
    print(f"No compatible devices detected at location {{options['-l']}}!\\nRun with -h to get usage info.", file=sys.stderr)
    sys.exit(1)
def show(title):
    print(f"{{title}} status for hub 1-1.4 [05e3:0608 USB2.0 Hub, USB 2.00, 4 ports, ppps]")
    word = "0103 power enable connect [1366:1059 SEGGER power J-Link 001051202303]"
    print(f"  Port {{options['-p']}}: " + (word if ports[options["-p"]] else "0000 off"))
show("Current")
if options["-p"] != "3":  # a port that only pretends
    ports[options["-p"]] = options["-a"] == "on"
state.write_text(json.dumps(ports))
print(f"Sent power {{options['-a']}} request")
show("New")
"""


@pytest.fixture
def uhubctl(tmp_path: Path) -> Path:
    """An executable that behaves as uhubctl does with one hub, all of its ports on."""
    program = tmp_path / "uhubctl"
    program.write_text(FAKE_UHUBCTL)
    program.chmod(0o755)
    (tmp_path / "hub.json").write_text('{"2": true, "3": true}')
    return program


def test_uhubctl_is_called_for_one_port_of_one_hub(uhubctl: Path) -> None:
    power = UhubctlPower("1-1.4", 2, off_s=0, program=str(uhubctl))

    power.off()
    assert (uhubctl.parent / "hub.json").read_text() == '{"2": false, "3": true}'
    power.cycle()

    assert (uhubctl.parent / "hub.json").read_text() == '{"2": true, "3": true}'
    assert (uhubctl.parent / "calls").read_text().splitlines() == [
        "-l 1-1.4 -p 2 -a off",
        "-l 1-1.4 -p 2 -a off",
        "-l 1-1.4 -p 2 -a on",
    ]


def test_hub_port_that_only_pretends_to_switch_is_noticed(uhubctl: Path) -> None:
    with pytest.raises(BenchError, match=r"port 3 of hub 1-1\.4 is not off") as caught:
        UhubctlPower("1-1.4", 3, program=str(uhubctl)).off()

    assert (caught.value.exit_code, caught.value.reason) == (9, "power-not-switched")


def test_unknown_hub_is_told_in_the_words_of_uhubctl(uhubctl: Path) -> None:
    with pytest.raises(BenchError, match="No compatible devices detected at location 2-1") as caught:
        UhubctlPower("2-1", 1, program=str(uhubctl)).on()

    assert caught.value.reason == "power-failed"


@pytest.mark.parametrize(("hub", "port"), [("", 1), ("1-1; rm", 1), ("-a", 1), ("1-1", 0)])
def test_hub_that_would_mean_others_is_refused(hub: str, port: int) -> None:
    with pytest.raises(UsageError):
        UhubctlPower(hub, port)


def test_both_halves_of_a_usb3_hub_must_have_switched() -> None:
    halves = (
        "Current status for hub 2-1 [x]\n  Port 2: 02a0 power 5gbps Rx.Detect\n"
        "Sent power off request\nNew status for hub 2-1 [x]\n  Port 2: 0080 off\n"
        "Current status for hub 1-1 [x]\n  Port 2: 0100 power\n"
        "Sent power off request\nNew status for hub 1-1 [x]\n  Port 2: {}\n"
    )

    assert port_states(halves.format("0000 off"), 2) == [False, False]
    assert port_states(halves.format("0100 power"), 2) == [False, True]
    assert port_states(halves, 1) == []


def test_missing_program_is_a_bench_error() -> None:
    with pytest.raises(BenchError, match="uhubctl cannot be run") as caught:
        UhubctlPower("1-1", 1, program="/nonexistent/uhubctl").on()

    assert caught.value.reason == "power-tool-missing"


def test_commands_run_where_the_bench_file_is_and_are_told_what_is_wanted(tmp_path: Path) -> None:
    power = CommandPower(
        'echo "$NRF91_BRIDGE_POWER $NRF91_BRIDGE_BOARD" >>log',
        ("/bin/sh", "-c", 'echo "off: $NRF91_BRIDGE_POWER" >>log'),
        off_s=0,
        directory=tmp_path,
        environment={"NRF91_BRIDGE_BOARD": "left"},
    )

    power.on()
    power.cycle()

    assert (tmp_path / "log").read_text().splitlines() == ["on left", "off: off", "on left"]


def test_cycle_can_be_a_command_of_its_own(tmp_path: Path) -> None:
    CommandPower("false", "false", "echo $NRF91_BRIDGE_POWER >log", directory=tmp_path).cycle()

    assert (tmp_path / "log").read_text() == "cycle\n"


def test_command_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(BenchError, match=r"\(off\) ended with 3: no relay card") as caught:
        CommandPower("true", "echo hello; echo no relay card >&2; exit 3").off()

    assert caught.value.exit_code == 9


def test_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    command = f"(echo child; exec sleep 300) >{alive} & wait"
    with os.fdopen(os.open(alive, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        for timeout_s in (0.5, 5.0, 60.0):  # a busy machine takes its time to start a child
            with pytest.raises(BenchError, match=rf"did not end within {timeout_s:g} s") as caught:
                CommandPower(command, "true", timeout_s=timeout_s).on()
            if pipe.read(100) == b"child\n":
                break
        else:
            pytest.fail("the child did not start")

        assert caught.value.reason == "power-timeout"
        assert select.select([pipe], [], [], 30.0)[0], "the child lives on"
        assert pipe.read(1) == b""


def test_daemon_that_a_command_leaves_behind_does_not_hold_us_up(tmp_path: Path) -> None:
    CommandPower(f"sleep 300 & echo $! >{tmp_path}/child", "true", timeout_s=60).on()

    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)  # it lives


def test_virtual_board_loses_power_and_starts_again() -> None:
    with VirtualBoard(firmware="at_client") as board:
        power = VirtualPower(lambda: board)
        power.off()
        board.wait_for_event("power-off")
        power.on()
        power.cycle()
        board.wait_for_event("power-off", count=2)


def test_virtual_board_of_another_process_is_switched_through_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with VirtualBoard(firmware="at_client") as board, ControlSocket(board, path):
        power = SocketPower(path)
        power.off()
        board.wait_for_event("power-off")
        power.on()
        power.cycle()
        board.wait_for_event("power-off", count=2)
        assert _ordered(path, "reset") == "ok"
        assert _ordered(path, "explode").startswith("unknown order 'explode'; there are power on, ")

    assert not path.exists()
    with pytest.raises(BenchError, match="no virtual board takes orders") as caught:
        power.on()
    assert caught.value.reason == "power-failed"


def test_switch_that_does_not_answer_is_a_bench_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        deaf.listen()
        with pytest.raises(BenchError, match="does not react to power on") as caught:
            SocketPower(tmp_path / "deaf", timeout_s=0.2).on()
    assert caught.value.reason == "power-timeout"


def test_control_socket_replaces_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        ControlSocket(VirtualBoard(firmware="at_client"), tmp_path / "file")
    with pytest.raises(UsageError, match="cannot make the socket"):
        ControlSocket(VirtualBoard(firmware="at_client"), tmp_path / ("x" * 120))


def _ordered(path: Path, order: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"{order}\n".encode())
        return connection.makefile().readline().strip()

"""``info``, ``at`` and ``ports`` as a person and as a program sees them."""

import json

import pytest
import typer
from typer.testing import CliRunner

from bridge.board.ports import PortInfo
from bridge.cli import board_commands
from bridge.errors import BoardRefusedError
from bridge.wire.smp_message import SmpGroup
from hil_tests.unit.board.scripted_peer import IDENTITY, ScriptedPeer
from hil_tests.unit.dfu.smp_peer import SmpPeer

app = typer.Typer()
board_commands.register(app)
run = CliRunner().invoke
PORT = PortInfo("/dev/ttyACM0", "001051216197", 0x1366, 0x1059, 0, "J-Link", "nrf9151dk")


def test_info_shows_the_identity(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedPeer(IDENTITY) as peer:
        result = run(app, ["info", "--port", peer.path])
    assert result.exit_code == 0
    for text in ("nRF9151-LACA", "352656100367872", "v1.2.3-7-gdf00f46", "mfw_nrf91x1_2.0.2"):
        assert text in result.output


def test_info_takes_the_port_from_the_environment_and_speaks_json() -> None:
    with ScriptedPeer(IDENTITY) as peer:
        result = run(app, ["info", "--json"], env={"NRF91_BRIDGE_PORT": peer.path})
        event = json.loads(result.output)
        assert event["schema"] == 1
        assert (event["event"], event["port"], event["firmware"]) == ("identity", peer.path, "serial-modem")


def test_info_cuts_nothing_off_at_the_edge_of_a_terminal() -> None:
    digest = bytes.fromhex("ab" * 32)
    running = {"slot": 0, "version": "1.0.0", "hash": digest, "active": True, "confirmed": True}
    with SmpPeer(
        lambda request: {"images": [running]} if request.group == SmpGroup.IMAGE else {"rc": 8}
    ) as peer:
        result = run(app, ["info", "--port", peer.path], env={"COLUMNS": "60"})
    assert digest.hex() in result.output


def test_at_prints_the_lines_of_the_answer() -> None:
    with ScriptedPeer(IDENTITY) as peer:
        result = run(app, ["at", "AT%SHORTSWVER", "-p", peer.path])
    assert result.output == "%SHORTSWVER: nrf91x1_2.0.2\n"


def test_at_speaks_json_with_the_messages_that_came_with_it() -> None:
    with ScriptedPeer({"AT+CFUN=1": "\r\n+CEREG: 2\r\n\r\nOK\r\n"}) as peer:
        event = json.loads(run(app, ["at", "AT+CFUN=1", "-p", peer.path, "--json"]).output)
    assert (event["lines"], event["messages"]) == ([], ["+CEREG: 2"])


def test_at_fails_with_exit_code_6_when_the_board_refuses() -> None:
    with ScriptedPeer() as peer:
        result = run(app, ["at", "AT+NOSUCH", "-p", peer.path])
    assert isinstance(result.exception, BoardRefusedError)
    assert result.exception.exit_code == 6


@pytest.mark.parametrize(
    ("found", "text"), [([], "no serial ports"), ([PORT, PortInfo("/dev/ttyS0")], "nrf9151dk")]
)
def test_ports_lists_what_is_there(monkeypatch: pytest.MonkeyPatch, found: list[PortInfo], text: str) -> None:
    monkeypatch.setattr("bridge.board.list_ports", lambda: found)
    assert text in run(app, ["ports"]).output


def test_ports_speaks_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.list_ports", lambda: [PORT])
    assert json.loads(run(app, ["ports", "--json"]).output)["ports"] == [PORT.to_dict()]

"""``credentials``: a board provisioned from files, on each firmware that passes AT commands on to the modem."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from bridge.board import Board
from bridge.cli.app import run
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.pki import LabPki
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer

THING = "provisioned"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("thing")
    LabPki(directory).issue_client(THING)
    return directory


FIRMWARE = pytest.mark.parametrize("board", ["serial-modem", "at_client"], indirect=True)


@pytest.fixture
def board(request: pytest.FixtureRequest, samples: SampleImages) -> Iterator[VirtualBoard]:
    image = samples.application("1.0.0").read_bytes()
    model = "thingy91" if request.param == "at_client" else "nrf9151dk"
    with VirtualBoard(model, firmware=request.param, factory_image=image) as running:
        yield running


Command = Callable[..., tuple[int, list[dict[str, object]]]]


@pytest.fixture
def port(board: VirtualBoard) -> Iterator[str]:
    with PtyServer(board) as pty:
        yield pty.path


@pytest.fixture
def command(port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str) -> tuple[int, list[dict[str, object]]]:
        monkeypatch.setattr(
            sys,
            "argv",
            ["nrf91-bridge", "credentials", *arguments, "--port", port, "--json", "--no-flow-control"],
        )
        code = run()
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def kinds(events: list[dict[str, object]]) -> set[str]:
    (event,) = events
    listed = event["credentials"]
    assert isinstance(listed, list)
    return {entry["kind"] for entry in listed}


@FIRMWARE
def test_given_a_things_files_when_written_then_listed_replaced_and_deleted(
    command: Command, files: Path, port: str, tmp_path: Path
) -> None:
    with Board.open(port, flow_control=False) as opened:
        opened.at.command("AT+CFUN=1", timeout_s=30)
    assert command("write", "42", "--thing-files", str(files))[0] == 0
    all_three = {"root-ca", "client-certificate", "private-key"}
    assert kinds(command("list", "--tag", "42")[1]) == all_three
    with Board.open(port, flow_control=False) as opened:
        assert opened.modem.functional_mode() == 1

    assert command("write", "42", "--thing-files", str(files))[0] == 0  # nothing to do
    LabPki(tmp_path).issue_client(THING)
    code, events = command("write", "42", "--thing-files", str(tmp_path))
    assert (code, events[0]["reason"]) == (6, "credential-exists")
    code, replaced = command("write", "42", "--thing-files", str(tmp_path), "--replace")
    assert (code, kinds(replaced)) == (0, all_three)

    assert command("delete", "42", "--type", "cert", "--type", "key")[0] == 0
    assert kinds(command("list", "--tag", "42")[1]) == {"root-ca"}
    code, events = command("delete", "42", "--type", "key")
    assert (code, events[0]["reason"]) == (6, "credential-not-found")
    assert command("delete", "42")[0] == 0
    assert command("list", "--tag", "42")[1][0]["credentials"] == []


@FIRMWARE
def test_given_a_board_when_it_makes_a_key_then_its_request_is_genuine_and_the_key_stays(
    command: Command, tmp_path: Path
) -> None:
    request_file = tmp_path / "board.csr"
    code, _ = command("keygen", "7", "-o", str(request_file), "--subject", f"CN={THING}")
    assert code == 0
    request = x509.load_pem_x509_csr(request_file.read_bytes())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == f"CN={THING}"
    assert kinds(command("list", "--tag", "7")[1]) == {"private-key"}

    again = tmp_path / "again.der"
    code, events = command("keygen", "7", "-o", str(again), "--der")
    assert (code, events[0]["reason"]) == (6, "credential-exists")
    assert not again.exists()
    code, events = command("keygen", "7", "-o", str(request_file), "--replace")
    assert (code, events[0]["reason"]) == (2, "bad-output")
    assert command("keygen", "7", "-o", str(again), "--der", "--replace")[0] == 0
    assert x509.load_der_x509_csr(again.read_bytes()).public_key() != request.public_key()


@pytest.mark.parametrize("board", ["at_client"], indirect=True)
def test_given_options_that_make_no_sense_then_the_board_is_not_asked(command: Command, files: Path) -> None:
    for arguments in (
        ["42"],
        ["42", "key"],
        ["42", "key", str(files / "ca.pem"), "--thing-files", str(files)],
    ):
        assert command("write", *arguments)[0] == 2
    assert command("write", "42", "key", str(files / "ca.pem"))[1][0]["reason"] == "bad-credential"
    assert command("keygen", "42", "-o", "x", "--subject", 'CN="x"')[0] == 2


@pytest.mark.parametrize("board", ["slm"], indirect=True)
def test_given_full_logs_when_a_key_is_written_then_none_of_its_lines_is_in_them(
    port: str, files: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "bridge",
        "-vv",
        "credentials",
        "write",
        "42",
        "--thing-files",
        str(files),
    ]
    done = subprocess.run(
        [*command, "--port", port, "--no-flow-control"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    key = (files / f"thing-{THING}.key").read_text().splitlines()[1:-1]
    assert "CMNG" in done.stderr
    assert not [line for line in key if line in done.stdout + done.stderr]


@pytest.mark.parametrize("board", ["serial-modem"], indirect=True)
def test_given_a_thing_that_was_created_when_written_then_the_board_has_what_the_broker_knows(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    with LocalCloud(tmp_path / "cloud") as cloud:
        arguments = [
            "thing",
            "create",
            THING,
            "--out",
            str(made),
            "--cloud-state",
            str(tmp_path / "cloud"),
            "--json",
        ]
        monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *arguments])
        assert run() == 0
        code, events = command("write", "42", "--thing-files", str(made))
        assert (code, events[-1]["reason"]) == (2, "bad-thing-files")  # the CA is not among them
        code, events = command("write", "42", "--thing-files", str(made), "--ca", str(cloud.ca_file))
        assert (code, kinds(events[-1:])) == (0, {"root-ca", "client-certificate", "private-key"})
        assert cloud.registry.principals_of(THING)

"""Nordic's nrfcredstore manages credentials on the virtual board, over a pty.

nrfcredstore takes only ports that the system lists, and a pty is never listed. Its own code runs unmodified, in a process whose
list of serial ports has the pty as well.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from bridge.board import Board
from bridge.board.credential_files import find_thing_files
from bridge.board.credentials import CredentialStore
from bridge.errors import BoardRefusedError
from bridge.lab.pki import LabPki
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer

pytestmark = pytest.mark.contract

_RUN = """
import sys
import serial.tools.list_ports
from serial.tools.list_ports_common import ListPortInfo
real = serial.tools.list_ports.comports
serial.tools.list_ports.comports = lambda *args, **options: [*real(*args, **options), ListPortInfo(sys.argv[1])]
from nrfcredstore.cli import run
run()
"""
_MODEM_OWN = re.compile(r"42949672\d\d +\S+ +[0-9A-F]{64}")


class NrfCredStore:
    """The command line of nrfcredstore, at one port."""

    def __init__(self, port: str) -> None:
        self._port = port

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        command = [sys.executable, "-c", _RUN, self._port, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def listed(self) -> dict[tuple[int, str], str]:
        """Tag and type of every credential that is not the modem's own, with its digest."""
        rows = [line.split() for line in self("list").splitlines() if not _MODEM_OWN.match(line)]
        return {(int(tag), kind): digest for tag, kind, digest in rows[1:]}


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    samples = SampleImages(tmp_path / "images")
    with VirtualBoard(factory_image=samples.application("1.0.0").read_bytes()) as running:
        yield running


@pytest.fixture
def pty(board: VirtualBoard) -> Iterator[PtyServer]:
    with PtyServer(board) as serving:
        yield serving


def test_credentials_are_written_listed_and_deleted(pty: PtyServer, tmp_path: Path) -> None:
    tool = NrfCredStore(pty.path)
    ca_file = LabPki(tmp_path / "pki").ca_file
    tool("write", "42", "ROOT_CA_CERT", str(ca_file))
    listed = tool.listed()
    assert set(listed) == {(42, "ROOT_CA_CERT")}
    digests = {
        hashlib.sha256(text).hexdigest().upper()
        for text in (ca_file.read_bytes(), ca_file.read_bytes().rstrip())
    }
    assert listed[42, "ROOT_CA_CERT"] in digests
    tool("delete", "42", "ROOT_CA_CERT")
    assert tool.listed() == {}


def test_deleting_what_is_not_there_is_cme_error_513(pty: PtyServer) -> None:
    assert "Not found" in NrfCredStore(pty.path)("delete", "42", "ROOT_CA_CERT", fails=True)


def test_a_key_is_generated_in_the_modem_and_its_request_is_genuine(pty: PtyServer, tmp_path: Path) -> None:
    tool = NrfCredStore(pty.path)
    request_file = tmp_path / "request.der"
    tool("generate", "43", str(request_file))
    request = x509.load_der_x509_csr(request_file.read_bytes())
    assert request.is_signature_valid
    assert set(tool.listed()) == {(43, "CLIENT_KEY")}


def test_the_imei_is_read(pty: PtyServer) -> None:
    assert re.search(r"\b\d{15}\b", NrfCredStore(pty.path)("imei"))


def test_all_of_a_board_can_be_deleted(pty: PtyServer, tmp_path: Path) -> None:
    tool = NrfCredStore(pty.path)
    tool("write", "1", "ROOT_CA_CERT", str(LabPki(tmp_path / "pki").ca_file))
    tool("deleteall")
    assert tool.listed() == {}


def test_what_the_tool_wrote_follows_the_modems_rules(
    pty: PtyServer, tmp_path: Path, board: VirtualBoard
) -> None:
    cert_file, key_file = LabPki(tmp_path / "pki").issue_client("thing-a")
    tool = NrfCredStore(pty.path)
    tool("write", "42", "CLIENT_CERT", str(cert_file))
    tool("write", "42", "CLIENT_KEY", str(key_file))
    board.reset()
    assert set(tool.listed()) == {(42, "CLIENT_CERT"), (42, "CLIENT_KEY")}
    with Board.open(pty.path) as opened:
        opened.at.command("AT+CMEE=1")
        with pytest.raises(BoardRefusedError, match="514"):
            opened.at.command("AT%CMNG=2,42,2")  # a private key never leaves the modem
        opened.at.command("AT+CFUN=1")
        with pytest.raises(BoardRefusedError, match="518"):
            opened.at.command("AT%CMNG=3,42,2")  # not while the radio is on
        opened.at.command("AT+CFUN=4")
        opened.at.command("AT%CMNG=3,42,2")
        assert len(opened.at.command("AT%CMNG=1,42")) == 1


def test_what_we_write_the_tool_lists_and_what_it_writes_we_know(pty: PtyServer, tmp_path: Path) -> None:
    LabPki(tmp_path).issue_client("thing-a")
    tool, files = NrfCredStore(pty.path), find_thing_files(tmp_path)
    with Board.open(pty.path) as board:
        ours = CredentialStore(board).write(42, files.read())
    assert tool.listed() == {
        (42, "ROOT_CA_CERT"): ours[0].sha256,
        (42, "CLIENT_CERT"): ours[1].sha256,
        (42, "CLIENT_KEY"): ours[2].sha256,
    }
    tool("delete", "42", "CLIENT_KEY")
    tool("write", "42", "CLIENT_KEY", str(files.key_file))
    with Board.open(pty.path) as board:
        store = CredentialStore(board)
        assert store.entries(42) == ours
        assert store.write(42, files.read()) == ours  # nothing to be replaced: it is all there


def test_a_key_of_ours_is_listed_by_the_tool_and_openssl_believes_its_request(
    pty: PtyServer, tmp_path: Path
) -> None:
    with Board.open(pty.path) as board:
        request = CredentialStore(board).generate_key(43, subject="CN=thing-a,O=Bench")
    file = tmp_path / "thing-a.csr"
    file.write_bytes(request)
    assert set(NrfCredStore(pty.path).listed()) == {(43, "CLIENT_KEY")}
    command = ["openssl", "req", "-inform", "DER", "-in", str(file), "-verify", "-noout", "-subject"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "verify OK" in done.stdout + done.stderr
    assert "thing-a" in done.stdout

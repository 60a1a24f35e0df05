"""No secret gets out: the redaction itself, each way out of the process, and the watch over the whole suite."""

import json
import logging
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from bridge.board import Board
from bridge.cli import app as app_module
from bridge.cli.output import console, emit_json, report_thread_failure
from bridge.cli.policy_options import read_key
from bridge.cloud import Endpoint, JobExecution, JobStatus, parse_document
from bridge.cloud.endpoint import make_tls_context
from bridge.cloud.location import LocationError, location_url
from bridge.errors import BridgeError, UsageError
from bridge.fetch.http_client import check_tls_files
from bridge.fetch.store import Order
from bridge.fota import Finished, Outcome, Stage, Waiting
from bridge.fota.status_details import StatusDetails
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import development_public_key_pem
from bridge.redaction import RedactingFilter, is_secret_command, redact_command, redact_text, redact_value
from bridge.secret_files import is_open_to_others, warn_if_open_to_others
from hil_tests.secret_watch import MARK, leak_in
from hil_tests.unit.board.scripted_peer import ERROR, IDENTITY, OK, ScriptedPeer

URL = f"https://user:{MARK}@bucket.s3.amazonaws.com/app.bin?X-Amz-Credential={MARK}&X-Amz-Signature={MARK}#{MARK}"
PEM = f"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE{MARK}\n{MARK}\n-----END EC PRIVATE KEY-----"

# --- the redaction ---------------------------------------------------------------------------------------------

TEMPLATES: tuple[str, ...] = (
    "https://host/path?{}",
    "GET /images/app.bin?{} HTTP/1.1",
    "https://host/path?X-Amz-Signature={}&x=1, and more",
    "('https://host/path?a={}')",
    '{{"url": "https://host/p?{}"}}',
    "https://host/path#{}",
    "https://host?{}",
    "s3+https://me:{}@host/path",
    "see http://{}@host:8080/path",
    "retry of https://a/b?{} redirected to https://c/d?{}",
    "X-Amz-Security-Token={}",
    "https%3A%2F%2Fhost%2Fpath%3FX-Amz-Signature%3D{}",
    "password={} is wrong",
    '"token": "{}"',
    "{{'secret': '{}'}}",
    "Authorization: Basic {}",
    "authorization: AWS4-HMAC-SHA256 Credential=x, Signature={}",
    "{{'Authorization': 'Bearer {}'}}",
    "Set-Cookie: session={}; Path=/",
    "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\\n{}\\n{}",
    'AT%CMNG=0,16842753,2,"{}"',
    'at%cmng=0,1,3,"{}","{}"',
    '%CMNG: 1,4,"' + "AB" * 32 + '","{}"',
    'AT+CPIN="{}"',
    'AT+CGAUTH=0,1,"user","{}"',
    'AT#XMQTTCON=1,"id","user","{}","host",8883,1',
)
SECRETS = st.text(st.sampled_from("abcXYZ0189+/=-_.~%"), min_size=12, max_size=60).map(
    lambda text: f"S{text}9S"
)


def filled(template: str, secret: str) -> str:
    return template.format(*[secret] * template.count("{}"))


@given(st.sampled_from(TEMPLATES), SECRETS)
def test_a_secret_is_taken_out_wherever_it_stands(template: str, secret: str) -> None:
    if "@" in template:
        secret = secret.replace("/", "_")  # user information cannot hold a slash
    assert secret not in redact_text(filled(template, secret))


@given(st.sampled_from(TEMPLATES), SECRETS)
def test_redacting_twice_changes_nothing_more(template: str, secret: str) -> None:
    once = redact_text(filled(template, secret))
    assert redact_text(once) == once


@given(st.text(max_size=200))
def test_it_never_fails(text: str) -> None:
    redact_text(text)
    redact_command(text)


@pytest.mark.parametrize(
    "text",
    [
        "the board answered AT+CFUN? with ERROR",
        "AT#XDFUINIT=?",
        "AT#XDFUINIT=0,181124",
        '%CMNG: 16842753,0,"' + "0A" * 32 + '"',
        "the image at https://bucket.s3.amazonaws.com/app_update.bin is gone",
        "no answer on /dev/ttyACM0; is it switched on?",
        "signed by another key than the given one (signature of kind ECDSA)",
        'the file "app.bin" and why?',
        "+CPIN: READY",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


def test_values_are_redacted_to_their_last_text() -> None:
    value = {"a": [URL, {"b": (URL, 1, None, True)}], URL: 2.5}
    assert MARK not in json.dumps(redact_value(value))
    assert redact_value({"n": [1, "x"]}) == {"n": [1, "x"]}


@pytest.mark.parametrize(
    ("command", "secret"),
    [
        ("AT%CMNG=0,1,2", True),
        ('at%cmng=0,1,2,"x', True),
        ('AT+CPIN="1234"', True),
        ("AT+CGMR", False),
        ("AT+CPIN?", False),
    ],
)
def test_commands_that_carry_secrets(command: str, secret: bool) -> None:
    assert is_secret_command(command) is secret


# --- each way out ----------------------------------------------------------------------------------------------


def test_no_error_tells() -> None:
    error = BridgeError(f"cannot fetch {URL}", hint=f"Open {URL}.")
    assert MARK not in f"{error} {error.message} {error.hint} {error!r}"
    assert "bucket.s3.amazonaws.com/app.bin" in error.message


def test_no_value_shows_its_url() -> None:
    document = parse_document({"location": {"url": URL}})
    execution = JobExecution("j", 1, 1, JobStatus.QUEUED, document={"location": {"url": URL}})
    order = Order(URL, None, None, None)
    assert document.url.startswith(f"https://user:{MARK}@")  # it is there, and does not show
    assert MARK not in f"{document!r} {document} {execution!r} {order!r}"


@pytest.mark.parametrize("character", ['"', "<", ">", "\\"])
def test_a_url_that_no_redaction_could_find_the_end_of_is_refused(character: str) -> None:
    with pytest.raises(LocationError) as caught:
        location_url({"url": f"https://host/a?b={character}{MARK}"})
    assert MARK not in str(caught.value)


def test_an_endpoint_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint(f"user:{MARK}@broker.example/", client_id="x")
    assert "broker.example" in caught.value.message


def test_status_details_and_events_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    details = StatusDetails()
    finished = Finished(Stage.FETCH, Outcome.FAILED, "x", f"no answer from {URL}", None, URL, None)
    details.take(Waiting(Stage.CHECK, "x", f"waiting for {URL}"))
    details.take(finished)
    emit_json({"event": "x", **details.to_dict(), "all": [URL]})
    emit_json({"event": "y", "text": f"no answer from {URL}"})
    console.print(f"no answer from {URL}", soft_wrap=True)
    shown = capsys.readouterr()
    assert MARK not in shown.out + shown.err + str(details.to_dict())
    assert all(json.loads(line)["event"] for line in shown.out.splitlines())
    assert "https://bucket.s3.amazonaws.com/app.bin?..." in shown.err


@pytest.fixture
def failing_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], int]:
    """Run something as a command at -vv; gives the exit code."""

    def run(action: Callable[[], None]) -> int:
        app = typer.Typer()
        app.callback()(app_module._options)
        app.command("fail")(action)
        monkeypatch.setattr(app_module, "app", app)
        monkeypatch.setattr(sys, "argv", ["nrf91-bridge", "-vv", "fail"])
        return app_module.run()

    return run


def test_nothing_gets_through_the_command_lines_log_or_traceback(
    failing_command: Callable[[Callable[[], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    library = logging.getLogger("some.library")

    def fail() -> None:
        library.debug("GET %s", URL)
        library.info("headers: %s", {"Authorization": f"Basic {MARK}"})
        library.debug("%d arguments are missing: %s", URL)
        try:
            int(URL)
        except ValueError:
            library.exception("it broke", stack_info=True)
        raise RuntimeError(PEM)

    assert failing_command(fail) == 1
    shown = capsys.readouterr().err
    assert MARK not in shown
    for there in (
        "GET https://bucket.s3.amazonaws.com/app.bin?...",
        "Traceback",
        "ValueError",
        "RuntimeError",
        "bug",
    ):
        assert there in shown


def test_the_filter_keeps_records_whole() -> None:
    record = logging.LogRecord("x", logging.INFO, "p", 1, "%s and %d", ("text", 5), None)
    assert RedactingFilter().filter(record)
    assert record.getMessage() == "text and 5"


def test_a_thread_that_breaks_is_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError) as caught:
        int(URL)
    report_thread_failure(
        threading.ExceptHookArgs((ValueError, caught.value, caught.tb, threading.current_thread()))
    )
    shown = capsys.readouterr().err
    assert MARK not in shown
    assert "ValueError" in shown


# --- AT ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def echoing() -> Iterator[tuple[ScriptedPeer, Board]]:
    """A board whose echo is on."""
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        yield peer, board


@pytest.mark.parametrize("answer", [OK, ERROR, ""], ids=["taken", "refused", "silent"])
def test_credentials_do_not_show_in_the_at_log(
    echoing: tuple[ScriptedPeer, Board], caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    peer, board = echoing
    caplog.set_level(logging.DEBUG)
    command = f'AT%CMNG=0,16842753,2,"{PEM}"'
    # ScriptedPeer takes a CR for the end of a command; the key has line feeds only.
    peer.answers[command] = f"{command}\r\n{answer}" if answer else f"{command}\r\n"
    try:
        board.at.command(command, timeout_s=0.3)
    except BridgeError as error:
        told = "".join(traceback.format_exception(error))
    else:
        told = ""
    assert MARK not in told
    board.modem.imei()
    assert any("XFOTA" in text or "CGSN" in text for text in caplog.messages)
    assert MARK not in caplog.text
    assert "%CMNG" in caplog.text


# --- key files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "is_open"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o610, True)]
)
def test_a_private_key_that_others_can_read_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, is_open: bool
) -> None:
    key = tmp_path / "client.key"
    key.write_text("x")
    key.chmod(mode)
    warn_if_open_to_others(key)
    assert is_open_to_others(key) is is_open
    assert bool(caplog.records) is is_open
    assert "chmod 600" in caplog.text or not is_open


def open_key(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    file = folder / "open.key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o644)
    return file


def read_to_connect(key: Path) -> None:
    with pytest.raises(UsageError):  # the certificate is missing; the key was looked at before
        make_tls_context(
            Endpoint("localhost", cert_file=key.with_suffix(".crt"), key_file=key, client_id="x"), print
        )


def read_to_download(key: Path) -> None:
    with pytest.raises(UsageError):
        check_tls_files(None, (key.with_suffix(".crt"), key))


READERS: dict[str, Callable[[Path], object]] = {
    "broker": read_to_connect,
    "image server": read_to_download,
    "signature": read_key,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_whoever_reads_a_private_key_that_others_can_read_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, read: Callable[[Path], object]
) -> None:
    key = open_key(tmp_path)
    read(key)
    read(key)
    assert [record.getMessage() for record in caplog.records] == [
        f"the private key {key} is open to other users; `chmod 600` it"
    ]


@pytest.mark.parametrize("command", ["inspect", "board"])
def test_a_command_that_is_given_a_private_key_which_others_can_read_warns(
    tmp_path: Path, command: str
) -> None:
    key = open_key(tmp_path)
    image = SampleImages(tmp_path).application("1.0.0")
    arguments = {
        "inspect": ["image", "inspect", str(image), "--key", str(key)],
        "board": [
            "board",
            "--key",
            str(key),
            "--image",
            str(image),
            "--smp",
            "nonsense",
        ],  # or it would go on
    }
    told = subprocess.run(
        [sys.executable, "-m", "bridge", *arguments[command]],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.stderr.count("is open to other users") == 1


def test_a_public_key_may_be_read_by_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    public = tmp_path / "image.pub.pem"
    public.write_bytes(development_public_key_pem())
    public.chmod(0o644)
    read_key(public)
    assert not caplog.records


def test_a_key_file_that_is_missing_is_no_ones_concern_here(tmp_path: Path) -> None:
    assert not is_open_to_others(tmp_path / "missing.key")


# --- the watch -------------------------------------------------------------------------------------------------------

LEAKS = {
    "log": 'logging.getLogger("bridge.x").debug("GET %s", SECRET)',
    "log_of_library": 'logging.getLogger("paho.x").warning(SECRET)',
    "exception_in_log": "try:\n        raise ValueError(SECRET)\n"
    '    except ValueError:\n        logging.getLogger("bridge.x").exception("broke")',
    "stdout": "print(SECRET)",
    "stderr": "sys.stderr.write(SECRET)",
    "read_output": "print(SECRET)\n    capsys.readouterr()",
    "subprocess": "subprocess.run([sys.executable, \"-c\", \"print('PLANTED' + '0SECRET')\"], stdout=subprocess.PIPE)",
    "signature": 'print("X-Amz-" + "Signature=0123456789abcdef")',
    "key": 'print("-----BEGIN " + "PRIVATE KEY-----" + chr(10) + "MHcCAQEE")',
    "metadata": '(tmp_path / "sub").mkdir()\n    (tmp_path / "sub" / "facts.json").write_text(SECRET)',
    "error": 'BridgeError("x", reason=SECRET)',
    "details": "details = StatusDetails()\n    details._pairs['x'] = SECRET\n    details.to_dict()",
    "event": "Notice(Stage.CHECK, SECRET).to_dict()",
}
HEADER = """
import logging, subprocess, sys
from bridge.errors import BridgeError
from bridge.fota import Notice, Stage
from bridge.fota.status_details import StatusDetails
SECRET = "PLANTED" + "0SECRET"
"""


def test_the_watch_fails_each_test_that_lets_a_secret_out(tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "conftest.py").write_text("from hil_tests.conftest import pytest_configure\n")
    tests = [f"def test_{name}(capsys, tmp_path):\n    {code}\n" for name, code in LEAKS.items()]
    tests.append(
        "def test_fine(capsys):\n    logging.getLogger('bridge.x').debug('fine')\n    print('fine')\n"
    )
    (suite / "test_leaks.py").write_text(HEADER + "\n".join(tests))
    report = tmp_path / "report.txt"
    arguments = ["-p", "no:cacheprovider", "-q", "-rA", "--tb=no", "--rootdir", str(suite), str(suite)]
    with report.open("wb") as file:  # read below, and not through communicate(), which is watched
        subprocess.run([sys.executable, "-m", "pytest", *arguments], stdout=file, stderr=file, check=False)
    told = report.read_text()
    caught = set(re.findall(r"^(?:FAILED|ERROR) \S+::test_(\w+)", told, re.MULTILINE))
    assert caught == set(LEAKS), told


def test_what_the_watch_takes_for_a_secret() -> None:
    assert leak_in(f"a {MARK} b") is not None
    assert leak_in("?X-Amz-Signature=...&x") is None
    assert leak_in("-----BEGIN PRIVATE KEY-----...") is None

"""The credential store of a modem that does what real ones may do: refuse, forget, list no digest, fall silent."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.board import Board
from bridge.board.credential_files import find_thing_files, read_credential
from bridge.board.credential_types import CredentialType, NewCredential
from bridge.board.credentials import CredentialStore
from bridge.errors import (
    BoardRefusedError,
    BridgeError,
    InterruptedUpdateError,
    LinkError,
    UsageError,
    VerificationError,
)
from bridge.lab.pki import LabPki
from hil_tests.unit.board.scripted_peer import OK, Answer, ScriptedPeer

TAG = 42
IDENTITY = NewCredential(CredentialType.PSK_IDENTITY, "device-7")
PSK = NewCredential(CredentialType.PSK, "00ff")
WRITE = 'AT%CMNG=0,42,4,"device-7"'


def cme(code: int) -> str:
    return f"\r\n+CME ERROR: {code}\r\n"


def listing(*entries: NewCredential, digest: str | None = None) -> str:
    lines = "".join(
        f'\r\n%CMNG: {TAG},{one.type:d},"{one.sha256 if digest is None else digest}"' for one in entries
    )
    return f"{lines}\r\n{OK}"


class Modem(ScriptedPeer):
    """A modem that is on the network, and a store that is played by the test."""

    def __init__(self, **answers: Answer) -> None:
        self.mode, self.error_mode = 1, 0
        super().__init__(
            {
                "AT+CFUN?": lambda _: f"\r\n+CFUN: {self.mode}\r\n{OK}",
                "AT+CMEE?": lambda _: f"\r\n+CMEE: {self.error_mode}\r\n{OK}",
                **answers,
            }
        )
        for mode in (1, 4):
            self.answers[f"AT+CFUN={mode}"] = self._set_mode
        for mode in (0, 1):
            self.answers[f"AT+CMEE={mode}"] = self._set_error_mode

    def _set_mode(self, command: str) -> str:
        self.mode = int(command[-1])
        return OK

    def _set_error_mode(self, command: str) -> str:
        self.error_mode = int(command[-1])
        return OK


class QuotingModem(Modem):
    """As Serial Modem's host: a terminator within quotes does not end a command."""

    def _take(self, byte: bytes) -> None:
        within = self._line.count(b'"') % 2
        super()._take(b" " if byte == b"\r" and within else byte)


@contextmanager
def store_of(modem: Modem, told_to_stop: Callable[[], bool] = lambda: False) -> Iterator[CredentialStore]:
    with modem, Board.open(modem.path) as board:
        yield CredentialStore(board, told_to_stop=told_to_stop)
        assert (modem.mode, modem.error_mode) == (1, 0), "the modem must be left as it was found"


def test_given_an_empty_store_when_written_then_offline_and_compared_and_online_again() -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing()})
    modem.answers[WRITE] = lambda _: written(modem)
    with store_of(modem) as store:
        (entry,) = store.write(TAG, [IDENTITY])

    assert (entry.tag, entry.type, entry.sha256) == (TAG, CredentialType.PSK_IDENTITY, IDENTITY.sha256)
    begin = modem.commands.index("AT+CFUN=4")
    assert modem.commands[begin : begin + 3] == ["AT+CFUN=4", WRITE, "AT+CFUN=1"]


def written(modem: Modem, *entries: NewCredential) -> str:
    modem.answers["AT%CMNG=1,42"] = listing(*(entries or (IDENTITY,)))
    return OK


def test_given_the_same_is_there_when_written_then_nothing_is_touched() -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing(IDENTITY)})
    with store_of(modem) as store:
        assert store.write(TAG, [IDENTITY])[0].sha256 == IDENTITY.sha256

    assert not {"AT+CFUN=4", WRITE} & set(modem.commands)


def test_given_something_else_is_there_when_written_then_all_is_refused_unless_replaced() -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing(IDENTITY, digest="00" * 32)})
    modem.answers[WRITE] = lambda _: written(modem, IDENTITY, PSK)
    modem.answers['AT%CMNG=0,42,3,"00ff"'] = OK
    with store_of(modem) as store:
        with pytest.raises(BoardRefusedError) as caught:
            store.write(TAG, [PSK, IDENTITY])
        assert "AT+CFUN=4" not in modem.commands
        store.write(TAG, [PSK, IDENTITY], replace=True)

    assert caught.value.reason == "credential-exists"
    assert "psk-identity" in caught.value.message


def test_given_a_modem_that_does_not_write_over_when_replaced_then_it_is_deleted_first() -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing(IDENTITY, digest="00" * 32)})

    def deleted(_: str) -> str:
        modem.answers[WRITE] = lambda _: written(modem)
        return OK

    modem.answers |= {WRITE: cme(519), "AT%CMNG=3,42,4": deleted}
    with store_of(modem) as store:
        store.write(TAG, [IDENTITY], replace=True)

    assert [line for line in modem.commands if "CMNG=0" in line or "CMNG=3" in line] == [
        WRITE,
        "AT%CMNG=3,42,4",
        WRITE,
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (513, "credential-not-found"),
        (514, "credential-access"),
        (515, "credential-store-full"),
        (518, "modem-active"),
        (523, "keygen-failed"),
        (528, "power-low"),
        (50, "cme-50"),
    ],
)
def test_given_a_refusal_when_written_then_its_number_has_a_name_and_the_modem_is_online_again(
    code: int, reason: str
) -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing(), WRITE: cme(code)})
    with store_of(modem) as store, pytest.raises(BoardRefusedError) as caught:
        store.write(TAG, [IDENTITY])

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "after", [listing(IDENTITY, digest="AB" * 32), listing()], ids=["another digest", "nothing"]
)
def test_given_a_modem_that_stored_something_else_when_written_then_that_is_an_error(after: str) -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing()})

    def lost(_: str) -> str:
        modem.answers["AT%CMNG=1,42"] = after
        return OK

    modem.answers[WRITE] = lost
    with store_of(modem) as store, pytest.raises(VerificationError) as caught:
        store.write(TAG, [IDENTITY])

    assert caught.value.reason == "credential-mismatch"
    assert caught.value.exit_code == 7


def test_given_a_modem_that_lists_no_digest_when_written_then_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing()})

    def stored(_: str) -> str:
        modem.answers["AT%CMNG=1,42"] = f"\r\n%CMNG: 42, 4\r\n{OK}"
        return OK

    modem.answers[WRITE] = stored
    with store_of(modem) as store:
        assert store.write(TAG, [IDENTITY])[0].sha256 == ""
    assert "could not be compared" in caplog.text


def test_given_a_stop_when_asked_between_two_credentials_then_the_first_is_there_and_the_modem_online() -> (
    None
):
    modem = Modem(**{"AT%CMNG=1,42": listing(), WRITE: OK})
    with (
        store_of(modem, lambda: WRITE in modem.commands) as store,
        pytest.raises(InterruptedUpdateError) as caught,
    ):
        store.write(TAG, [IDENTITY, PSK])

    assert caught.value.exit_code == 130
    assert not [line for line in modem.commands if "00ff" in line]


@pytest.mark.parametrize("error", [KeyboardInterrupt, LinkError])
def test_given_a_command_that_was_cut_off_when_leaving_then_the_line_is_put_in_step_before_cfun(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a credential leaves a quote open, which would swallow everything that follows."""
    modem = QuotingModem(**{"AT%CMNG=1,42": listing()})
    with store_of(modem) as store:
        command = store._board.at.command

        def cut_off(text: str, **options: Any) -> list[str]:
            if text == WRITE:
                store._board.at.write_raw(b'AT%CMNG=0,42,4,"dev', 1.0)
                raise error("cut off")
            return command(text, **options)

        with monkeypatch.context() as patched, pytest.raises(error):
            patched.setattr(store._board.at, "command", cut_off)
            store.write(TAG, [IDENTITY])
    assert modem.commands[-1] in {"AT+CFUN=1", "AT+CMEE=0"}


def test_given_the_modems_own_and_unknown_types_when_listed_then_they_are_told_as_they_are() -> None:
    text = f'\r\n%CMNG: 4294967294, 6, "{"0a" * 32}"\r\n%CMNG: 7,7,"{"0B" * 32}"\r\n{OK}'
    with store_of(Modem(**{"AT%CMNG=1": text})) as store:
        own, unknown = store.entries()

    assert (own.is_own, own.type, own.sha256) == (True, CredentialType.DEVICE_IDENTITY, "0A" * 32)
    assert (unknown.is_own, unknown.type, unknown.to_dict()["kind"]) == (False, 7, "7")


def test_given_a_list_that_makes_no_sense_then_that_is_said() -> None:
    with (
        store_of(Modem(**{"AT%CMNG=1": f"\r\n%CMNG: x,y\r\n{OK}"})) as store,
        pytest.raises(LinkError) as caught,
    ):
        store.entries()
    assert caught.value.reason == "bad-answer"


@pytest.mark.parametrize("answer", ['%KEYGEN: "AAAA.BBBB"', "%KEYGEN: ", "nonsense"])
def test_given_no_genuine_request_when_a_key_is_made_then_that_is_an_error(answer: str) -> None:
    modem = Modem(**{"AT%CMNG=1,42": listing(), "AT%KEYGEN=42,2,0": f"\r\n{answer}\r\n{OK}"})
    with store_of(modem) as store, pytest.raises(VerificationError) as caught:
        store.generate_key(TAG)
    assert caught.value.reason == "bad-signing-request"


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    own = LabPki(directory)
    for name in ("board-1", "board-10"):
        own.issue_client(name)
    return directory


def test_given_a_directory_of_several_things_when_one_is_named_then_its_files_are_found(pki: Path) -> None:
    files = find_thing_files(pki, "board-1")
    assert (files.ca_file.name, files.cert_file.name, files.key_file.name) == (
        "ca.pem",
        "thing-board-1.pem",
        "thing-board-1.key",
    )
    assert [one.type for one in files.read()] == [0, 1, 2]


def test_given_files_as_aws_makes_them_when_named_by_the_file_then_they_are_found(
    pki: Path, tmp_path: Path
) -> None:
    """AWS's certificates do not name the thing."""
    for number, name in enumerate(("board-1", "board-10")):
        certificate = (pki / f"thing-{name}.pem").read_bytes()
        (tmp_path / f"board-{number}.certificate.pem.crt").write_bytes(certificate)
        (tmp_path / f"board-{number}.private.pem.key").write_bytes((pki / f"thing-{name}.key").read_bytes())
    (tmp_path / "AmazonRootCA1.pem").write_bytes((pki / "ca.pem").read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "notes.txt").write_bytes(b"\xff\x00 nothing")
    files = find_thing_files(tmp_path, "board-0")
    assert files.key_file.name == "board-0.private.pem.key"
    assert "\r" not in files.read()[0].content


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        (lambda directory, pki: None, "no certificate"),
        (lambda directory, pki: _copy(pki, directory, "thing-board-1.pem"), "no certificate"),
        (lambda directory, pki: _copy(pki, directory, "thing-board-1.pem", "thing-board-10.key"), "no cert"),
        (lambda directory, pki: _copy(pki, directory, "thing-board-1.pem", "thing-board-1.key"), "no CA"),
        (
            lambda directory, pki: _copy(
                pki, directory, "ca.pem", *(f"thing-board-{n}.{e}" for n in (1, 10) for e in ("pem", "key"))
            ),
            "more than one (2) certificate",
        ),
    ],
)
def test_given_a_directory_without_all_of_a_thing_when_looked_into_then_it_says_what_is_missing(
    pki: Path, tmp_path: Path, prepare: Callable[[Path, Path], None], complaint: str
) -> None:
    prepare(tmp_path, pki)
    with pytest.raises(UsageError) as caught:
        find_thing_files(tmp_path)
    assert complaint in caught.value.message
    assert caught.value.reason == "bad-thing-files"


def _copy(source: Path, target: Path, *names: str) -> None:
    for name in names:
        (target / name).write_bytes((source / name).read_bytes())


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (CredentialType.ROOT_CA, b"no certificate"),
        (CredentialType.CLIENT_CERTIFICATE, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        (CredentialType.PRIVATE_KEY, b"-----BEGIN PRIVATE KEY-----\n=\n-----END PRIVATE KEY-----"),
        (CredentialType.PSK, b"00f"),
        (CredentialType.PSK, b"not hex"),
        (CredentialType.PSK_IDENTITY, b'with "quotes"'),
        (CredentialType.PSK_IDENTITY, b""),
        (CredentialType.PSK_IDENTITY, b"\xff"),
        (CredentialType.ROOT_CA, bytes(70_000)),
    ],
)
def test_given_a_file_that_holds_something_else_when_read_then_it_is_refused_without_quoting_it(
    tmp_path: Path, kind: CredentialType, content: bytes
) -> None:
    file = tmp_path / "credential"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_credential(file, kind)
    assert caught.value.reason == "bad-credential"
    assert "AAAA" not in caught.value.message


def test_given_an_encrypted_key_when_read_then_it_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    file = tmp_path / "key.pem"
    file.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    with pytest.raises(UsageError, match="not encrypted"):
        read_credential(file, CredentialType.PRIVATE_KEY)


def test_given_a_key_open_to_others_when_read_then_that_is_said(
    pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = pki / "thing-board-10.key"
    key.chmod(0o644)
    read_credential(key, CredentialType.PRIVATE_KEY)
    key.chmod(0o600)
    assert "open to other users" in caplog.text


def test_given_a_private_key_when_written_or_shown_then_no_part_of_it_gets_out(
    pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = read_credential(pki / "thing-board-1.key", CredentialType.PRIVATE_KEY)
    command = f'AT%CMNG=0,42,2,"{key.content}"'
    # An echo comes back line by line.
    modem = Modem(**{"AT%CMNG=1,42": listing(), command: f"{command}\r\n{cme(50)}"})
    with store_of(modem) as store, pytest.raises(BridgeError) as caught:
        store.write(TAG, [key])

    shown = caplog.text + str(caught.value) + repr(key)
    assert "CMNG=0,42,2" in shown
    assert not [line for line in key.content.splitlines()[1:-1] if line in shown]
    assert re.search(r"NewCredential\(private-key, \d+ characters\)", repr(key))

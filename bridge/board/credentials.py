"""The modem's credential store, typed: what a board needs to connect by itself is listed, written, deleted and made here.

Sources: Nordic's nRF91 AT commands reference, ``%CMNG`` (operations, types, error codes; writing and deleting only while
the modem is not active) and ``%KEYGEN`` (answer: base64url of the request, a dot, base64url of a COSE signature); that the
digest in the list is the SHA-256 of the text as written is read in nrfcredstore.
"""

import base64
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from cryptography import x509

from bridge.board.board import Board
from bridge.board.credential_types import CredentialEntry, CredentialType, NewCredential
from bridge.errors import BoardRefusedError, BridgeError, InterruptedUpdateError, LinkError, VerificationError
from bridge.wire.at import split_fields

_log = logging.getLogger(__name__)

WRITE_TIMEOUT_S: Final = 30.0
KEYGEN_TIMEOUT_S: Final = 60.0
_CLIENT_KEY_AND_REQUEST: Final = "2,0"


_REFUSAL_REASONS: Final = {
    "cme-513": ("credential-not-found", "there is no such credential"),
    "cme-514": ("credential-access", "the modem does not allow that with this credential"),
    "cme-515": ("credential-store-full", "the modem's credential store is full"),
    "cme-518": ("modem-active", "the modem is active, and does not change credentials then"),
    "cme-519": ("credential-exists", "there is such a credential already"),
    "cme-523": ("keygen-failed", "the modem could not make a key"),
    "cme-528": ("power-low", "the modem's supply is so low that it changes nothing"),
}


class CredentialStore:
    """The store of one board.

    Changes need a modem that is off the network: it is taken there for as long as a change takes, and brought back in any
    case, also after a failure.

    Args:
        board: An open board whose firmware passes AT commands on to the modem.
        told_to_stop: Asked between two steps; what was begun is brought to its end, nothing more is begun.
    """

    def __init__(self, board: Board, *, told_to_stop: Callable[[], bool] = lambda: False) -> None:
        self._board = board
        self._told_to_stop = told_to_stop

    def entries(self, tag: int | None = None, kind: CredentialType | None = None) -> list[CredentialEntry]:
        """What the store holds.

        Raises:
            BoardRefusedError: The board does not pass the command on.
            LinkError: It stopped answering.
        """
        # The type cannot be asked for without a tag.
        parameters = "" if tag is None else f",{tag}"
        with self._numbered_errors():
            lines = self._ask(f"AT%CMNG=1{parameters}")
        entries = [_entry(line) for line in lines if line.startswith("%CMNG:")]
        return [entry for entry in entries if kind in (None, entry.type)]

    def write(
        self, tag: int, credentials: Sequence[NewCredential], *, replace: bool = False
    ) -> list[CredentialEntry]:
        """Write credentials under a tag, and make sure that the modem has them.

        What the store has already, by its digest, is left alone.

        Returns:
            The entries as the modem lists them now, in the order given.

        Raises:
            BoardRefusedError: Others are there and were not to be replaced (``credential-exists``; nothing was written), or
                the modem refuses.
            VerificationError: The modem lists another digest than that of what was written (``credential-mismatch``).
            InterruptedUpdateError: Told to stop before all were written.
            LinkError: The board stopped answering.
        """
        before = {entry.type: entry for entry in self.entries(tag)}
        wanted = [one for one in credentials if not _is_there(before.get(one.type), one)]
        taken = [one for one in wanted if one.type in before]
        if taken and not replace:
            raise _exists(tag, [one.type for one in taken])
        if wanted:
            with self._offline():
                for one in wanted:
                    self._check_stop()
                    self._write(tag, one, replaces=one.type in before)
        after = {entry.type: entry for entry in self.entries(tag)}
        return [_verified(tag, one, after.get(one.type)) for one in credentials]

    def delete(self, tag: int, kinds: Sequence[CredentialType]) -> None:
        """Delete credentials of a tag.

        Raises:
            BoardRefusedError: One is not there (``credential-not-found``), or the modem refuses.
            InterruptedUpdateError: Told to stop before all were deleted.
            LinkError: The board stopped answering.
        """
        with self._offline():
            for kind in kinds:
                self._check_stop()
                self._ask(f"AT%CMNG=3,{tag},{kind:d}")

    def generate_key(self, tag: int, *, subject: str = "", replace: bool = False) -> bytes:
        """Have the modem make a private key that never leaves it.

        Args:
            tag: Where the modem keeps the key.
            subject: Subject of the request, such as ``CN=my-thing,O=My company``; the modem's own choice if empty.
            replace: Delete a key that is there. Without one that fits, its certificate is of no use any more.

        Returns:
            The certificate signing request, DER; its signature was checked.

        Raises:
            BoardRefusedError: There is a key and it was not to be replaced (``credential-exists``), or the modem refuses.
            VerificationError: What came is no such request (``bad-signing-request``).
            LinkError: The board stopped answering.
        """
        there = self.entries(tag, CredentialType.PRIVATE_KEY)
        if there and not replace:
            raise _exists(tag, [CredentialType.PRIVATE_KEY])
        attributes = f',"{subject}"' if subject else ""
        with self._offline():
            if there:
                self._ask(f"AT%CMNG=3,{tag},{CredentialType.PRIVATE_KEY:d}")
            lines = self._ask(
                f"AT%KEYGEN={tag},{_CLIENT_KEY_AND_REQUEST}{attributes}", timeout_s=KEYGEN_TIMEOUT_S
            )
        request = _signing_request(lines)
        if not self.entries(tag, CredentialType.PRIVATE_KEY):
            raise VerificationError(
                f"the modem made a key, but lists none under tag {tag}", reason="credential-mismatch"
            )
        return request

    def _write(self, tag: int, one: NewCredential, *, replaces: bool) -> None:
        command = f'AT%CMNG=0,{tag},{one.type:d},"{one.content}"'
        try:
            self._ask(command)
        except BoardRefusedError as error:
            if error.reason != "credential-exists" or not replaces:
                raise
            # Some modem firmware writes over an entry, some wants it gone first.
            self._ask(f"AT%CMNG=3,{tag},{one.type:d}")
            self._ask(command)

    def _ask(self, command: str, *, timeout_s: float = WRITE_TIMEOUT_S) -> list[str]:
        try:
            return self._board.at.command(command, timeout_s=timeout_s)
        except BoardRefusedError as error:
            known = _REFUSAL_REASONS.get(error.reason)
            if known is None:
                raise
            raise BoardRefusedError(f"{known[1]} ({error.message})", reason=known[0]) from error

    def _check_stop(self) -> None:
        if self._told_to_stop():
            raise InterruptedUpdateError("told to stop; what was written so far is in the modem's store")

    @contextmanager
    def _offline(self) -> Iterator[None]:
        """Off the network as long as the block lasts, with errors that carry a number."""
        with self._numbered_errors():
            self._board.take_offline()
            try:
                yield
            except (LinkError, KeyboardInterrupt):
                # A command that was cut off may have left a quote open.
                with contextlib.suppress(BridgeError):
                    self._board.at.synchronise()
                raise
            finally:
                self._board.go_back_online()

    @contextmanager
    def _numbered_errors(self) -> Iterator[None]:
        """``+CME ERROR: 513`` instead of ``ERROR``, as long as the block lasts."""
        modem = self._board.modem
        before = modem.error_mode()
        if before != 1:
            modem.set_error_mode(1)
        try:
            yield
        finally:
            if before != 1:
                with contextlib.suppress(BridgeError):
                    modem.set_error_mode(before)


def _entry(line: str) -> CredentialEntry:
    fields = [field.strip() for field in split_fields(line.removeprefix("%CMNG:"))]
    try:
        tag, number = int(fields[0]), int(fields[1])
    except (ValueError, IndexError) as error:
        raise LinkError(f"the board listed a credential as {line!r}", reason="bad-answer") from error
    known = number in CredentialType.__members__.values()
    return CredentialEntry(
        tag, CredentialType(number) if known else number, fields[2].upper() if len(fields) > 2 else ""
    )


def _is_there(entry: CredentialEntry | None, wanted: NewCredential) -> bool:
    return entry is not None and entry.sha256 == wanted.sha256


def _verified(tag: int, wanted: NewCredential, entry: CredentialEntry | None) -> CredentialEntry:
    if entry is not None and not entry.sha256:
        _log.warning("the modem lists no digest: what it stored under tag %d could not be compared", tag)
        return entry
    if entry is None or entry.sha256 != wanted.sha256:
        listed = "nothing" if entry is None else f"digest {entry.sha256}"
        raise VerificationError(
            f"the {wanted.type.text} under tag {tag} is not what was written: the modem lists {listed},"
            f" the file has {wanted.sha256}",
            reason="credential-mismatch",
            hint="Write it again; is the line free of errors?",
        )
    return entry


def _exists(tag: int, kinds: Sequence[CredentialType]) -> BoardRefusedError:
    return BoardRefusedError(
        f"tag {tag} has another {' and '.join(kind.text for kind in kinds)} already; nothing was changed",
        reason="credential-exists",
        hint="Choose another tag; or --replace, if nothing needs what is there.",
    )


def _signing_request(lines: Sequence[str]) -> bytes:
    answer = next((line for line in lines if line.startswith("%KEYGEN:")), "")
    body = answer.removeprefix("%KEYGEN:").strip().strip('"').partition(".")[0]
    try:
        der = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        request = x509.load_der_x509_csr(der)
        genuine = request.is_signature_valid
    except ValueError:
        genuine = False
        der = b""
    if not genuine:
        raise VerificationError(
            "what the modem answered is no certificate signing request that its key signed",
            reason="bad-signing-request",
        )
    return der

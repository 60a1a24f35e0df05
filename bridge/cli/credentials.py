"""``nrf91-bridge credentials``: what a board needs to connect by itself, in its modem's store."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.journals import place_of, port_for_us
from bridge.cli.line_options import LineOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.cli.signals import stopping
from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.board.credential_types import CredentialEntry, CredentialType
    from bridge.board.credentials import CredentialStore

credentials_app = typer.Typer(
    name="credentials",
    help="List, write, delete and make credentials in the modem's store.",
    no_args_is_help=True,
)


class Kind(StrEnum):
    """What can be written; the numbers of ``%CMNG`` are in :mod:`bridge.board.credential_types`."""

    CA = "ca"
    CERT = "cert"
    KEY = "key"
    PSK = "psk"
    PSK_IDENTITY = "psk-identity"


TagArgument = Annotated[
    int, typer.Argument(min=0, max=2_147_483_647, help="Security tag, as in the board's firmware.")
]
KindOption = Annotated[
    list[Kind] | None,
    typer.Option("--type", help="Which of the tag's credentials; may be repeated. Default: all of them."),
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace what is there under that tag.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(credentials_app)


@credentials_app.command("list")
@takes_groups
def list_credentials(
    tag: Annotated[int | None, typer.Option(min=0, help="Only this security tag.")] = None,
    *,
    line: LineOptions,
    json: JsonOption = False,
) -> None:
    """Show which credentials the modem has, by tag and type, with their digests; nothing secret leaves it."""
    use_json(json)
    with _store(line) as store:
        entries = store.entries(tag)
    _show(entries, json=json)


@credentials_app.command("write")
@takes_groups
def write(
    tag: TagArgument,
    kind: Annotated[Kind | None, typer.Argument(help="What the file holds.")] = None,
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="PEM; hex digits for a PSK.")
    ] = None,
    thing_files: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Write CA, certificate and key of a thing from this directory instead, found by what the files hold.",
        ),
    ] = None,
    thing: Annotated[str | None, typer.Option(help="Which thing, if the directory holds several.")] = None,
    ca: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Which CA, if the directory holds several."),
    ] = None,
    replace: ReplaceOption = False,
    *,
    line: LineOptions,
    json: JsonOption = False,
) -> None:
    """Write credentials under a tag and compare what the modem lists; what it has already is left alone."""
    use_json(json)
    from bridge.board.credential_files import find_thing_files, read_credential  # noqa: PLC0415

    if thing_files is not None and kind is None:
        files = find_thing_files(thing_files, thing, ca)
        wanted = files.read()
    elif kind is not None and file is not None and thing_files is None:
        wanted = [read_credential(file, _type_of(kind))]
    else:
        raise UsageError("give a type and a file, or --thing-files DIR")
    with _store(line) as store:
        written = store.write(tag, wanted, replace=replace)
    _show(written, json=json)


@credentials_app.command("delete")
@takes_groups
def delete(
    tag: TagArgument,
    kind: KindOption = None,
    *,
    line: LineOptions,
    json: JsonOption = False,
) -> None:
    """Delete credentials of a tag. A key that the modem made is gone for good: nobody else has it."""
    use_json(json)
    from bridge.board.credential_types import CredentialType  # noqa: PLC0415
    from bridge.errors import BoardRefusedError  # noqa: PLC0415

    with _store(line) as store:
        there = [entry.type for entry in store.entries(tag) if isinstance(entry.type, CredentialType)]
        kinds = [_type_of(one) for one in kind] if kind else there
        missing = [one.text for one in kinds if one not in there]
        if missing or not kinds:
            raise BoardRefusedError(
                f"the modem has no {' and no '.join(missing) or 'credential'} under tag {tag}",
                reason="credential-not-found",
            )
        store.delete(tag, kinds)
    if json:
        emit_json({"event": "credentials-deleted", "tag": tag, "types": [int(one) for one in kinds]})
    else:
        out.print(f"deleted under tag {tag}: {', '.join(one.text for one in kinds)}")


@credentials_app.command("keygen")
@takes_groups
def keygen(
    tag: TagArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the signing request goes; must not exist.")
    ],
    subject: Annotated[
        str, typer.Option(help='Subject of the request, such as "CN=my-thing"; default: the modem\'s choice.')
    ] = "",
    der: Annotated[bool, typer.Option("--der", help="Write DER instead of PEM.")] = False,
    replace: ReplaceOption = False,
    *,
    line: LineOptions,
    json: JsonOption = False,
) -> None:
    """Have the modem make a private key that never leaves it, and write its certificate signing request."""
    use_json(json)
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    if '"' in subject:
        raise UsageError("the subject must be without quotes")
    with _new_file(output) as descriptor, _store(line) as store:
        request = x509.load_der_x509_csr(store.generate_key(tag, subject=subject, replace=replace))
        os.write(descriptor, request.public_bytes(Encoding.DER if der else Encoding.PEM))
    name = request.subject.rfc4514_string()
    if json:
        emit_json({"event": "key-generated", "tag": tag, "file": output, "subject": name})
    else:
        out.print(
            f"the modem made a private key under tag {tag}; the signing request for {name} is in {output}",
            markup=False,
            soft_wrap=True,
        )


@contextmanager
def _store(line: LineOptions) -> Iterator["CredentialStore"]:
    """The store of a board that is ours as long as the block lasts.

    A first Ctrl-C ends things between two credentials, and the modem goes back to the network.
    """
    from bridge.board.credentials import CredentialStore  # noqa: PLC0415

    stop = threading.Event()
    with (
        port_for_us(place_of(line.port, line.serial_number, "auto"), "nrf91-bridge credentials"),
        stopping(stop.set),
        line.open_board() as board,
    ):
        yield CredentialStore(board, told_to_stop=stop.is_set)


@contextmanager
def _new_file(file: Path) -> Iterator[int]:
    """A file that was not there before, and is not there after a failure either."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise UsageError(f"{file} exists already", reason="bad-output", hint="Choose another name.") from None
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}", reason="bad-output") from error
    try:
        yield descriptor
    except BaseException:
        file.unlink()
        raise
    finally:
        os.close(descriptor)


def _type_of(kind: Kind) -> "CredentialType":
    from bridge.board.credential_types import CredentialType  # noqa: PLC0415

    return {
        Kind.CA: CredentialType.ROOT_CA,
        Kind.CERT: CredentialType.CLIENT_CERTIFICATE,
        Kind.KEY: CredentialType.PRIVATE_KEY,
        Kind.PSK: CredentialType.PSK,
        Kind.PSK_IDENTITY: CredentialType.PSK_IDENTITY,
    }[kind]


def _show(entries: "list[CredentialEntry]", *, json: bool) -> None:
    if json:
        emit_json({"event": "credentials", "credentials": [entry.to_dict() for entry in entries]})
        return
    if not entries:
        console.print("the modem has no credentials there")
    for entry in entries:
        line = entry.to_dict()
        own = "  (the modem's own)" if entry.is_own else ""
        # Digests are there to be compared: lines are neither cut nor folded.
        out.print(f"{entry.tag:<11}{line['kind']:<20}{entry.sha256}{own}", soft_wrap=True)

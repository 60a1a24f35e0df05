"""``nrf91-bridge smp``: image states and uploads on a board whose application runs Zephyr's SMP server."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import BaudOption, FlowControlOption, JsonOption, PortOption, SerialNumberOption
from bridge.cli.output import console, emit_json, use_json

if TYPE_CHECKING:
    from bridge.board.smp_client import ImageState, SmpClient

_ERASE_TIMEOUT_S = 60.0
_CHUNK_BYTES = 4096

LineOption = Annotated[
    int,
    typer.Option(
        "--line-bytes",
        min=16,
        help="Longest line that the board takes; more than 127 only if its firmware was built for it.",
    ),
]

app = typer.Typer(
    help="Image slots over SMP (MCUmgr), on boards with Zephyr's SMP server.", no_args_is_help=True
)


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(app, name="smp")


@app.command()
def state(
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    flow_control: FlowControlOption = True,
    json: JsonOption = False,
) -> None:
    """Show what is in the image slots."""
    use_json(json)
    with _client(port, serial_number, baud, flow_control) as client:
        _show(client.image_states(), json=json)


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Signed application image.")],
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    flow_control: FlowControlOption = True,
    line_bytes: LineOption = 127,
    test: Annotated[bool, typer.Option("--test", help="Have it started on trial at the next reset.")] = False,
    json: JsonOption = False,
) -> None:
    """Write an image into the secondary slot; an upload that was cut off goes on where it was."""
    use_json(json)
    from bridge.dfu.smp_upload import SmpUpload  # noqa: PLC0415
    from bridge.errors import ImageRefusedError, VerificationError  # noqa: PLC0415
    from bridge.image import ImageKind, inspect_file  # noqa: PLC0415

    image = inspect_file(file)
    if image.kind is not ImageKind.APPLICATION or image.mcuboot is None:
        raise ImageRefusedError(f"{file.name} is {image.kind}, not an application image", reason="wrong-kind")
    data, digest = file.read_bytes(), image.mcuboot.digest
    with _client(port, serial_number, baud, flow_control, line_bytes) as client:
        job = SmpUpload(client, client.parameters(), len(data), hashlib.sha256(data).digest())
        for start in range(0, len(data), _CHUNK_BYTES):
            job.write(data[start : start + _CHUNK_BYTES])
        job.finish()
        states = client.image_states()
        if digest not in {each.digest for each in states}:
            raise VerificationError(
                f"the board does not list {file.name} after its upload",
                reason="not-listed",
                hint="Upload it again.",
            )
        _show(client.test(digest) if test else states, json=json)


@app.command("test")
def mark_for_test(
    digest: Annotated[str, typer.Argument(help="Image digest, as `smp state` shows it.")],
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    flow_control: FlowControlOption = True,
    json: JsonOption = False,
) -> None:
    """Have an image started on trial at the next reset."""
    use_json(json)
    _check_digest(digest)
    with _client(port, serial_number, baud, flow_control) as client:
        _show(client.test(digest), json=json)


@app.command()
def confirm(
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    flow_control: FlowControlOption = True,
    json: JsonOption = False,
) -> None:
    """Keep the image that runs."""
    use_json(json)
    with _client(port, serial_number, baud, flow_control) as client:
        _show(client.confirm(), json=json)


@app.command()
def erase(
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    flow_control: FlowControlOption = True,
    json: JsonOption = False,
) -> None:
    """Erase the secondary slot."""
    use_json(json)
    with _client(port, serial_number, baud, flow_control) as client:
        client.erase(_ERASE_TIMEOUT_S)
        _show(client.image_states(), json=json)


@app.command()
def reset(
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    flow_control: FlowControlOption = True,
) -> None:
    """Restart the board; it swaps if an image is pending."""
    with _client(port, serial_number, baud, flow_control) as client:
        client.reset()


@contextmanager
def _client(
    port: str | None, serial_number: str | None, baud: int, flow_control: bool, line_bytes: int = 127
) -> "Iterator[SmpClient]":
    from bridge.board.link import Link  # noqa: PLC0415
    from bridge.board.ports import choose_port  # noqa: PLC0415
    from bridge.board.smp_client import SmpClient  # noqa: PLC0415

    link = Link(choose_port(port, serial_number), baud=baud, flow_control=flow_control)
    client = SmpClient(link, line_bytes=line_bytes)
    link.open()
    try:
        yield client
    finally:
        link.close()


def _check_digest(digest: str) -> None:
    from bridge.errors import UsageError  # noqa: PLC0415

    try:
        bytes.fromhex(digest)
    except ValueError:
        raise UsageError(
            f"{digest!r} is no image digest in hex", reason="bad-digest", hint="`smp state` shows them."
        ) from None


def _show(states: "tuple[ImageState, ...]", *, json: bool) -> None:
    for each in states:
        if json:
            emit_json({"event": "image", **asdict(each)})
            continue
        flags = [
            name
            for name in ("active", "confirmed", "pending", "permanent", "bootable")
            if getattr(each, name)
        ]
        console.print(f"image {each.image} slot {each.slot}: {each.version} {' '.join(flags)}")
        console.print(f"  {each.digest or 'no digest'}")

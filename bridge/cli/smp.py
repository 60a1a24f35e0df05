"""``nrf91-bridge smp``: image states and uploads on a board whose application runs Zephyr's SMP server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.line_options import PortOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, use_json
from bridge.cli.route_options import LineBytesOption, UploadImageOption
from bridge.cli.state_files import notes_file

if TYPE_CHECKING:
    from bridge.board.smp_answers import ImageState
    from bridge.board.smp_board import SmpBoard
    from bridge.board.smp_client import SmpClient

_ERASE_TIMEOUT_S = 60.0

app = typer.Typer(
    help="Image slots over SMP (MCUmgr): Zephyr's server in an application, or MCUboot's recovery.",
    no_args_is_help=True,
)


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(app, name="smp")


@app.command()
@takes_groups
def state(
    line: PortOptions,
    json: JsonOption = False,
) -> None:
    """Show what is in the image slots."""
    use_json(json)
    with _client(line) as client:
        _show(client.image_states(), json=json)


@app.command()
@takes_groups
def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Signed application image.")],
    line: PortOptions,
    line_bytes: LineBytesOption = 127,
    upload_image: UploadImageOption = None,
    test: Annotated[bool, typer.Option("--test", help="Have it started on trial at the next reset.")] = False,
    json: JsonOption = False,
) -> None:
    """Write an image into the secondary slot (in recovery: where its build lets it); goes on where it was cut off."""
    use_json(json)
    import hashlib  # noqa: PLC0415

    from bridge.dfu import TransferImage  # noqa: PLC0415
    from bridge.dfu.smp import SmpTarget  # noqa: PLC0415
    from bridge.dfu.upload_notes import UploadNotes  # noqa: PLC0415
    from bridge.errors import ImageRefusedError, UsageError  # noqa: PLC0415
    from bridge.image import ImageKind, inspect_file  # noqa: PLC0415

    image = inspect_file(file)
    if image.kind is not ImageKind.APPLICATION or image.mcuboot is None:
        raise ImageRefusedError(f"{file.name} is {image.kind}, not an application image", reason="wrong-kind")
    data = file.read_bytes()
    with _board(line, line_bytes) as board:
        target = SmpTarget(board, notes=UploadNotes(notes_file()), upload_image=upload_image)
        if target.in_place:
            if test:
                raise UsageError(
                    "this recovery writes over the image that runs; there is no trial",
                    reason="no-trial",
                    hint="Leave --test out; or --upload-image 2, if this build has direct upload, as Thingy:91 X has.",
                )
            console.print("this recovery writes over the image that runs; if it is cut off, upload it again")
        wanted = TransferImage(image.kind, len(data), hashlib.sha256(data).hexdigest())
        start = target.begin(wanted)
        for offset in range(start, len(data), target.chunk_size_bytes):
            target.write(data[offset : offset + target.chunk_size_bytes])
        target.finish()
        if target.in_place or test:
            target.schedule(image.mcuboot.digest)
        else:
            target.check_listed(image.mcuboot.digest)
        _show(board.image_states(), json=json)


@app.command("test")
@takes_groups
def mark_for_test(
    digest: Annotated[str, typer.Argument(help="Image digest, as `smp state` shows it.")],
    line: PortOptions,
    json: JsonOption = False,
) -> None:
    """Have an image started on trial at the next reset."""
    use_json(json)
    _check_digest(digest)
    with _client(line) as client:
        _show(client.test(digest), json=json)


@app.command()
@takes_groups
def confirm(
    line: PortOptions,
    json: JsonOption = False,
) -> None:
    """Keep the image that runs."""
    use_json(json)
    with _client(line) as client:
        _show(client.confirm(), json=json)


@app.command()
@takes_groups
def erase(
    line: PortOptions,
    slot: Annotated[
        int | None, typer.Option("--slot", min=0, help="Slot to erase, counted over all images.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Erase the secondary slot, or another one that is not in use."""
    use_json(json)
    with _client(line) as client:
        client.erase(_ERASE_TIMEOUT_S, slot)
        _show(client.image_states(), json=json)


@app.command()
@takes_groups
def reset(
    line: PortOptions,
    recovery: Annotated[
        bool, typer.Option("--recovery", help="Come up in MCUboot's serial recovery, if the board can.")
    ] = False,
) -> None:
    """Restart the board; it swaps if an image is pending."""
    from bridge.board.smp_board import RECOVERY_BOOT_MODE  # noqa: PLC0415

    with _client(line) as client:
        client.reset(boot_mode=RECOVERY_BOOT_MODE if recovery else None)


@app.command()
@takes_groups
def slots(
    line: PortOptions,
    json: JsonOption = False,
) -> None:
    """Show the slots themselves: sizes, and the numbers that uploads to them take."""
    use_json(json)
    with _client(line) as client:
        for slot in client.slot_info():
            if json:
                emit_json({"event": "slot", **asdict(slot)})
                continue
            target = "" if slot.upload_image_id is None else f", uploads to image {slot.upload_image_id}"
            console.print(f"image {slot.image} slot {slot.slot}: {slot.size_bytes} bytes{target}")


@contextmanager
def _board(line: PortOptions, line_bytes: int = 127) -> "Iterator[SmpBoard]":
    from bridge.board.smp_board import SmpBoard  # noqa: PLC0415

    with SmpBoard.open(
        line.choose(), baud=line.baud, flow_control=line.flow_control, line_bytes=line_bytes
    ) as board:
        yield board


@contextmanager
def _client(line: PortOptions) -> "Iterator[SmpClient]":
    with _board(line) as board:
        yield board.client


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

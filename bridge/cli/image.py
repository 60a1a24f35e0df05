"""``nrf91-bridge image inspect``: what a firmware file is, as a person wants to read it or as JSON."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import image_delta, image_store
from bridge.cli.options import JsonOption, KeyOption
from bridge.cli.output import emit_json, out, use_json
from bridge.cli.policy_options import read_key

if TYPE_CHECKING:
    from bridge.image import FirmwareImage


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Look at firmware files, make deltas, keep known images.")
    group.command("inspect")(inspect)
    image_delta.register(group)
    image_store.register(group)
    app.add_typer(group, name="image")


def inspect(
    file: Annotated[Path, typer.Argument(help="Any firmware file; it is told from its content.")],
    key: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a file is, and refuse it (exit code 5) when it is broken or no firmware."""
    use_json(json)
    from bridge.image import inspect_file, verify_signature  # noqa: PLC0415

    image = inspect_file(file)
    if key is not None:
        pem = read_key(key)
        for signed in _signed_images(image):
            verify_signature(signed, pem)
    if json:
        emit_json({"event": "image", **image.to_dict(), "signature_verified": key is not None})
    else:
        _show(image, key)


def _signed_images(image: "FirmwareImage") -> "list[FirmwareImage]":
    """What a key is held against: the file itself, or every MCUboot image in it."""
    from bridge.image.package import member_image  # noqa: PLC0415

    if image.intel_hex is not None and image.intel_hex.images:
        return [replace(image, mcuboot=found.mcuboot) for found in image.intel_hex.images]
    if image.dfu_package is not None and image.dfu_package.members:
        return [member_image(member) for member in image.dfu_package.members]
    return [image]


def _show(image: "FirmwareImage", key: Path | None) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from bridge.cli.image_view import detail_table, summary_rows  # noqa: PLC0415

    summary = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    summary.add_column(style="bold", no_wrap=True)
    summary.add_column(overflow="fold")
    for label, text in summary_rows(image):
        summary.add_row(label, text)
    if key is not None:
        summary.add_row("signature", Text.assemble(("verified", "green"), f" with {key.name}"))
    elif image.mcuboot is not None and image.mcuboot.signature_names:
        summary.add_row("signature", "not checked; give --key")
    out.print(summary)
    details = detail_table(image)
    if details is not None:
        out.print(details)

"""``nrf91-bridge flash``: one local image onto one board; check, transfer, reboot, verify, confirm, without any cloud."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import (
    BaudOption,
    DowngradeOption,
    FlowControlOption,
    JsonOption,
    KeyOption,
    PortOption,
    SameVersionOption,
    SerialNumberOption,
    SlotSizeOption,
    TimeoutOption,
    TransferBaudOption,
)
from bridge.cli.output import use_json

if TYPE_CHECKING:
    from bridge.board import Board
    from bridge.fota import Policy
    from bridge.image import ImageSource


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("flash")(flash)


def flash(
    file: Annotated[
        Path, typer.Argument(help="Signed application image, dfu_application.zip or modem delta.")
    ],
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    transfer_baud: TransferBaudOption = 1_000_000,
    flow_control: FlowControlOption = True,
    timeout: TimeoutOption = 10.0,
    key: KeyOption = None,
    allow_same_version: SameVersionOption = False,
    allow_downgrade: DowngradeOption = False,
    slot_size: SlotSizeOption = None,
    check_only: Annotated[
        bool, typer.Option("--dry-run", help="All checks, board included, but no write.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write an image into the board, reboot, and prove that the board runs it and confirmed it."""
    use_json(json)
    from bridge.cli.view import UpdateView  # noqa: PLC0415
    from bridge.fota import Update, UpdateOptions, over_at  # noqa: PLC0415

    options = UpdateOptions(
        policy=make_policy(key, allow_same_version, allow_downgrade, slot_size),
        transfer_baud=transfer_baud or None,
        check_only=check_only,
    )
    source = open_image(file)
    update = Update(
        source, over_at(board_opener(port, serial_number, baud, flow_control, timeout)), options=options
    )
    with UpdateView(json=json) as view, closing(iter(update)) as events:
        for event in events:
            view.show(event)
    if update.error is not None:
        raise update.error


def make_policy(
    key: Path | None, allow_same_version: bool, allow_downgrade: bool, slot_size: int | None
) -> "Policy":
    """Build the policy that the common options describe."""
    from bridge.fota.policy import FLASH_SIZE_BYTES, Policy  # noqa: PLC0415

    return Policy(
        allow_same_version=allow_same_version,
        allow_downgrade=allow_downgrade,
        public_key_pem=key.read_bytes() if key else None,
        slot_size_bytes=slot_size or FLASH_SIZE_BYTES,
    )


def board_opener(
    port: str | None, serial_number: str | None, baud: int, flow_control: bool, timeout_s: float
) -> "Callable[[], AbstractContextManager[Board]]":
    """A function that opens the chosen board, each time it is called; the port is looked for at that time."""
    from bridge.board import Board  # noqa: PLC0415
    from bridge.board.ports import choose_port  # noqa: PLC0415

    def open_board() -> "AbstractContextManager[Board]":
        return Board.open(
            choose_port(port, serial_number), baud=baud, flow_control=flow_control, timeout_s=timeout_s
        )

    return open_board


def open_image(file: Path) -> "ImageSource":
    """Open a local image; out of a DFU package its one application image is taken.

    Raises:
        ImageRefusedError: The file cannot be read, or the package has no or several application images.
    """
    from bridge.image import BytesSource, FileSource, ImageKind, inspect_file  # noqa: PLC0415
    from bridge.image.package import application_image  # noqa: PLC0415

    image = inspect_file(file)
    if image.kind is ImageKind.DFU_PACKAGE:
        application, data = application_image(file.read_bytes())
        return BytesSource(data, application.name)
    return FileSource(file)

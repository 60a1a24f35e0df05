"""``nrf91-bridge flash``: one local image onto one board; check, transfer, reboot, verify, confirm, without any cloud."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.image_store import open_store
from bridge.cli.options import (
    BaudOption,
    ConfirmOption,
    DowngradeOption,
    FlowControlOption,
    ImageStoreOption,
    JsonOption,
    KeyOption,
    LineBytesOption,
    MemberOption,
    PortOption,
    ProbeAddressOption,
    ProbeBoardOption,
    RecoveryOption,
    SameVersionOption,
    SerialNumberOption,
    SlotSizeOption,
    TimeoutOption,
    TransferBaudOption,
    TransportOption,
    UploadImageOption,
)
from bridge.cli.output import use_json
from bridge.cli.state_files import notes_file

if TYPE_CHECKING:
    from bridge.fota import Policy, RouteOpener
    from bridge.image import ImageSource


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("flash")(flash)


def flash(
    file: Annotated[
        Path,
        typer.Argument(
            help="Signed application image, application delta, modem delta, full modem firmware (CBOR), or a package:"
            " dfu_application.zip, dfu_mcuboot.zip, a modem release's zip."
        ),
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
    transport: TransportOption = "auto",
    line_bytes: LineBytesOption = 127,
    recovery: RecoveryOption = False,
    upload_image: UploadImageOption = None,
    confirm: ConfirmOption = True,
    member: MemberOption = None,
    address: ProbeAddressOption = None,
    board: ProbeBoardOption = None,
    store: ImageStoreOption = None,
    check_only: Annotated[
        bool, typer.Option("--dry-run", help="All checks, board included, but no write.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write an image into the board, reboot, and prove that the board runs it and confirmed it."""
    use_json(json)
    from bridge.cli.view import UpdateView  # noqa: PLC0415
    from bridge.fota import Update, UpdateOptions  # noqa: PLC0415

    options = UpdateOptions(
        policy=make_policy(key, allow_same_version, allow_downgrade, slot_size),
        transfer_baud=transfer_baud or None,
        check_only=check_only,
        member=member,
        image_store=open_store(store),
    )
    source = open_image(file)
    route = make_route(
        port,
        serial_number,
        transport=transport,
        baud=baud,
        flow_control=flow_control,
        timeout_s=timeout,
        line_bytes=line_bytes,
        recovery=recovery,
        upload_image=upload_image,
        confirms=confirm,
        probe_address=hex_address(address),
        probe_board=board,
    )
    update = Update(source, route, options=options)
    with UpdateView(json=json) as view, closing(iter(update)) as events:
        for event in events:
            view.show(event)
    if update.error is not None:
        raise update.error


def make_route(
    port: str | None,
    serial_number: str | None,
    *,
    transport: str,
    **options: Any,
) -> "RouteOpener":
    """Build the route opener that the common options describe; the port is looked for each time it is called.

    Args:
        port: Device name or URL.
        serial_number: USB serial number of the board, instead.
        transport: Name of the route.
        options: More of :class:`~bridge.fota.choose_route.RouteOptions`.
    """
    from bridge.board.ports import choose_port  # noqa: PLC0415
    from bridge.fota.choose_route import RouteOptions, Transport, route_opener  # noqa: PLC0415

    return route_opener(
        RouteOptions(
            lambda: choose_port(port, serial_number),
            Transport(transport),
            probe_serial_number=serial_number,
            notes_file=notes_file(),
            **options,
        )
    )


def hex_address(text: str | None) -> int | None:
    """Read an address in hexadecimal.

    Raises:
        UsageError: It is none.
    """
    from bridge.errors import UsageError  # noqa: PLC0415

    try:
        return None if text is None else int(text, 16)
    except ValueError:
        raise UsageError(f"{text!r} is no address in hex", reason="bad-address") from None


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


def open_image(file: Path) -> "ImageSource":
    """Open a local image or package; it is looked through before a board is opened for it.

    Raises:
        ImageRefusedError: The file cannot be read, or is no firmware, or broken.
    """
    from bridge.image import FileSource, inspect_file  # noqa: PLC0415

    inspect_file(file)
    return FileSource(file)

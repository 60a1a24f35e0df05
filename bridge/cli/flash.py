"""``nrf91-bridge flash``: one local image onto one board; check, transfer, reboot, verify, confirm, without any cloud."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.image_store import open_store
from bridge.cli.journals import open_journal, place_of, port_for_us
from bridge.cli.options import (
    BaudOption,
    ConfirmOption,
    FlowControlOption,
    ImageIndexOption,
    ImageStoreOption,
    JournalOption,
    JsonOption,
    LineBytesOption,
    MemberOption,
    PortOption,
    ProbeAddressOption,
    ProbeBoardOption,
    RecoveryOption,
    SerialNumberOption,
    TimeoutOption,
    TransferBaudOption,
    TransportOption,
    UploadImageOption,
)
from bridge.cli.output import use_json
from bridge.cli.policy_options import (
    DEFAULT_MIN_VOLTAGE_MV,
    DEFAULT_VOLTAGE_WAIT_S,
    DowngradeOption,
    FlashKeysOption,
    MaxSizeOption,
    MinVoltageOption,
    SameVersionOption,
    SlotSizeOption,
    VoltageWaitOption,
    make_policy,
)
from bridge.cli.signals import stopping
from bridge.cli.state_files import notes_file

if TYPE_CHECKING:
    from bridge.fota import RouteOpener
    from bridge.image import ImageSource

_OWNER = "nrf91-bridge flash"


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
    image_key: FlashKeysOption = None,
    allow_same_version: SameVersionOption = False,
    allow_downgrade: DowngradeOption = False,
    slot_size: SlotSizeOption = None,
    max_size: MaxSizeOption = None,
    min_voltage: MinVoltageOption = DEFAULT_MIN_VOLTAGE_MV,
    voltage_wait: VoltageWaitOption = DEFAULT_VOLTAGE_WAIT_S,
    transport: TransportOption = "auto",
    line_bytes: LineBytesOption = 127,
    recovery: RecoveryOption = False,
    upload_image: UploadImageOption = None,
    image_index: ImageIndexOption = 0,
    confirm: ConfirmOption = True,
    member: MemberOption = None,
    address: ProbeAddressOption = None,
    board: ProbeBoardOption = None,
    store: ImageStoreOption = None,
    journal: JournalOption = None,
    check_only: Annotated[
        bool, typer.Option("--dry-run", help="All checks, board included, but no write.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write an image into the board, reboot, and prove that the board runs it and confirmed it."""
    use_json(json)
    from bridge.cli.view import UpdateView  # noqa: PLC0415
    from bridge.fota import Update, UpdateOptions  # noqa: PLC0415
    from bridge.fota.local_update import LocalUpdate  # noqa: PLC0415

    options = UpdateOptions(
        policy=make_policy(
            image_key,
            allow_same_version=allow_same_version,
            allow_downgrade=allow_downgrade,
            slot_size=slot_size,
            max_size=max_size,
            min_voltage=min_voltage,
            voltage_wait=voltage_wait,
        ),
        transfer_baud=transfer_baud or None,
        check_only=check_only,
        image_index=image_index,
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
    with ExitStack() as stack:
        stack.callback(source.close)
        update: Update | LocalUpdate
        if check_only:
            update = Update(source, route, options=options)
        else:
            place = place_of(port, serial_number, transport)
            stack.enter_context(port_for_us(place, _OWNER))
            opened = stack.enter_context(open_journal(journal, place, _OWNER))
            update = LocalUpdate(source, route, opened, place, options)
            stack.enter_context(stopping(update.stop))
        view = stack.enter_context(UpdateView(json=json))
        for event in stack.enter_context(closing(iter(update))):
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


def open_image(file: Path) -> "ImageSource":
    """Open a local image or package; it is looked through before a board is opened for it.

    Raises:
        ImageRefusedError: The file cannot be read, or is no firmware, or broken.
    """
    from bridge.image import FileSource, inspect_file  # noqa: PLC0415

    inspect_file(file)
    return FileSource(file)

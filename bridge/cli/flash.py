"""``nrf91-bridge flash``: one local image onto one board; check, transfer, reboot, verify, confirm, without any cloud."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.image_store import open_store
from bridge.cli.journals import open_journal, place_of, port_for_us
from bridge.cli.line_options import LineOptions, TransferBaudOption
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import ImageIndexOption, ImageStoreOption, JournalOption, JsonOption, MemberOption
from bridge.cli.output import use_json
from bridge.cli.policy_options import FlashKeysOption, PolicyOptions
from bridge.cli.route_options import RouteOptions
from bridge.cli.signals import stopping

if TYPE_CHECKING:
    from bridge.image import ImageSource

_OWNER = "nrf91-bridge flash"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("flash")(flash)


@takes_groups
def flash(
    file: Annotated[
        Path,
        typer.Argument(
            help="Signed application image, application delta, modem delta, full modem firmware (CBOR), or a package:"
            " dfu_application.zip, dfu_mcuboot.zip, a modem release's zip."
        ),
    ],
    *,
    line: LineOptions,
    transfer_baud: TransferBaudOption = 1_000_000,
    image_key: FlashKeysOption = None,
    policy: PolicyOptions,
    route: RouteOptions,
    image_index: ImageIndexOption = 0,
    member: MemberOption = None,
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
        policy=policy.policy(image_key),
        transfer_baud=transfer_baud or None,
        check_only=check_only,
        image_index=image_index,
        member=member,
        image_store=open_store(store),
    )
    source = open_image(file)
    opener = route.opener(line)
    with ExitStack() as stack:
        stack.callback(source.close)
        update: Update | LocalUpdate
        if check_only:
            update = Update(source, opener, options=options)
        else:
            place = place_of(line.port, line.serial_number, route.transport)
            stack.enter_context(port_for_us(place, _OWNER))
            opened = stack.enter_context(open_journal(journal, place, _OWNER))
            update = LocalUpdate(source, opener, opened, place, options)
            stack.enter_context(stopping(update.stop))
        view = stack.enter_context(UpdateView(json=json))
        for event in stack.enter_context(closing(iter(update))):
            view.show(event)
    if update.error is not None:
        raise update.error


def open_image(file: Path) -> "ImageSource":
    """Open a local image or package; it is looked through before a board is opened for it.

    Raises:
        ImageRefusedError: The file cannot be read, or is no firmware, or broken.
    """
    from bridge.image import FileSource, inspect_file  # noqa: PLC0415

    inspect_file(file)
    return FileSource(file)

"""Which things are worked on which boards: one of each, or several on one connection (``run --gateway``)."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bridge.cli.journals import journal_of, open_journal, place_of, port_for_us
from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.fota import RouteOpener
    from bridge.fota.service import ThingOnBoard

MAX_THINGS: Final = 10
"""AWS IoT takes 50 subscriptions on a connection; each thing needs five."""
GatewayOption = Annotated[
    list[str] | None,
    typer.Option(
        "--gateway",
        metavar="THING=PORT",
        help="Work this thing's jobs on the board at this port; once for each of several things on one connection, instead"
        " of --thing and --port. The policy of --cert must allow all of their topics.",
    ),
]


@dataclass(frozen=True)
class BoardAt:
    """A thing, and where its board is."""

    thing: str
    port: str | None
    serial_number: str | None = None


def boards_of(
    thing: str | None,
    port: str | None,
    serial_number: str | None,
    gateway: list[str] | None,
    client_id: str | None,
) -> list[BoardAt]:
    """What the options say; nothing when they name no thing.

    Raises:
        UsageError: They contradict each other, or name a thing or a board twice.
    """
    if not gateway:
        return [] if thing is None else [BoardAt(thing, port, serial_number)]
    if thing is not None or port is not None or serial_number is not None:
        raise UsageError(
            "--gateway stands instead of --thing, --port and --serial-number",
            hint="Write --gateway THING=PORT once for each thing; see that NRF91_BRIDGE_THING and _PORT are not set.",
        )
    if client_id is None:
        raise UsageError(
            "--gateway needs --client-id",
            hint="The connection is of none of the things; its id must be no other client's.",
        )
    boards = [_board_at(text) for text in gateway]
    if len(boards) > MAX_THINGS:
        raise UsageError(
            f"--gateway takes {MAX_THINGS} things on one connection at most, not {len(boards)}",
            hint="Start several, each with a client id of its own; or give each board its own certificate (--bench).",
        )
    for name, values in (
        ("thing", [one.thing for one in boards]),
        ("port", [str(one.port) for one in boards]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"--gateway names the {name} {twice} twice")
    return boards


def hold(
    stack: ExitStack, board: BoardAt, open_route: "RouteOpener", transport: str, journal: Path | None
) -> "ThingOnBoard":
    """Take a board and a journal for a thing, until the stack is unwound.

    Raises:
        BenchError: Another process has one of them.
    """
    from bridge.fota.service import ThingOnBoard  # noqa: PLC0415

    place = place_of(board.port, board.serial_number, transport)
    owner = f"nrf91-bridge run for {board.thing}"
    stack.enter_context(port_for_us(place, owner))
    opened = stack.enter_context(open_journal(journal, f"thing {board.thing}", owner))
    return ThingOnBoard(board.thing, open_route, opened, place)


def journal_for(file: Path | None, board: BoardAt, gateway: list[str] | None) -> Path | None:
    """The journal that was asked for; of several things each has one of its own beside it."""
    return journal_of(file, board.thing) if file is not None and gateway else file


def _board_at(text: str) -> BoardAt:
    thing, equals, port = text.partition("=")
    if not (thing and equals and port):
        raise UsageError(f"{text!r} is not of the form THING=PORT", reason="bad-gateway")
    return BoardAt(thing, port)

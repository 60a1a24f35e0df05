"""Which route to take: the one that was ordered, or the one that the board answers to."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from bridge.board import Board
from bridge.board.answering import open_answering
from bridge.board.link import DEFAULT_BAUD
from bridge.board.smp_board import SmpBoard
from bridge.dfu.upload_notes import UploadNotes
from bridge.errors import BoardRefusedError
from bridge.fota.at_route import AtRoute
from bridge.fota.modem_smp_route import ModemSmpRoute, updates_modem
from bridge.fota.route import Route, RouteOpener
from bridge.fota.smp_route import SmpRoute
from bridge.image import ImageHead, ImageKind
from bridge.wire.smp_frame import DEFAULT_LINE_BYTES


class Transport(StrEnum):
    """Names of the routes, as ``--transport`` takes them."""

    AUTO = "auto"
    XDFU = "xdfu"
    SMP = "smp"
    MODEM_SMP = "modem-smp"
    PROBE = "probe"


@dataclass(frozen=True)
class RouteOptions:
    """How boards are reached.

    Attributes:
        find_port: Gives the port's device name or URL each time a board is opened.
        transport: Which route.
        baud: Bit rate that the board uses after a reset.
        flow_control: RTS/CTS.
        timeout_s: How long a board may take to answer at all.
        line_bytes: Longest SMP line that the board takes.
        recovery: Restart an application with an SMP server into MCUboot's recovery first.
        upload_image: Number to upload to in SMP's requests, instead of the one that is found out.
        confirms: Whether the bridge confirms an image that runs on trial; else the application must.
        probe_serial_number: Number of the debug probe; None for the only one.
        probe_address: Start of the primary slot, for application images through a probe.
        probe_board: Board whose standard primary slot a probe writes to instead.
        notes_file: Where uploads to MCUboot's recovery are noted; None forgets them with the process.
    """

    find_port: Callable[[], str]
    transport: Transport = Transport.AUTO
    baud: int = DEFAULT_BAUD
    flow_control: bool = True
    timeout_s: float = 10.0
    line_bytes: int = DEFAULT_LINE_BYTES
    recovery: bool = False
    upload_image: int | None = None
    confirms: bool = True
    probe_serial_number: str | None = None
    probe_address: int | None = None
    probe_board: str | None = None
    notes_file: Path | None = field(default=None)


_ORDERED: Final = "it was ordered"
_MODEM_KINDS: Final = frozenset({ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE})


def route_opener(options: RouteOptions) -> RouteOpener:
    """A function that opens the board by the ordered route, or by one that the board answers to."""
    openers: dict[Transport, Callable[[ImageHead], AbstractContextManager[Route]]] = {
        Transport.AUTO: lambda head: _auto(options, head),
        Transport.XDFU: lambda _: _at(_open_at(options), _ORDERED),
        Transport.SMP: lambda head: _smp(options, _open_smp(options), _ORDERED, head.image_index),
        Transport.MODEM_SMP: lambda _: _modem_smp(_open_smp(options), _ORDERED),
        Transport.PROBE: lambda head: _probe(options, head),
    }
    return openers[options.transport]


def _auto(options: RouteOptions, head: ImageHead) -> AbstractContextManager[Route]:
    found = open_answering(
        options.find_port(),
        baud=options.baud,
        flow_control=options.flow_control,
        line_bytes=options.line_bytes,
        timeout_s=options.timeout_s,
    )
    if isinstance(found, Board):
        return _at(found, "the port answers AT")
    if head.kind in _MODEM_KINDS and _updates_modem(found):
        return _modem_smp(found, "an SMP server that updates the modem answers on the port")
    who = "MCUboot's serial recovery" if found.in_recovery else "an application's SMP server"
    return _smp(options, found, f"{who} answers on the port", head.image_index)


def _probe(options: RouteOptions, head: ImageHead) -> AbstractContextManager[Route]:
    from bridge.fota.probe_route import over_probe  # noqa: PLC0415 - nobody else pays for pynrfjprog

    return over_probe(
        head, options.probe_serial_number, _ORDERED, address=options.probe_address, board=options.probe_board
    )


@contextmanager
def _at(board: Board, why: str) -> Iterator[Route]:
    with board:
        yield AtRoute(board, why)


def _updates_modem(board: SmpBoard) -> bool:
    try:
        return updates_modem(board)
    except BaseException:
        board.close()
        raise


@contextmanager
def _modem_smp(board: SmpBoard, why: str) -> Iterator[Route]:
    with board:
        yield ModemSmpRoute(board, why)


@contextmanager
def _smp(options: RouteOptions, board: SmpBoard, why: str, image_index: int) -> Iterator[Route]:
    route = SmpRoute(
        board,
        why,
        notes=UploadNotes(options.notes_file),
        upload_image=options.upload_image,
        confirms=options.confirms,
        image_index=image_index,
    )
    try:
        if options.recovery:
            _enter_recovery(board)
        yield route
    finally:
        route.close()


def _enter_recovery(board: SmpBoard) -> None:
    try:
        board.enter_recovery()
    except BoardRefusedError as error:
        if error.reason == "not-supported":
            error.hint = "Its SMP server has no reset; hold the recovery button while the board is reset."
        raise


def _open_at(options: RouteOptions) -> Board:
    return Board.open(
        options.find_port(), baud=options.baud, flow_control=options.flow_control, timeout_s=options.timeout_s
    )


def _open_smp(options: RouteOptions) -> SmpBoard:
    return SmpBoard.open(
        options.find_port(),
        baud=options.baud,
        flow_control=options.flow_control,
        line_bytes=options.line_bytes,
        timeout_s=options.timeout_s,
    )

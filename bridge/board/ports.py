"""Serial ports of this host, and which board is probably behind each.

Sources: USB ids and serial number prefixes as Nordic's nrfcredstore and board documents list them; Linux
sysfs for interface numbers (``<bus>-<port>:<configuration>.<interface>``).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Final

from serial.tools import list_ports as serial_list_ports

from bridge.errors import BoardNotFoundError

SEGGER_VID: Final = 0x1366
_NORDIC_VID: Final = 0x1915
_NORDIC_BOARDS: Final = {0x9100: "thingy91", 0x910A: "thingy91x"}
_PROBE_PREFIXES: Final = {
    "0009600": "nrf9160dk",
    "0010509": "nrf9161dk",
    "0010510": "nrf9131ek",
    "0010512": "nrf9151dk",
    "0010520": "nrf9151dk",
    "0010513": "thingy91x",
    "0010550": "thingy91x",
    "0010551": "thingy91x",
}
_INTERFACE: Final = re.compile(r":\d+\.(\d+)$")


@dataclass(frozen=True)
class PortInfo:
    """One serial port.

    Attributes:
        device: Name to open it by.
        serial_number: USB serial number; on a DK it is that of the debug probe.
        vid: USB vendor id.
        pid: USB product id.
        interface: USB interface number; the lowest of a board is the UART that speaks AT.
        description: What the operating system calls it.
        board: Probable board, such as ``nrf9151dk``; None when nothing hints at an nRF91.
    """

    device: str
    serial_number: str | None = None
    vid: int | None = None
    pid: int | None = None
    interface: int | None = None
    description: str = ""
    board: str | None = None

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


PortSource = Callable[[], Iterable[PortInfo]]
"""Tells which ports there are."""


def _ports_of_this_host() -> list[PortInfo]:
    return [
        PortInfo(
            device=port.device,
            serial_number=port.serial_number,
            vid=port.vid,
            pid=port.pid,
            interface=_interface_number(port.location),
            description=port.description or "",
            board=guess_board(port.vid, port.pid, port.serial_number),
        )
        for port in serial_list_ports.comports()
    ]


_source: Final[ContextVar[PortSource]] = ContextVar("ports", default=_ports_of_this_host)


@contextmanager
def ports_from(source: PortSource) -> Iterator[None]:
    """Let this thread see other ports than the host's as long as the block lasts: those of a simulated bench."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def list_ports() -> list[PortInfo]:
    """All serial ports of this host, sorted by device name."""
    return sorted(
        _source.get()(),
        key=lambda port: [int(part) if part.isdigit() else part for part in _pieces(port.device)],
    )


def usb_identity(device: str) -> PortInfo | None:
    """By what a port can be found again when it comes back under another name; None when it has nothing of the kind."""
    if "://" in device and _source.get() is _ports_of_this_host:
        return None  # spares a search of all of USB
    return next((port for port in list_ports() if port.device == device and port.serial_number), None)


def guess_board(vid: int | None, pid: int | None, serial_number: str | None) -> str | None:
    """The board that has such USB ids, or None."""
    if vid == _NORDIC_VID and pid is not None:
        return _NORDIC_BOARDS.get(pid)
    if vid == SEGGER_VID and serial_number:
        return _PROBE_PREFIXES.get(serial_number.zfill(12)[:7])
    return None


def find_port(serial_number: str, interface: int | None = None) -> PortInfo:
    """Find a board's port by USB serial number.

    Args:
        serial_number: As USB reports it; for debug probes leading zeros do not matter.
        interface: USB interface number, or None for the lowest, which is the one that speaks AT.

    Raises:
        BoardNotFoundError: There is none.
    """
    fitting = [
        port
        for port in list_ports()
        if port.serial_number is not None and _same_serial_number(port.serial_number, serial_number)
    ]
    exact = [port for port in fitting if interface is None or port.interface == interface]
    if not exact:
        raise BoardNotFoundError(
            f"no serial port has the USB serial number {serial_number}",
            reason="port-missing",
            hint="`nrf91-bridge ports` lists what is there.",
        )
    return min(exact, key=_order_on_board)


def choose_port(port: str | None, serial_number: str | None = None) -> str:
    """The port to open: the given one, the one of the given board, or that of the only nRF91 board there is.

    Raises:
        BoardNotFoundError: No board, or more than one.
    """
    if port is not None:
        return port
    if serial_number is not None:
        return find_port(serial_number).device
    boards: dict[str, PortInfo] = {}
    for candidate in sorted((port for port in list_ports() if port.board), key=_order_on_board):
        boards.setdefault(candidate.serial_number or candidate.device, candidate)
    if not boards:
        raise BoardNotFoundError(
            "no nRF91 board is connected by USB",
            reason="no-board",
            hint="Give --port; `nrf91-bridge ports` lists what is there.",
        )
    if len(boards) > 1:
        names = ", ".join(f"{board.board} {number}" for number, board in sorted(boards.items()))
        raise BoardNotFoundError(
            f"more than one board is connected: {names}",
            reason="several-boards",
            hint="Give --serial-number.",
        )
    return next(iter(boards.values())).device


def _interface_number(location: str | None) -> int | None:
    match = _INTERFACE.search(location or "")
    return int(match[1]) if match else None


def _same_serial_number(left: str, right: str) -> bool:
    return left == right or (left.isdigit() and right.isdigit() and int(left) == int(right))


def _pieces(device: str) -> list[str]:
    # "/dev/ttyACM10" sorts after "/dev/ttyACM9"; text and numbers alternate, so that like meets like.
    return re.split(r"(\d+)", device)


def _order_on_board(port: PortInfo) -> tuple[int, str]:
    return (port.interface if port.interface is not None else 1 << 16, port.device)

"""Which debug probes are connected, and which board and serial ports belong to each.

Source: nrfcredstore and SEGGER's USB descriptors: a probe's USB serial number is its own number with leading zeros.
"""

from dataclasses import asdict, dataclass
from typing import Final

from bridge.board.ports import SEGGER_VID, PortInfo, guess_board, list_ports
from bridge.dfu.probe.failures import JLINK_HINT
from bridge.dfu.probe.process import Engine, ProcessEngine
from bridge.errors import BoardNotFoundError, UsageError

_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Probe:
    """One debug probe.

    Attributes:
        serial_number: Its number, as J-Link tools want it.
        board: Probable board, such as ``nrf9151dk``; None when nothing hints at one.
        ports: Serial ports of the same USB device, the one that speaks AT first.
    """

    serial_number: int
    board: str | None = None
    ports: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ProbeList:
    """What is there.

    Attributes:
        probes: By serial number.
        jlink_library: SEGGER's library; None when it is missing, without which no probe can be used.
    """

    probes: tuple[Probe, ...]
    jlink_library: str | None = None


def list_probes(engine: Engine | None = None) -> ProbeList:
    """Look for debug probes on USB.

    Args:
        engine: How to ask pynrfjprog; a process of its own if not given.

    Raises:
        UsageError: pynrfjprog or libusb is missing.
        BridgeError: pynrfjprog fails.
    """
    asked = engine or ProcessEngine()
    try:
        found = asked.call("connected", timeout_s=_TIMEOUT_S)
    finally:
        if engine is None:
            asked.close()
    ports = list_ports()
    probes = tuple(_probe(number, ports) for number in sorted(found["serial_numbers"]))
    return ProbeList(probes, found["jlink_library"])


def choose_probe(serial_number: str | int | None, engine: Engine | None = None) -> int:
    """The probe to use: the given one, or the only one that is connected.

    Args:
        serial_number: Number of the probe, with or without leading zeros.
        engine: As for :func:`list_probes`.

    Raises:
        UsageError: That is no number of a probe.
        BoardNotFoundError: No probe is connected, or more than one.
    """
    if serial_number is not None:
        return parse_number(serial_number)
    found = list_probes(engine)
    if len(found.probes) == 1:
        return found.probes[0].serial_number
    if found.probes:
        names = ", ".join(
            f"{probe.serial_number} ({probe.board or 'unknown board'})" for probe in found.probes
        )
        raise BoardNotFoundError(
            f"more than one debug probe is connected: {names}",
            reason="several-boards",
            hint="Give --serial-number.",
        )
    lacking = "" if found.jlink_library else ", and SEGGER's J-Link software is not installed"
    raise BoardNotFoundError(
        f"no debug probe is connected by USB{lacking}",
        reason="no-probe" if found.jlink_library else "no-jlink-library",
        hint="Connect the board's debugger; on Linux its udev rules come with the J-Link software."
        if found.jlink_library
        else JLINK_HINT,
    )


def parse_number(serial_number: str | int) -> int:
    """Read a probe's serial number.

    Raises:
        UsageError: It is none.
    """
    text = str(serial_number).strip()
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 32:
        raise UsageError(
            f"{serial_number!r} is no serial number of a debug probe",
            reason="bad-serial-number",
            hint="It has up to ten digits; `nrf91-bridge probe list` shows it.",
        )
    return int(text)


def _probe(number: int, ports: list[PortInfo]) -> Probe:
    own = sorted(
        (
            port
            for port in ports
            if port.serial_number is not None
            and port.serial_number.isdigit()
            and int(port.serial_number) == number
        ),
        key=lambda port: (port.interface if port.interface is not None else 1 << 16, port.device),
    )
    board = next((port.board for port in own if port.board), None)
    return Probe(
        number, board or guess_board(SEGGER_VID, None, str(number)), tuple(port.device for port in own)
    )

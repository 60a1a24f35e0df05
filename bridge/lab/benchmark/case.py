"""What is measured: one case is a board, a line and an image; a grid is a list of cases."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from bridge.errors import UsageError
from bridge.virtual.faults import FaultRates
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.uart_options import Reception, UartOptions, parse_uart

BAUDS: Final = (115_200, 460_800, 1_000_000)
SIZES: Final = (64 * 1024, 200 * 1024, 480 * 1024)

SERIAL_MODEM_UART: Final = UartOptions()
"""Serial Modem on the DKs: 3 x 256 bytes of DMA, RTS/CTS."""
BUFFERED_UART: Final = UartOptions(buffer_bytes=128, buffer_count=8, idle_us=0)
"""A build of Zephyr's server that goes on receiving while flash is busy; its defaults (2 x 64) hardly do. A long message needs
longer buffers, which are reported later."""
LONG_BUFFERED_UART: Final = UartOptions(buffer_bytes=512, buffer_count=8, idle_us=0)
LINES_UART: Final = UartOptions(buffer_bytes=64, buffer_count=8, idle_us=0)
"""Recovery that goes on filling its line buffers while flash is busy, because its interrupt handler runs from RAM."""
FIFO_UART: Final = UartOptions(Reception.FIFO)
FIFO_UART_NO_RTS: Final = UartOptions(Reception.FIFO, flow_control=False)

_LONG_MESSAGE_BYTES: Final = 1024

FAULTY_TO_BOARD: Final = FaultRates(drop_every=40_000, flip_every=40_000)
"""One byte in 20,000 is hit."""
FAULTY_TO_HOST: Final = FaultRates(flip_every=2_000)


@dataclass(frozen=True)
class Case:
    """One row per contestant.

    Attributes:
        route: Name of the route into flash, see :data:`bridge.lab.benchmark.routes.ROUTES`.
        baud: Bit rate.
        size_bytes: Size of the image.
        ideal_flash: Flash operations take no time.
        uart: How the board receives while its processor stands still.
        usb_latency_ms: Delay of the cable, each way.
        smp: Kconfig of the SMP server.
        rx_rates: Random damage to bytes for the board.
        tx_rates: Random damage to bytes from the board.
        long_lines: Recovery was built for lines of 512 bytes, and then without the command that tells its buffer size.
    """

    route: str
    baud: int = 1_000_000
    size_bytes: int = SIZES[0]
    ideal_flash: bool = False
    uart: UartOptions = SERIAL_MODEM_UART
    usb_latency_ms: float = 0
    smp: SmpOptions = field(default_factory=lambda: SmpOptions(line_bytes=512, progressive_erase=True))
    rx_rates: FaultRates = field(default_factory=FaultRates)
    tx_rates: FaultRates = field(default_factory=FaultRates)
    long_lines: bool = False

    @property
    def faulty(self) -> bool:
        """Whether bytes are damaged."""
        return bool(self.rx_rates.chance or self.tx_rates.chance)

    def for_contestant(self, name: str) -> "Case":
        """The same, with a server that this contestant understands: pynrfjprog wants ``rc``, smpclient must not see it.

        pynrfjprog also sends lines of nearly 500 bytes, for which Zephyr's server is built here for all.
        """
        nordic = name == "pynrfjprog"
        return replace(self, smp=replace(self.smp, legacy_rc=nordic), long_lines=nordic)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Case":
        """The case that :meth:`to_dict` made the values of."""
        nested = {
            "uart": UartOptions(**{**values["uart"], "reception": Reception(values["uart"]["reception"])}),
            "smp": SmpOptions(**values["smp"]),
            "rx_rates": FaultRates(**values["rx_rates"]),
            "tx_rates": FaultRates(**values["tx_rates"]),
        }
        return cls(**{**values, **nested})


def grid(
    routes: Iterable[str],
    *,
    bauds: Sequence[int] = BAUDS,
    sizes: Sequence[int] = SIZES,
    ideal: Sequence[bool] = (True, False),
    uarts: Mapping[str, Sequence[UartOptions]] | None = None,
    latencies_ms: Sequence[float] = (0,),
    buffers: Sequence[tuple[int, int]] = ((384, 4),),
    faults: bool = False,
) -> list[Case]:
    """Every combination, fault-free cases first.

    Args:
        routes: Names of routes.
        bauds: Bit rates.
        sizes: Image sizes in bytes.
        ideal: Whether flash takes no time.
        uarts: Route -> how the board receives; the usual one of each route if it is not named.
        latencies_ms: Delays of the cable.
        buffers: Size and count of the SMP server's buffers; other routes have no such choice.
        faults: Each case once more with damaged bytes, where the route can survive them.
    """
    cases = []
    for route in routes:
        route_uarts = (uarts or {}).get(route) or (None,)
        route_buffers = buffers if route == "smp" else buffers[:1]
        for flash, baud, given, latency_ms, (size, count), image in itertools.product(
            ideal, bauds, route_uarts, latencies_ms, route_buffers, sizes
        ):
            uart = given or usual_uart(route, size)
            smp = SmpOptions(size, count, line_bytes=512, progressive_erase=True)
            cases.append(Case(route, baud, image, flash, uart, latency_ms, smp))
            if faults and route != "xdfu":  # which has no checksum and sends nothing twice
                cases.append(
                    Case(route, baud, image, flash, uart, latency_ms, smp, FAULTY_TO_BOARD, FAULTY_TO_HOST)
                )
    return cases


def usual_uart(route: str, buffer_bytes: int = 384) -> UartOptions:
    """How the board of a route receives unless something else is asked for."""
    buffered = BUFFERED_UART if buffer_bytes <= _LONG_MESSAGE_BYTES else LONG_BUFFERED_UART
    return {"smp": buffered, "recovery": FIFO_UART}.get(route, SERIAL_MODEM_UART)


def quick(routes: Sequence[str]) -> list[Case]:
    """A first impression in some three minutes: small images on a slow line, and on the fast one with and without flash."""
    ordinary = [route for route in routes if route != "recovery"]
    slow = grid(ordinary, bauds=BAUDS[:1], sizes=(SIZES[0] // 2,), ideal=(False,))
    fast = grid(ordinary, bauds=BAUDS[-1:], sizes=SIZES[:1])
    recovery = [route for route in routes if route == "recovery"]
    return slow + fast + grid(recovery, bauds=BAUDS[-1:], sizes=SIZES[:1], ideal=(False,))


def full(routes: Sequence[str]) -> list[Case]:
    """Everything, which takes hours: all rates, sizes and flash times, then what UART, adapter and buffers change."""
    everything = grid(routes)
    models = grid(
        routes,
        bauds=(BAUDS[0], BAUDS[-1]),
        sizes=SIZES[1:2],
        ideal=(False,),
        uarts={
            "xdfu": (UartOptions(buffer_bytes=2048), FIFO_UART),
            "smp": (SERIAL_MODEM_UART, FIFO_UART, FIFO_UART_NO_RTS),
            "recovery": (LINES_UART, FIFO_UART_NO_RTS),
        },
    )
    latencies = grid(routes, bauds=BAUDS[-1:], sizes=SIZES[1:2], latencies_ms=(1, 4, 16))
    big_buffers = grid(
        [route for route in routes if route == "smp"], sizes=SIZES[1:2], buffers=((2048, 4), (2475, 2))
    )
    damaged = grid(routes, bauds=BAUDS[-1:], sizes=SIZES[1:2], faults=True)
    return list(dict.fromkeys(everything + models + latencies + big_buffers + damaged))


def parse_case_uart(text: str) -> UartOptions:
    """Read ``dma``, ``dma:3x2048``, ``fifo`` or ``fifo:no-rts``.

    Raises:
        UsageError: It is none of these.
    """
    reception, *details = text.split(":")
    buffers = [each for each in details if each != "no-rts"]
    if len(buffers) > 1:
        raise UsageError(f"{text} is no UART; write it like dma:3x256:no-rts", reason="bad-uart")
    return parse_uart(reception, buffers[0] if buffers else None, flow_control="no-rts" not in details)


def parse_buffers(text: str) -> tuple[int, int]:
    """Read an SMP server's buffers, such as ``384x4``: size in bytes, and count.

    Raises:
        UsageError: They are none.
    """
    size, _, count = text.partition("x")
    if not (size.isdecimal() and count.isdecimal() and int(size) >= 64 and int(count)):
        raise UsageError(f"{text} are no buffers; write them like 384x4", reason="bad-buffers")
    return int(size), int(count)

"""Options of ``bench speed`` about what is measured, and the cases that they choose."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from bridge.lab.benchmark.case import Case


@dataclass(frozen=True)
class CaseOptions:
    """A part of all cases; each option's help says more."""

    route: Annotated[list[str] | None, typer.Option(help="xdfu, smp or recovery; default: all.")] = None
    baud: Annotated[list[int] | None, typer.Option(help="Bit rate.")] = None
    size_kib: Annotated[list[int] | None, typer.Option("--size-kib", min=8, help="Image size in KiB.")] = None
    flash: Annotated[
        Literal["ideal", "real", "both"] | None, typer.Option(help="ideal: flash takes no time.")
    ] = None
    uart: Annotated[
        list[str] | None,
        typer.Option(
            help="How the board receives: dma:3x256, fifo; with :no-rts behind for no flow control."
        ),
    ] = None
    usb_latency_ms: Annotated[
        list[float] | None,
        typer.Option("--usb-latency-ms", min=0, help="A USB adapter's delay in ms, each way."),
    ] = None
    buffers: Annotated[list[str] | None, typer.Option(help="Buffers of the SMP server, such as 384x4.")] = (
        None
    )
    faults: Annotated[
        bool, typer.Option("--faults", help="Each case once more with damaged bytes, where that can succeed.")
    ] = False

    def chosen(self, *, full: bool) -> "list[Case]":
        """The cases to be measured.

        Args:
            full: All there are instead of a quick choice, when no option says which.

        Raises:
            UsageError: An option's value makes no sense.
        """
        from bridge.lab.benchmark import case as cases  # noqa: PLC0415
        from bridge.lab.benchmark.routes import ROUTES, route_of  # noqa: PLC0415

        routes = self.route or list(ROUTES)
        for name in routes:
            route_of(name)
        if any(
            (self.baud, self.size_kib, self.flash, self.uart, self.usb_latency_ms, self.buffers, self.faults)
        ):
            uarts = [cases.parse_case_uart(text) for text in self.uart or ()]
            return cases.grid(
                routes,
                bauds=self.baud or cases.BAUDS[-1:],
                sizes=[1024 * size for size in self.size_kib or ()] or cases.SIZES[:1],
                ideal={"ideal": (True,), "both": (True, False)}.get(self.flash or "real", (False,)),
                uarts=dict.fromkeys(routes, uarts) if uarts else None,
                latencies_ms=self.usb_latency_ms or (0,),
                buffers=[cases.parse_buffers(text) for text in self.buffers or ("384x4",)],
                faults=self.faults,
            )
        return cases.full(routes) if full else cases.quick(routes)

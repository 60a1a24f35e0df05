"""From measurements to rows: fractions of the ceiling, and comparisons within one run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.lab.benchmark.case import Case
from bridge.lab.benchmark.ceiling import Ceiling, ceiling_of
from bridge.lab.benchmark.measure import Measurement
from bridge.lab.benchmark.routes import OURS
from bridge.virtual.faults import FaultRates


@dataclass(frozen=True)
class Row:
    """One measurement with what it is compared to.

    Attributes:
        measurement: The measurement.
        ceiling: What would have been possible.
        best_peer: Highest rate of a peer in the same case, or None.
        fault_free_s: Time of the same contestant without damaged bytes, or None.
    """

    measurement: Measurement
    ceiling: Ceiling
    best_peer: float | None = None
    fault_free_s: float | None = None

    @property
    def of_ceiling(self) -> float:
        """Fraction of the smaller of line and flash."""
        return self.measurement.rate / self.ceiling.ceiling

    @property
    def of_reach(self) -> float:
        """Fraction of what this board allows."""
        return self.measurement.rate / self.ceiling.reach

    @property
    def to_best_peer(self) -> float | None:
        """Rate compared to the best peer."""
        return self.measurement.rate / self.best_peer if self.best_peer else None

    @property
    def slowdown(self) -> float | None:
        """Time compared to that without damaged bytes."""
        if self.fault_free_s is None or not self.measurement.ok:
            return None
        return self.measurement.seconds / self.fault_free_s

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain values for plotting."""
        case, result = self.measurement.case, self.measurement
        return {
            "route": case.route,
            "contestant": result.contestant,
            "baud": case.baud,
            "flash": "ideal" if case.ideal_flash else "real",
            "size_bytes": result.size_bytes,
            "uart": case.uart.label,
            "usb_latency_ms": case.usb_latency_ms,
            "smp_buffers": f"{case.smp.buffer_bytes}x{case.smp.buffer_count}"
            if case.route == "smp"
            else None,
            "damaged": case.faulty,
            "ok": result.ok,
            "error": result.error or (None if result.landed else "the image did not land"),
            "seconds": round(result.seconds, 3),
            "bytes_per_s": round(result.rate),
            "line_bytes_per_s": round(self.ceiling.line),
            "flash_bytes_per_s": None if case.ideal_flash else round(self.ceiling.flash),
            "ceiling_bytes_per_s": round(self.ceiling.ceiling),
            "reach_bytes_per_s": round(self.ceiling.reach),
            "reach_formula": self.ceiling.formula,
            "of_ceiling": round(self.of_ceiling, 4),
            "of_reach": round(self.of_reach, 4),
            "cpu_s_per_mb": round(result.cpu_s_per_mb, 3),
            "cpu_load": round(result.cpu_load, 4),
            "to_best_peer": _rounded(self.to_best_peer),
            "slowdown": _rounded(self.slowdown),
            "lost_bytes": result.lost_bytes,
            "dropped_messages": result.dropped_messages,
            "late_events": result.late_events,
        }


def rows(measurements: Iterable[Measurement]) -> list[Row]:
    """Rows in the order of the measurements."""
    results = list(measurements)
    return [
        Row(result, ceiling_of(result.case), _best_peer(result.case, results), _fault_free_s(result, results))
        for result in results
    ]


def _best_peer(case: Case, results: Sequence[Measurement]) -> float | None:
    rates = [
        result.rate for result in results if result.case == case and result.contestant != OURS and result.ok
    ]
    return max(rates, default=None)


def _fault_free_s(result: Measurement, results: Sequence[Measurement]) -> float | None:
    if not result.case.faulty:
        return None
    clean = replace(result.case, rx_rates=FaultRates(), tx_rates=FaultRates())
    return next(
        (
            each.seconds
            for each in results
            if (each.case, each.contestant, each.ok) == (clean, result.contestant, True)
        ),
        None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

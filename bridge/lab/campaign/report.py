"""What came of many runs: a table of mishaps and outcomes, and for each run that broke something the way to see it again."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from bridge.lab.campaign.mishap import MishapKind
from bridge.lab.campaign.run import RunResult

NO_MISHAP: Final = "nothing"
BROKEN: Final = "broken"
_STATUSES: Final = ("SUCCEEDED", "FAILED", "REJECTED", "CANCELED", "DELETED", "TIMED_OUT", "STUCK")


@dataclass
class Report:
    """Counts results.

    Attributes:
        runs: How many there were.
        broken: Those in which an invariant did not hold.
        simulated_s: How long all of them took in simulated time.
    """

    runs: int = 0
    broken: list[RunResult] = field(default_factory=list)
    simulated_s: float = 0.0
    _cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    _scenarios: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, result: RunResult) -> None:
        """Count a result."""
        self.runs += 1
        self.simulated_s += result.simulated_s
        if result.broken:
            self.broken.append(result)
        kinds = {str(mishap.kind) for mishap in result.plan.mishaps} or {NO_MISHAP}
        for table, rows in ((self._cells, kinds), (self._scenarios, {result.plan.scenario.name})):
            for row in rows:
                table[row, result.status] += 1
                table[row, "runs"] += 1
                table[row, BROKEN] += bool(result.broken)

    @property
    def columns(self) -> list[str]:
        """Outcomes that there were, after the number of runs and of broken ones."""
        return [
            "runs",
            *(each for each in _STATUSES if any(self._cells[row, each] for row in self.rows)),
            BROKEN,
        ]

    @property
    def rows(self) -> list[str]:
        """Mishaps that there were."""
        known = (NO_MISHAP, *MishapKind)
        return [row for row in known if self._cells[row, "runs"]]

    @property
    def scenarios(self) -> list[str]:
        """Scenarios that there were."""
        return list(dict.fromkeys(row for row, _ in self._scenarios))

    def counts(self, row: str) -> list[int]:
        """One row, by mishap or by scenario."""
        table = self._scenarios if (row, "runs") in self._scenarios else self._cells
        return [table[row, column] for column in self.columns]

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        columns = self.columns
        return {
            "runs": self.runs,
            "broken": len(self.broken),
            "simulated_s": round(self.simulated_s, 1),
            "by_mishap": {row: dict(zip(columns, self.counts(row), strict=True)) for row in self.rows},
            "by_scenario": {row: dict(zip(columns, self.counts(row), strict=True)) for row in self.scenarios},
        }

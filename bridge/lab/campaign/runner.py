"""Many runs, on some processes: each result as it comes, the same for the same seeds whoever does which."""

import gc
import itertools
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bridge.lab.campaign.mishap import Extent, Mishap, MishapKind
from bridge.lab.campaign.plan import Plan, draw_plan
from bridge.lab.campaign.run import RunResult, carry_out, measure
from bridge.lab.campaign.scenario import Images, Scenario
from bridge.virtual.flash import Tear

_BATCH: Final = 20
_SHORT_OUTAGE_S: Final = 0.3


@dataclass
class Workshop:
    """What one process needs to do runs: images, and what runs without mishaps look like.

    Args:
        images: The files.
    """

    images: Images
    _extents: dict[str, Extent] = field(default_factory=dict)

    def extent_of(self, scenario: Scenario) -> Extent:
        """How many places for mishaps a scenario has."""
        if scenario.name not in self._extents:
            self._extents[scenario.name] = measure(scenario, self.images)
        return self._extents[scenario.name]

    def draw(self, seed: int, scenarios: tuple[Scenario, ...]) -> Plan:
        """The run that a seed stands for."""
        return draw_plan(seed, scenarios, self.extent_of)

    def carry_out(self, plan: Plan) -> RunResult:
        """Do a run."""
        logging.disable(logging.CRITICAL)
        try:
            return carry_out(plan, self.images)
        finally:
            logging.disable(logging.NOTSET)

    def every_power_cut(self, scenario: Scenario) -> Iterator[Plan]:
        """A run for each flash operation of the board and of the modem, and each way to be torn."""
        extent = self.extent_of(scenario)
        numbers = itertools.count(1)
        for kind, first, count in (
            (MishapKind.POWER_AT_FLASH, extent.first_flash_operation, extent.flash_operations),
            (MishapKind.POWER_IN_MODEM, 0, extent.modem_operations),
        ):
            for operation, tear in itertools.product(range(1, count + 1), Tear):
                mishap = Mishap(kind, first + operation, lasts_s=_SHORT_OUTAGE_S, tear=tear)
                yield Plan(next(numbers), scenario, (mishap,))


def carry_out_all(plans: Iterable[Plan], directory: Path, *, workers: int = 1) -> Iterator[RunResult]:
    """Do many runs.

    Args:
        plans: The runs.
        directory: Where the images are, or will be.
        workers: On how many processes.

    Yields:
        Results as they come; those in which nothing is broken come without their timeline.
    """
    source = iter(plans)
    batches = iter(lambda: list(itertools.islice(source, _BATCH)), [])
    if workers == 1:
        _prepare(directory)
        for batch in batches:
            yield from _do(batch)
        return
    with ProcessPoolExecutor(workers, initializer=_prepare, initargs=(directory,)) as pool:
        waiting = {pool.submit(_do, batch) for batch in batches}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()


_images: dict[Path, Images] = {}
"""Of this process, by directory."""
_current: list[Images] = []


def _prepare(directory: Path) -> None:
    """Get this process ready: images loaded, nothing logged."""
    logging.disable(logging.CRITICAL)
    _current[:] = [_images.setdefault(directory, Images(directory))]


def _do(plans: list[Plan]) -> list[RunResult]:
    gc.collect()
    gc.freeze()  # what is there now stays; only what runs leave behind is looked through from now on
    results = [carry_out(plan, _current[0]) for plan in plans]
    return [result if result.broken else replace(result, timeline=()) for result in results]

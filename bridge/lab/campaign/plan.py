"""What a seed stands for: a scenario and the mishaps in it. The same seed is the same run, in every process."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bridge.lab.campaign.mishap import Extent, Mishap, MishapKind
from bridge.lab.campaign.scenario import Scenario
from bridge.virtual.flash import Tear

_OVERSHOOT: Final = 1.15
"""Mishaps also strike where a run without any would be over, since another mishap may prolong it."""
_OUTAGES_S: Final = (0.3, 2.0, 15.0, 60.0)
_LONG_OUTAGES_S: Final = (*_OUTAGES_S, 400.0)
_BURSTS_BYTES: Final = (2, 5, 40, 300, 2_000)
_LONGEST_BURST_TO_HOST_BYTES: Final = 300
_HOW_MANY: Final = (0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4)
_MODEM_KINDS: Final = frozenset({MishapKind.POWER_IN_MODEM})


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        seed: Which one; also decides who goes on in the simulated world where several could.
        scenario: What is updated, and how.
        mishaps: What goes wrong.
        with_digest: The job document tells the SHA-256 of the file.
    """

    seed: int
    scenario: Scenario
    mishaps: tuple[Mishap, ...] = ()
    with_digest: bool = True

    def __str__(self) -> str:
        digest = "" if self.with_digest else ", without a digest in its document"
        return f"{self.scenario.name}{digest}: {'; '.join(map(str, self.mishaps)) or 'nothing goes wrong'}"


def draw_plan(seed: int, scenarios: tuple[Scenario, ...], extent_of: Callable[[Scenario], Extent]) -> Plan:
    """The run that a seed stands for.

    Args:
        seed: The seed.
        scenarios: Those to choose from.
        extent_of: Tells how many places for mishaps a scenario has.
    """
    dice = random.Random(f"campaign {seed}")  # noqa: S311 - reproducible, not secret
    scenario = dice.choice(scenarios)
    extent = extent_of(scenario)
    kinds = [kind for kind in MishapKind if extent.modem_operations or kind not in _MODEM_KINDS]
    mishaps = [_draw(dice, dice.choice(kinds), extent) for _ in range(dice.choice(_HOW_MANY))]
    mishaps.sort(key=lambda mishap: (mishap.kind, mishap.where))
    return Plan(seed, scenario, tuple(mishaps), with_digest=dice.random() < 0.7)


def _draw(dice: random.Random, kind: MishapKind, extent: Extent) -> Mishap:
    to_host = kind in _LINE and dice.random() < 0.5
    places: Mapping[MishapKind, int] = {
        MishapKind.POWER_AT_FLASH: extent.flash_operations,
        MishapKind.POWER_IN_MODEM: extent.modem_operations,
        **dict.fromkeys(_LINE, extent.tx_bytes if to_host else extent.rx_bytes),
        **dict.fromkeys(_REPLIES, extent.replies),
        **dict.fromkeys(_MESSAGES, extent.messages),
        **dict.fromkeys(_REQUESTS, extent.requests),
        MishapKind.HOST_KILLED: extent.host_steps,
    }
    where = 1 + dice.randrange(max(1, int(_OVERSHOOT * places.get(kind, extent.duration_ms))))
    if kind is MishapKind.POWER_AT_FLASH:
        where += extent.first_flash_operation
    size = 0
    if kind is MishapKind.BURST_LOST:
        # The board says little: 2000 of its bytes would be minutes.
        size = min(dice.choice(_BURSTS_BYTES), _LONGEST_BURST_TO_HOST_BYTES if to_host else 1 << 20)
    elif kind in _REQUESTS:
        size = dice.randrange(extent.body_bytes)
    outages = _LONG_OUTAGES_S if kind in {MishapKind.BROKER_LOST, MishapKind.POWER_AT_TIME} else _OUTAGES_S
    lasts_s = dice.choice(outages) if kind in _OUTAGE_KINDS else 0.0
    return Mishap(kind, where, to_host, size, lasts_s, dice.choice(list(Tear)))


_LINE: Final = frozenset(
    {
        MishapKind.POWER_AT_BYTE,
        MishapKind.BYTE_DROPPED,
        MishapKind.BYTE_FLIPPED,
        MishapKind.BYTE_DOUBLED,
        MishapKind.BURST_LOST,
    }
)
_REPLIES: Final = frozenset({MishapKind.REPLY_LOST, MishapKind.REPLY_LATE, MishapKind.REPLY_DOUBLED})
_MESSAGES: Final = frozenset(
    {
        MishapKind.BROKER_LOST,
        MishapKind.SESSION_TAKEN,
        MishapKind.MESSAGE_DOUBLED,
        MishapKind.ANSWER_LOST,
        MishapKind.ANSWER_LATE,
    }
)
_REQUESTS: Final = frozenset(
    {
        MishapKind.HTTP_RESET,
        MishapKind.HTTP_STALL,
        MishapKind.HTTP_TRUNCATED,
        MishapKind.HTTP_CHANGED,
        MishapKind.HTTP_EXPIRED,
    }
)
_OUTAGE_KINDS: Final = frozenset(
    {
        MishapKind.POWER_AT_FLASH,
        MishapKind.POWER_AT_BYTE,
        MishapKind.POWER_IN_MODEM,
        MishapKind.POWER_AT_TIME,
        MishapKind.USB_RENAMED,
        MishapKind.BROKER_LOST,
        MishapKind.SESSION_TAKEN,
    }
)

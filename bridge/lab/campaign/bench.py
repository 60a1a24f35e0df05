"""The bench of a run: a virtual board on a USB port, a supply that can fail, and whoever looks after both."""

import itertools
from collections.abc import Iterable
from typing import Final

from bridge import clock
from bridge.board.ports import PortInfo
from bridge.lab.campaign.mail import Mail
from bridge.lab.campaign.mishap import Mishap, MishapKind
from bridge.lab.campaign.plan import Plan
from bridge.lab.campaign.scenario import Images
from bridge.lab.campaign.timeline import Timeline
from bridge.lab.campaign.world import SimulatedWorld
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.clock import Timing
from bridge.virtual.events import BoardEvent
from bridge.virtual.faults import ByteFault, FaultPlan, ReplyFault

SERIAL_NUMBER: Final = "001051216197"
_LATE_MS: Final = 14_000
"""Longer than the bridge waits for any ordinary answer."""
_FALLBACK_OUTAGE_S: Final = 3.0
_SHOWN: Final = frozenset(
    ("power-on", "power-off", "reset", "boot", "ready", "confirmed", "recovery", "no-image", "crash")
) | {"bootloader", "bootloader-mode", "modem-update", "hung"}
_BYTE_FAULTS: Final = {
    MishapKind.POWER_AT_BYTE: ByteFault.POWER_CUT,
    MishapKind.BYTE_DROPPED: ByteFault.DROP,
    MishapKind.BYTE_FLIPPED: ByteFault.FLIP,
    MishapKind.BYTE_DOUBLED: ByteFault.DUPLICATE,
    MishapKind.BURST_LOST: ByteFault.DROP,
}
_REPLY_FAULTS: Final = {
    MishapKind.REPLY_LOST: ReplyFault.DROP,
    MishapKind.REPLY_LATE: ReplyFault.DELAY,
    MishapKind.REPLY_DOUBLED: ReplyFault.DUPLICATE,
}


class Bench:
    """A board and its surroundings.

    Args:
        world: Where it is.
        timeline: Gets notes.
        plan: Says which board, and what befalls it, its line and its port.
        images: What it runs.

    Attributes:
        board: The board.
        powered: Whether it has its supply.
    """

    def __init__(
        self,
        world: SimulatedWorld,
        timeline: Timeline,
        plan: Plan,
        images: Images,
    ) -> None:
        scenario, mishaps = plan.scenario, plan.mishaps
        self._timeline = timeline
        self._mishaps = mishaps
        self._outages = [
            each for each in mishaps if each.kind in {MishapKind.POWER_AT_FLASH, MishapKind.POWER_IN_MODEM}
        ]
        self._byte_outage_s = max(
            (each.lasts_s for each in mishaps if each.kind is MishapKind.POWER_AT_BYTE),
            default=_FALLBACK_OUTAGE_S,
        )
        self._numbers = itertools.count()
        self._calm = False
        self._name: str | None = self._next_name()
        self._mail = Mail()
        self.powered = False
        self.changed = clock.condition()
        self.board = VirtualBoard(
            firmware=scenario.firmware,
            timing=Timing.REAL,
            factory_image=images.application(
                scenario.versions[0] if scenario.part == "application" else "1.0.0"
            ),
            keys=[images.public_key_pem],
            faults=_fault_plan(plan),
            flow_control=scenario.flow_control,
            **scenario.board,
        )
        self.board.flash.seed_tears(plan.seed)
        self.board.on_event(self._on_event)
        registry.register(self._name, self.board)
        world.spawn(world.process("bench"), "bench", self._run)

    def _run(self) -> None:
        self._arm_power_cuts()
        self.board.start()
        self._mail.run()

    def close(self) -> None:
        """Forget the board's name; the world ends its thread."""
        if self._name is not None:
            registry.unregister(self._name)

    # --- mishaps --------------------------------------------------------------------------------------------

    def start_clock(self) -> None:
        """Mishaps at moments count from now."""
        for mishap in self._mishaps:
            if mishap.kind is MishapKind.POWER_AT_TIME:
                self._mail.put(mishap.where / 1000, lambda mishap=mishap: self._cut_power(mishap))  # type: ignore[misc]
            elif mishap.kind is MishapKind.USB_RENAMED:
                self._mail.put(mishap.where / 1000, lambda mishap=mishap: self._rename(mishap))  # type: ignore[misc]

    def no_more_mishaps(self) -> None:
        """From now on nothing goes wrong any more."""
        self._calm = True
        self._outages.clear()
        self.board.flash.cut_power_at(None)
        self.board.modem_operations.cut_power_at(None)
        self.board.rx_faults.forget()
        self.board.tx_faults.forget()
        self.board.replies.forget()

    def _arm_power_cuts(self) -> None:
        flash, modem = self.board.flash, self.board.modem_operations
        for cutter, kind, count in (
            (flash.cut_power_at, MishapKind.POWER_AT_FLASH, flash.operations),
            (modem.cut_power_at, MishapKind.POWER_IN_MODEM, modem.count),
        ):
            following = [each for each in self._outages if each.kind is kind and each.where > count]
            if following:
                mishap = min(following, key=lambda each: each.where)
                cutter(mishap.where, mishap.tear)

    def _outage_s(self) -> float:
        """How long the cut lasts that has just come."""
        flash, modem = self.board.flash.operations, self.board.modem_operations.count
        for mishap in self._outages:
            if mishap.where == (flash if mishap.kind is MishapKind.POWER_AT_FLASH else modem):
                return mishap.lasts_s
        return self._byte_outage_s

    def _cut_power(self, mishap: Mishap) -> None:
        if self.powered and not self._calm:
            self._timeline.note("fault", str(mishap))
            self.board.power_cut()
            self._mail.put(mishap.lasts_s, self.board.power_on)

    def _rename(self, mishap: Mishap) -> None:
        if self._name is None or self._calm:
            return
        self._timeline.note("fault", str(mishap))
        old, self._name = self._name, None
        registry.re_enumerate(old, None)
        self._mail.put(mishap.lasts_s, self._come_back)

    def _next_name(self) -> str:
        return f"campaign-{next(self._numbers)}"

    def _come_back(self) -> None:
        self._name = self._next_name()
        registry.register(self._name, self.board)
        self._timeline.note("board", "port is back under another name")
        with self.changed:
            self.changed.notify_all()

    # --- looking after it -----------------------------------------------------------------------------------

    def ports(self) -> Iterable[PortInfo]:
        """What the host sees on USB."""
        if self._name is not None:
            yield PortInfo(f"virtual://{self._name}", SERIAL_NUMBER, board="nrf9151dk", interface=0)

    def release_port(self) -> None:
        """What the kernel does for a process that has ended."""
        self.board.cable.unplug()

    def settle(self, timeout_s: float) -> None:
        """Wait until the supply and the port are back."""
        with self.changed:
            self.changed.wait_for(lambda: self.powered and self._name is not None, timeout_s)

    def restart(self) -> None:
        """Switch the board off and on."""
        if self.powered:
            self.board.power_cut()
        self.board.power_on()

    def wait_up(self, timeout_s: float) -> str | None:
        """Wait until the board has started; the last event says what, None when it does not."""
        up = ("ready", "recovery", "bootloader-mode", "no-image", "hung")

        def state() -> str | None:
            for event in reversed(self.board.events):
                if event.kind in up:
                    return event.kind
                if event.kind in {"power-off", "reset", "power-on"}:
                    return None
            return None

        with self.changed:
            return self.changed.wait_for(state, timeout_s)

    def _on_event(self, event: BoardEvent) -> None:
        if event.kind in _SHOWN:
            details = {key: value for key, value in event.details.items() if key not in {"log", "digest"}}
            self._timeline.note_at(event.time_s, "board", event.kind, **details)
        if event.kind in {"power-on", "power-off"}:
            self.powered = event.kind == "power-on"
        if event.kind == "power-off" and event.details.get("reason") == "fault plan":
            outage_s = self._outage_s()
            self._timeline.note("fault", f"power cut, for {outage_s:g} s")
            self._arm_power_cuts()
            self._mail.put(outage_s, self.board.power_on)
        with self.changed:
            self.changed.notify_all()


def _fault_plan(plan: Plan) -> FaultPlan:
    rx: dict[int, ByteFault] = {}
    tx: dict[int, ByteFault] = {}
    replies: dict[int, ReplyFault] = {}
    for mishap in plan.mishaps:
        if mishap.kind in _BYTE_FAULTS:
            first = mishap.where - 1
            way = tx if mishap.to_host else rx
            way |= dict.fromkeys(range(first, first + max(1, mishap.size)), _BYTE_FAULTS[mishap.kind])
        elif mishap.kind in _REPLY_FAULTS:
            replies[mishap.where - 1] = _REPLY_FAULTS[mishap.kind]
    return FaultPlan(rx=rx, tx=tx, replies=replies, reply_delay_ms=_LATE_MS, seed=plan.seed)

"""labgrid strategy for a board: ``NrfStrategy``."""

import enum

import attr
from labgrid.factory import target_factory
from labgrid.step import step
from labgrid.strategy import Strategy, StrategyError


class Status(enum.Enum):
    """States of :class:`NrfStrategy`."""

    unknown = 0
    off = 1
    normal = 2
    recovery = 3


@target_factory.reg_driver
@attr.s(eq=False)
class NrfStrategy(Strategy):
    """Brings a board into a state: ``off``, ``normal`` (its application answers) or ``recovery`` (MCUboot's does).

    ``off`` needs a power driver of labgrid's; ``recovery`` an application with an SMP server.
    """

    bindings = {"bridge": "NrfBridgeDriver", "power": {"PowerProtocol", None}}  # noqa: RUF012 - labgrid's way

    status: Status = attr.ib(default=Status.unknown)

    @step(args=["status"])
    def transition(self, status: Status | str) -> None:
        """Go to a state; raises ``StrategyError`` where there is no way, and the bridge's errors where it fails."""
        wanted = status if isinstance(status, Status) else Status[status]
        if wanted is Status.unknown:
            raise StrategyError("a board cannot be brought into an unknown state")
        if wanted is self.status:
            return
        self.status = Status.unknown  # until it is there
        {Status.off: self._off, Status.normal: self._normal, Status.recovery: self._recovery}[wanted]()
        self.status = wanted

    def force(self, status: Status | str) -> None:
        """Say which state the board is in."""
        self.status = status if isinstance(status, Status) else Status[status]

    def _off(self) -> None:
        if self.power is None:
            raise StrategyError("a board without a power driver cannot be switched off")
        self.target.deactivate(self.bridge)
        self.target.activate(self.power)
        self.power.off()

    def _normal(self) -> None:
        if self.power is not None:
            self.target.activate(self.power)
            self.power.on()
        self.target.activate(self.bridge)
        if self.bridge.identify().firmware == "mcuboot-recovery":
            self.bridge.reset()
            self.bridge.identify()

    def _recovery(self) -> None:
        self._normal()
        self.bridge.enter_recovery()

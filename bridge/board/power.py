"""Power of a board: off, on, and off for a moment; by a virtual board's switch, a command of one's own, or ``uhubctl``.

Sources: ``uhubctl`` 2.5 (``-l HUB -p PORT -a off|on``). It ends with 0 also when a hub does not do what it was told, so the
status that it prints afterwards decides.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from bridge import clock
from bridge.board.bench_command import run_command
from bridge.errors import BenchError, UsageError

DEFAULT_OFF_S: Final = 2.0
"""How long a board is left without power: long enough for its capacitors and for USB to notice."""
DEFAULT_TIMEOUT_S: Final = 30.0

_PORT_STATUS: Final = re.compile(r"^\s+Port (\d+): [0-9a-f]{4}([^\[\n]*)", re.MULTILINE)
_OLD_STATUS: Final = "Current status for hub"
_NEW_STATUS: Final = "New status for hub"


class PowerControl(Protocol):
    """A switch in a board's supply. Each method returns when the switch has moved, not when the board has started.

    All of them raise :class:`~bridge.errors.BenchError` when the switch does not do it: ``power-failed``,
    ``power-timeout``, ``power-tool-missing`` or ``power-not-switched``.
    """

    def on(self) -> None:
        """Give the board power; harmless when it has some."""
        ...

    def off(self) -> None:
        """Take the power away, whatever goes on; harmless when it is off."""
        ...

    def cycle(self) -> None:
        """Take the power away for a moment."""
        ...


class PowerSwitch(Protocol):
    """What :class:`VirtualPower` needs of a virtual board."""

    def power_on(self) -> None:
        """Give the supply back."""
        ...

    def power_cut(self) -> None:
        """Take the supply away."""
        ...


@dataclass(frozen=True)
class VirtualPower:
    """The switch of a virtual board in this process.

    Attributes:
        find: Gives the board each time it is switched; a ``BridgeError`` of it passes.
    """

    find: Callable[[], PowerSwitch]

    def on(self) -> None:
        """Give the board power."""
        self._do("on", self.find().power_on)

    def off(self) -> None:
        """Take the power away."""
        self._do("off", self.find().power_cut)

    def cycle(self) -> None:
        """Off and on again: a virtual board has no capacitors."""
        self.off()
        self.on()

    def _do(self, action: str, switch: Callable[[], None]) -> None:
        try:
            switch()
        except TimeoutError as error:
            raise BenchError(
                f"the virtual board does not react to power {action}",
                reason="power-timeout",
                hint="Was it stopped?",
            ) from error


@dataclass(frozen=True)
class CommandPower:
    """Commands of one's own, such as those of a relay card or a switchable socket.

    A command is a text for ``/bin/sh``, or a sequence of program and arguments. It finds what is wanted of it in
    ``NRF91_BRIDGE_POWER`` (``on``, ``off`` or ``cycle``), and must end, with 0, within its deadline.

    Attributes:
        on_command: Gives power.
        off_command: Takes it away.
        cycle_command: Does both; None runs the other two with a pause between.
        off_s: That pause in seconds.
        timeout_s: Deadline of each command.
        directory: Where they run; None for that of this process.
        environment: More environment variables for them.
    """

    on_command: str | tuple[str, ...]
    off_command: str | tuple[str, ...]
    cycle_command: str | tuple[str, ...] | None = None
    off_s: float = DEFAULT_OFF_S
    timeout_s: float = DEFAULT_TIMEOUT_S
    directory: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def on(self) -> None:
        """Run the command for on."""
        self._run("on", self.on_command)

    def off(self) -> None:
        """Run the command for off."""
        self._run("off", self.off_command)

    def cycle(self) -> None:
        """Run the command for it, or those for off and on."""
        if self.cycle_command is not None:
            self._run("cycle", self.cycle_command)
        else:
            _off_and_on(self, self.off_s)

    def _run(self, action: str, command: str | tuple[str, ...]) -> None:
        arguments = ("/bin/sh", "-c", command) if isinstance(command, str) else command
        ended = run_command(
            arguments,
            f"the power command ({action})",
            timeout_s=self.timeout_s,
            directory=self.directory,
            environment={**self.environment, "NRF91_BRIDGE_POWER": action},
        )
        if ended.code != 0:
            raise BenchError(
                f"the power command ({action}) ended with {ended.code}{ended.last_words}",
                reason="power-failed",
                hint="Run it by hand to see what it needs.",
            )


@dataclass(frozen=True)
class UhubctlPower:
    """A port of a USB hub with switched ports, by ``uhubctl``.

    Attributes:
        hub: Location of the hub, such as ``1-1.4``, as ``uhubctl`` lists it.
        port: Number of its port.
        off_s: How long a cycle leaves the board without power, in seconds.
        timeout_s: Deadline of each call.
        program: Name or path of ``uhubctl``.

    Raises:
        UsageError: Hub or port make no sense.
    """

    hub: str
    port: int
    off_s: float = DEFAULT_OFF_S
    timeout_s: float = DEFAULT_TIMEOUT_S
    program: str = "uhubctl"

    def __post_init__(self) -> None:
        """Check what would switch other ports than meant."""
        if not re.fullmatch(r"[0-9]+(-[0-9]+(\.[0-9]+)*)?", self.hub):
            raise UsageError(
                f"{self.hub!r} is no location of a hub",
                reason="bad-hub",
                hint="Run uhubctl without options; it lists them, such as 1-1.4.",
            )
        if self.port < 1:
            raise UsageError(f"a hub has no port {self.port}", reason="bad-hub")

    def on(self) -> None:
        """Switch the port on."""
        self._switch("on")

    def off(self) -> None:
        """Switch the port off."""
        self._switch("off")

    def cycle(self) -> None:
        """Off, a pause, and on; each is checked, which ``uhubctl -a cycle`` does not do."""
        _off_and_on(self, self.off_s)

    def _switch(self, action: str) -> None:
        arguments = (self.program, "-l", self.hub, "-p", str(self.port), "-a", action)
        ended = run_command(arguments, "uhubctl", timeout_s=self.timeout_s)
        if ended.code != 0:
            raise BenchError(
                f"uhubctl did not switch port {self.port} of hub {self.hub} {action}{ended.last_words}",
                reason="power-failed",
                hint="`uhubctl` lists the hubs that it can switch; without root it needs a udev rule for them.",
            )
        states = port_states(ended.output, self.port)
        if not states or any(state is not (action == "on") for state in states):
            raise BenchError(
                f"port {self.port} of hub {self.hub} is not {action} after uhubctl switched it",
                reason="power-not-switched",
                hint="Not every hub can switch its ports, and some only pretend to; see uhubctl's list.",
            )


def port_states(output: str, port: int) -> list[bool]:
    """Whether a port has power after the action, as ``uhubctl`` printed it; a USB 3 hub is two hubs to it."""
    _, *after = output.split(_NEW_STATUS)
    found = (match for part in after for match in _PORT_STATUS.finditer(part.partition(_OLD_STATUS)[0]))
    return ["power" in match[2].split() for match in found if int(match[1]) == port]


def _off_and_on(power: PowerControl, off_s: float) -> None:
    power.off()
    clock.event().wait(off_s)
    power.on()

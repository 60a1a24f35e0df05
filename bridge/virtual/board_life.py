"""A board from power-on to power-off: what starts what, and what every reset forgets.

Nothing is remembered through a reset but what memories and retained registers hold: MCUboot and the application are made anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.virtual.applications import Application, ApplicationOptions, make_application
from bridge.virtual.boot_machine import BootMachine
from bridge.virtual.bootloader import Bootloader
from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.bootloader_slots import start_bootloader
from bridge.virtual.clock import NS_PER_S, Timeline
from bridge.virtual.cpu import Cpu
from bridge.virtual.faults import FaultPlan, ReplyFaults
from bridge.virtual.hardware import Hardware
from bridge.virtual.layout import BoardModel
from bridge.virtual.memories import Memories
from bridge.virtual.modem import Modem, ModemOptions
from bridge.virtual.modem_power import ModemOperations
from bridge.virtual.retention import RetainedState
from bridge.virtual.running_image import RunningImage
from bridge.virtual.uart import Uart

_WATCHDOG_NS: Final = 2 * NS_PER_S
_MAX_CRASHES: Final = 20


@dataclass(frozen=True)
class BoardParts:
    """What is soldered together.

    Attributes:
        model: The board's model.
        timeline: Its time.
        cpu: The processor.
        uart: The line to the host.
        memories: What it keeps without power.
        faults: What goes wrong on purpose.
        replies: What happens to replies on purpose.
        modem_operations: Carries out what the modem does to its own flash.
        changed: Called when a memory may have changed.
        note: Records an event for people and tests.
    """

    model: BoardModel
    timeline: Timeline
    cpu: Cpu
    uart: Uart
    memories: Memories
    faults: FaultPlan
    replies: ReplyFaults
    modem_operations: ModemOperations
    changed: Callable[[], None]
    note: Callable[..., None]


@dataclass
class BoardBuild:
    """What was built into it, and what is around it.

    Attributes:
        firmware: Personality of the applications in flash.
        keys: Public keys (PEM) that MCUboot trusts.
        bootloader: Kconfig of MCUboot.
        application: How applications are built.
        modem: The modem's surroundings.
        button_held: Somebody holds the board's button down.
    """

    firmware: str
    keys: Sequence[bytes]
    bootloader: BootloaderOptions
    application: ApplicationOptions
    modem: ModemOptions
    button_held: bool


class BoardLife:
    """Power, resets, MCUboot, and the application that it starts; everything on the board's thread.

    Args:
        parts: The board.
        build: Its firmware and surroundings.

    Attributes:
        powered: Whether it has power.
        retained: What a reset leaves alone.
    """

    def __init__(self, parts: BoardParts, build: BoardBuild) -> None:
        self.powered = False
        self.retained = RetainedState()
        self._parts = parts
        self._build = build
        self._application: Application | None = None
        self._crashes = 0

    def switch_on(self) -> None:
        """Give it power."""
        if not self.powered:
            self.powered = True
            self._parts.note("power-on")
            self._parts.cpu.submit(self._boot)

    def switch_off(self, reason: str) -> None:
        """Take the power away, in the middle of whatever goes on."""
        self._halt()
        self.powered = False
        self.retained.power_lost()
        self._parts.changed()
        self._parts.note("power-off", reason=reason)

    def reset(self, reason: str) -> None:
        """Start again; what is on its way in the UART is lost."""
        if self.powered:
            self._halt()
            self.retained.reset(reason)
            self._parts.note("reset", reason=reason)
            self._parts.cpu.submit(self._boot)

    def on_received(self) -> None:
        """The UART has bytes."""
        if self._application is not None:
            self._application.on_received()

    def _halt(self) -> None:
        cpu = self._parts.cpu
        now_ns = cpu.now_ns
        self._application = None
        self._parts.uart.disable()
        cpu.halt()
        self._parts.timeline.clear()
        cpu.wait_until(now_ns)

    def _boot(self) -> None:
        parts, memories = self._parts, self._parts.memories
        layout = parts.model.layout
        if not start_bootloader(memories.flash, layout, memories.otp, self._build.keys, parts.note):
            return
        machine = BootMachine(
            cpu=parts.cpu,
            uart=parts.uart,
            flash=memories.flash,
            layout=layout,
            replies=parts.replies,
            retained=self.retained,
            button_held=lambda: self._build.button_held,
            reset=self.reset,
            note=parts.note,
        )
        bootloader = Bootloader(machine, self._build.bootloader, self._build.keys, self._start_application)
        self._application = bootloader
        bootloader.start()

    def _start_application(self) -> None:
        self._application = None
        image = RunningImage(self._parts.memories.flash, self._parts.model.layout)
        if image.behaviour.crash_loop:
            self._crash(image)
            return
        self._crashes = 0
        self._application = make_application(
            self._build.firmware, self._hardware(), image, self._build.application
        )
        self._application.start()

    def _crash(self, image: RunningImage) -> None:
        self._crashes += 1
        self._parts.note("crash", version=image.version)
        if self._crashes >= _MAX_CRASHES:
            # A confirmed image that crashes would go on for ever, and simulated time with it.
            self._parts.note("hung", version=image.version)
            return
        self._parts.timeline.at(self._parts.cpu.now_ns + _WATCHDOG_NS, lambda: self.reset("watchdog"))

    def _hardware(self) -> Hardware:
        parts = self._parts
        modem = Modem(
            parts.memories.modem_nvm,
            parts.cpu,
            self.modem_says,
            self._build.modem,
            parts.model,
            changed=parts.changed,
            operations=parts.modem_operations,
        )
        return Hardware(
            timeline=parts.timeline,
            cpu=parts.cpu,
            uart=parts.uart,
            flash=parts.memories.flash,
            layout=parts.model.layout,
            modem=modem,
            faults=parts.faults,
            replies=parts.replies,
            retained=self.retained,
            reset=self.reset,
            note=parts.note,
        )

    def modem_says(self, line: str) -> None:
        """The modem says something unasked; nobody hears it while there is no application."""
        if self._application is not None:
            self._application.on_modem_notification(line)

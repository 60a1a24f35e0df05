"""A virtual nRF91 board: one thread that owns everything on it, from power-on to power-off.

The thread waits for the next event in board time or for the host's end of the cable to change, whichever
comes first. After every reset all that the board knows is read again from flash and the modem's memory.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from bridge.errors import UsageError
from bridge.virtual.applications import (
    RECOVERY_FIRMWARE,
    Application,
    ApplicationOptions,
    check_firmware,
    make_application,
)
from bridge.virtual.boot_machine import BootMachine
from bridge.virtual.bootloader import Bootloader
from bridge.virtual.bootloader_options import BootloaderOptions, default_options
from bridge.virtual.bootloader_slots import start_bootloader
from bridge.virtual.cable import DEFAULT_BAUD, Cable
from bridge.virtual.clock import NS_PER_MS, NS_PER_S, Timeline, Timing
from bridge.virtual.cpu import Cpu
from bridge.virtual.events import BoardEvent
from bridge.virtual.factory_bootloader import factory_bootloader
from bridge.virtual.faults import ByteFaults, FaultPlan, PowerCutError
from bridge.virtual.flash import WORD_WRITE_NS, Flash
from bridge.virtual.hardware import Hardware
from bridge.virtual.layout import board_model
from bridge.virtual.modem import Modem, ModemOptions
from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.otp import Otp
from bridge.virtual.retention import RetainedState
from bridge.virtual.running_image import RunningImage
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.state import StateDir
from bridge.virtual.state_keeper import StateKeeper
from bridge.virtual.uart import BAUD_RATES, Uart
from bridge.virtual.uart_options import UartOptions
from bridge.virtual.usb_adapter import UsbAdapter

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_WATCHDOG_NS: Final = 2 * NS_PER_S
_MAX_CRASHES: Final = 20
_CALL_TIMEOUT_S: Final = 60.0


class VirtualBoard:
    """A board behind a :class:`~bridge.virtual.cable.Cable`.

    Args:
        model: See :data:`bridge.virtual.layout.BOARD_MODELS`.
        firmware: Personality of the applications in flash, see :mod:`bridge.virtual.applications`; or ``mcuboot`` for a
            board that comes up in serial recovery because its button is held down (its application is that of ``smp``).
        timing: Real pace, or as fast as it goes.
        factory_image: Signed image in the primary slot of a fresh board; without one its flash is blank.
        keys: Public keys (PEM) that MCUboot trusts; with none it checks digests only.
        state_dir: Where the board lives between processes.
        faults: What goes wrong on purpose.
        baud: Rate of the UART after a reset.
        flow_control: The UART uses RTS/CTS; None for what the model has.
        modem: The modem and its surroundings.
        smp: Kconfig of the SMP server, for ``smp``.
        bootloader: Kconfig of MCUboot; None for what the model ships.
        button_held: Somebody holds the board's button down from the start; None for what ``firmware`` says.
        uart: How the UART receives.
        usb_latency_ms: How much later bytes arrive, each way, through an adapter in the cable.
        ideal_flash: Flash operations take no time; for measurements.
        serial_modem: How Serial Modem was built, for ``serial-modem``.

    Raises:
        UsageError: Unknown model or firmware, or an impossible rate.
        BenchError: Another process has the state directory.
    """

    def __init__(
        self,
        model: str = "nrf9151dk",
        *,
        firmware: str = "serial-modem",
        timing: Timing | str = Timing.SIMULATED,
        factory_image: bytes | None = None,
        keys: Sequence[bytes] = (),
        state_dir: Path | None = None,
        faults: FaultPlan | None = None,
        baud: int = DEFAULT_BAUD,
        flow_control: bool | None = None,
        modem: ModemOptions | None = None,
        smp: SmpOptions | None = None,
        bootloader: BootloaderOptions | None = None,
        button_held: bool | None = None,
        uart: UartOptions | None = None,
        usb_latency_ms: float = 0,
        ideal_flash: bool = False,
        serial_modem: SerialModemOptions | None = None,
    ) -> None:
        check_firmware(firmware)
        if baud not in BAUD_RATES:
            raise UsageError(f"the board's UART cannot run at {baud} baud", reason="bad-baud")
        self.model = model
        self.firmware = firmware
        board = board_model(model)
        self.layout = board.layout
        self.timing = Timing(timing)
        self.cable = Cable()
        self.events: list[BoardEvent] = []
        self.faults = faults or FaultPlan()
        self._keys = tuple(keys)
        self._modem_options = modem or ModemOptions()
        self._application_options = ApplicationOptions(
            baud, smp or SmpOptions(), serial_modem or SerialModemOptions()
        )
        recovers = firmware == RECOVERY_FIRMWARE
        self._bootloader_options = bootloader or default_options(model, button=recovers)
        self._button_held = recovers if button_held is None else button_held
        self._retained = RetainedState()
        self._event_condition = threading.Condition()
        self._listeners: list[Callable[[BoardEvent], None]] = []
        self._mailbox: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._timeline = Timeline(self.timing)
        self._cpu = Cpu(self._timeline)
        uart = uart or UartOptions()
        has_flow_control = board.flow_control if flow_control is None else flow_control
        self._uart = Uart(
            self._timeline,
            self._wire(usb_latency_ms),
            on_received=self._on_received,
            on_overrun=lambda count: self._note("bytes-lost", count=count),
            options=replace(uart, flow_control=uart.flow_control and has_flow_control),
            rx_faults=ByteFaults(self.faults.rx, self.faults.seed, self.faults.rx_rates),
            tx_faults=ByteFaults(self.faults.tx, self.faults.seed, self.faults.tx_rates),
        )
        self._ideal_flash = ideal_flash
        self._powered = False
        self._application: Application | None = None
        self._crashes = 0
        self._flash_operations = self._erased_pages = 0
        state = None if state_dir is None else StateDir(state_dir)
        self._keeper = StateKeeper(state)
        self.flash, self.modem_nvm = self._load(state, factory_image)
        self.otp = self._provision(state)
        self._keeper.otp = self.otp
        self.flash.on_operation = self._on_flash_operation

    def _wire(self, usb_latency_ms: float) -> Cable | UsbAdapter:
        if not usb_latency_ms:
            return self.cable
        latency_ns = int(usb_latency_ms * NS_PER_MS)
        return UsbAdapter(self.cable, self._timeline, latency_ns, self._on_sent)

    def _provision(self, state: StateDir | None) -> Otp:
        otp = None if state is None else state.load_otp()
        slots = self.layout.bootloader_slots
        blank = slots is not None and all(self.flash.is_erased(slot.address, slot.size) for slot in slots)
        if otp is None and slots is not None and blank:
            self.flash.program(slots[0].address, factory_bootloader(slots[0]))
        return otp or Otp()

    def _load(self, state: StateDir | None, factory_image: bytes | None) -> tuple[Flash, ModemNvm]:
        content = None if state is None else state.load_flash()
        nvm = None if state is None else state.load_modem()
        flash = self.layout.make_flash(content)
        if content is None and factory_image is not None:
            slot = self.layout.primary
            if len(factory_image) > slot.size:
                raise UsageError(
                    f"the factory image does not fit into {slot.size} bytes", reason="image-too-large"
                )
            flash.program(slot.address, factory_image)
        model = board_model(self.model)
        return flash, nvm or ModemNvm(family=model.modem_family, version=model.modem_version)

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> "VirtualBoard":
        """Start the board's thread and switch the power on."""
        if self._thread is None:
            self._stopping = False
            self._mailbox.append(self._switch_on)
            self._thread = threading.Thread(target=self._run, name=f"virtual-{self.model}", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Switch the power off, save the state and end the thread; whoever has the port open loses it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping = True
            self.cable.wake()
            thread.join()
            self.cable.interrupt()
        self._keeper.close()

    def __enter__(self) -> "VirtualBoard":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the board's thread runs (the power may be off)."""
        return self._thread is not None and self._thread.is_alive()

    def power_cut(self) -> None:
        """Take the supply away, in the middle of whatever goes on."""
        self.call(lambda: self._switch_off("power cut"))

    def power_on(self) -> None:
        """Give the supply back."""
        self.call(self._switch_on)

    def reset(self) -> None:
        """Press the reset button: a pin reset."""
        self.call(lambda: self._reset("button"))

    def hold_button(self) -> None:
        """Press the button that MCUboot looks at (``mcuboot-button0``), and keep it down."""
        self.call(lambda: setattr(self, "_button_held", True))

    def release_button(self) -> None:
        """Let that button go."""
        self.call(lambda: setattr(self, "_button_held", False))

    def call(self, function: Callable[[], _Result]) -> _Result:
        """Run a function on the board's thread and return what it returns."""
        future: Future[_Result] = Future()

        def work() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)

        self._mailbox.append(work)
        self.cable.wake()
        return future.result(_CALL_TIMEOUT_S)

    # --- looking at it --------------------------------------------------------------------------------------

    @property
    def rts_asserted(self) -> bool:
        """Whether the board lets a host with flow control send."""
        return self._uart.rts_asserted

    @property
    def late_events(self) -> int:
        """How many events at real timing came so late that a host could notice."""
        return self._timeline.late_events

    def on_event(self, listener: Callable[[BoardEvent], None]) -> None:
        """Call ``listener`` on the board's thread for everything that happens from now on."""
        self._listeners.append(listener)

    def wait_for_event(self, kind: str, *, count: int = 1, timeout_s: float = 30.0) -> BoardEvent:
        """Wait until ``count`` events of a kind have happened since the board was made; returns the last.

        Raises:
            TimeoutError: They did not happen in time.
        """
        with self._event_condition:
            if not self._event_condition.wait_for(lambda: len(self._events_of(kind)) >= count, timeout_s):
                raise TimeoutError(f"no {kind} event number {count} of the virtual board")
            return self._events_of(kind)[count - 1]

    def _events_of(self, kind: str) -> list[BoardEvent]:
        return [event for event in self.events if event.kind == kind]

    def _note(self, kind: str, **details: object) -> None:
        event = BoardEvent(self._cpu.now_ns / NS_PER_S, kind, details)
        _logger.debug("%.3f s: %s %s", event.time_s, kind, details)
        with self._event_condition:
            self.events.append(event)
            self._event_condition.notify_all()
        for listener in self._listeners:
            listener(event)

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._step()
            except PowerCutError:
                self._switch_off("fault plan")
        if self._powered:
            self._switch_off("stopped")
        self._keeper.save(self.flash.dump, self.modem_nvm)

    def _step(self) -> None:
        self._timeline.follow_wall_clock()
        while self._mailbox:
            self._mailbox.popleft()()
        if self._powered:
            self._uart.poll()
        elif self.cable.pending():
            self.cable.take(self.cable.pending())  # nobody is there
        pause_s = self._timeline.run_due()
        if pause_s == 0.0:
            return
        save_s = self._keeper.save_when_due(self.flash.dump, self.modem_nvm)
        pauses = [each for each in (pause_s, save_s) if each is not None]
        self.cable.wait(min(pauses, default=None))

    def _on_sent(self) -> None:
        self._uart.poll()

    def _on_received(self) -> None:
        if self._application is not None:
            self._application.on_received()

    def _on_flash_operation(self, duration_ns: int) -> None:
        self._keeper.changed()
        self._spend_on_flash(0 if self._ideal_flash else duration_ns)
        self._flash_operations += 1
        if self._flash_operations == self.faults.power_cut_at_flash_operation:
            raise PowerCutError

    def _spend_on_flash(self, duration_ns: int) -> None:
        begin_ns = self._cpu.now_ns
        self._cpu.spend(duration_ns)
        before, self._erased_pages = self._erased_pages, self.flash.erased_pages
        erased = self._erased_pages > before
        if self.flash.stalls_cpu:
            self._uart.stall(begin_ns, self._cpu.now_ns, duration_ns if erased else WORD_WRITE_NS)

    # --- power, reset, boot ---------------------------------------------------------------------------------

    def _switch_on(self) -> None:
        if not self._powered:
            self._powered = True
            self._note("power-on")
            self._cpu.submit(self._boot)

    def _switch_off(self, reason: str) -> None:
        self._halt()
        self._powered = False
        self._retained.power_lost()
        self._keeper.changed()
        self._note("power-off", reason=reason)

    def _reset(self, reason: str) -> None:
        if self._powered:
            self._halt()
            self._retained.reset(reason)
            self._note("reset", reason=reason)
            self._cpu.submit(self._boot)

    def _halt(self) -> None:
        now_ns = self._cpu.now_ns
        self._application = None
        self._uart.disable()
        self._cpu.halt()
        self._timeline.clear()
        self._cpu.wait_until(now_ns)

    def _boot(self) -> None:
        if not start_bootloader(self.flash, self.layout, self.otp, self._keys, self._note):
            return
        machine = BootMachine(
            cpu=self._cpu,
            uart=self._uart,
            flash=self.flash,
            layout=self.layout,
            retained=self._retained,
            button_held=lambda: self._button_held,
            reset=self._reset,
            note=self._note,
        )
        bootloader = Bootloader(machine, self._bootloader_options, self._keys, self._start_application)
        self._application = bootloader
        bootloader.start()

    def _start_application(self) -> None:
        self._application = None
        image = RunningImage(self.flash, self.layout)
        if image.behaviour.crash_loop:
            self._crash(image)
            return
        self._crashes = 0
        self._application = make_application(
            self.firmware, self._hardware(), image, self._application_options
        )
        self._application.start()

    def _crash(self, image: RunningImage) -> None:
        self._crashes += 1
        self._note("crash", version=image.version)
        if self._crashes >= _MAX_CRASHES:
            # A confirmed image that crashes would go on for ever, and simulated time with it.
            self._note("hung", version=image.version)
            return
        self._timeline.at(self._cpu.now_ns + _WATCHDOG_NS, lambda: self._reset("watchdog"))

    def _hardware(self) -> Hardware:
        modem = Modem(
            self.modem_nvm,
            self._cpu,
            self._modem_notification,
            self._modem_options,
            board_model(self.model),
            changed=self._keeper.changed,
        )
        return Hardware(
            timeline=self._timeline,
            cpu=self._cpu,
            uart=self._uart,
            flash=self.flash,
            layout=self.layout,
            modem=modem,
            faults=self.faults,
            retained=self._retained,
            reset=self._reset,
            note=self._note,
        )

    def _modem_notification(self, line: str) -> None:
        if self._application is not None:
            self._application.on_modem_notification(line)

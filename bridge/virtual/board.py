"""A virtual nRF91 board: one thread that owns everything on it, from power-on to power-off.

The thread waits for the next event in board time or for the host's end of the cable to change, whichever
comes first. After every reset all that the board knows is read again from flash and the modem's memory.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar

from bridge.errors import UsageError
from bridge.virtual.applications import Application, ApplicationOptions, check_firmware, make_application
from bridge.virtual.bootloader_slots import start_bootloader
from bridge.virtual.cable import DEFAULT_BAUD, Cable
from bridge.virtual.clock import NS_PER_MS, NS_PER_S, Timeline, Timing
from bridge.virtual.cpu import Cpu
from bridge.virtual.events import BoardEvent
from bridge.virtual.factory_bootloader import factory_bootloader
from bridge.virtual.faults import ByteFaults, FaultPlan, PowerCutError
from bridge.virtual.flash import Flash
from bridge.virtual.hardware import Hardware
from bridge.virtual.layout import board_model, layout_of
from bridge.virtual.mcuboot import boot
from bridge.virtual.modem import Modem, ModemOptions
from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.otp import Otp
from bridge.virtual.running_image import RunningImage
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.state import StateDir
from bridge.virtual.state_keeper import StateKeeper
from bridge.virtual.uart import BAUD_RATES, Uart

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_BOOTLOADER_NS: Final = 100 * NS_PER_MS
_WATCHDOG_NS: Final = 2 * NS_PER_S
_MAX_CRASHES: Final = 20
_CALL_TIMEOUT_S: Final = 60.0


class VirtualBoard:
    """A board behind a :class:`~bridge.virtual.cable.Cable`.

    Args:
        model: ``nrf9151dk``.
        firmware: Personality of the applications in flash: see :mod:`bridge.virtual.applications`.
        timing: Real pace, or as fast as it goes.
        factory_image: Signed image in the primary slot of a fresh board; without one its flash is blank.
        keys: Public keys (PEM) that MCUboot trusts; with none it checks digests only.
        state_dir: Where the board lives between processes.
        faults: What goes wrong on purpose.
        baud: Rate of the UART after a reset.
        flow_control: The UART uses RTS/CTS.
        modem: The modem and its surroundings.
        smp: Kconfig of the SMP server, for ``smp``.
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
        flow_control: bool = True,
        modem: ModemOptions | None = None,
        smp: SmpOptions | None = None,
        serial_modem: SerialModemOptions | None = None,
    ) -> None:
        check_firmware(firmware)
        if baud not in BAUD_RATES:
            raise UsageError(f"the board's UART cannot run at {baud} baud", reason="bad-baud")
        self.model = model
        self.firmware = firmware
        self.layout = layout_of(model)
        self.timing = Timing(timing)
        self.cable = Cable()
        self.events: list[BoardEvent] = []
        self.faults = faults or FaultPlan()
        self._keys = tuple(keys)
        self._modem_options = modem or ModemOptions()
        self._application_options = ApplicationOptions(
            baud, smp or SmpOptions(), serial_modem or SerialModemOptions()
        )
        self._event_condition = threading.Condition()
        self._listeners: list[Callable[[BoardEvent], None]] = []
        self._mailbox: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._timeline = Timeline(self.timing)
        self._cpu = Cpu(self._timeline)
        self._uart = Uart(
            self._timeline,
            self.cable,
            on_received=self._on_received,
            on_overrun=lambda count: self._note("bytes-lost", count=count),
            flow_control=flow_control,
            rx_faults=ByteFaults(self.faults.rx, self.faults.seed),
            tx_faults=ByteFaults(self.faults.tx, self.faults.seed),
        )
        self._powered = False
        self._application: Application | None = None
        self._crashes = 0
        self._flash_operations = 0
        state = None if state_dir is None else StateDir(state_dir)
        self._keeper = StateKeeper(state)
        self.flash, self.modem_nvm = self._load(state, factory_image)
        self.otp = self._provision(state)
        self._keeper.otp = self.otp
        self.flash.on_operation = self._on_flash_operation

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
        flash = Flash(self.layout.flash_size) if content is None else Flash(self.layout.flash_size, content)
        if content is None and factory_image is not None:
            slot = self.layout.primary
            if len(factory_image) > slot.size:
                raise UsageError(
                    f"the factory image does not fit into {slot.size} bytes", reason="image-too-large"
                )
            flash.program(slot.address, factory_image)
        return flash, nvm or ModemNvm()

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
        """Press the reset button."""
        self.call(lambda: self._reset("button"))

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

    def _on_received(self) -> None:
        if self._application is not None:
            self._application.on_received()

    def _on_flash_operation(self, duration_ns: int) -> None:
        self._keeper.changed()
        self._cpu.spend(duration_ns)
        self._flash_operations += 1
        if self._flash_operations == self.faults.power_cut_at_flash_operation:
            raise PowerCutError

    # --- power, reset, boot ---------------------------------------------------------------------------------

    def _switch_on(self) -> None:
        if not self._powered:
            self._powered = True
            self._note("power-on")
            self._cpu.submit(self._boot)

    def _switch_off(self, reason: str) -> None:
        self._halt()
        self._powered = False
        self._keeper.changed()
        self._note("power-off", reason=reason)

    def _reset(self, reason: str) -> None:
        if self._powered:
            self._halt()
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
        self._cpu.spend(_BOOTLOADER_NS)
        if not start_bootloader(self.flash, self.layout, self.otp, self._keys, self._note):
            return
        outcome = boot(self.flash, self.layout, self._keys)
        self._note("boot", **outcome.to_dict())
        if not outcome.bootable:
            self._note("no-image")
            return
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
            reset=self._reset,
            note=self._note,
        )

    def _modem_notification(self, line: str) -> None:
        if self._application is not None:
            self._application.on_modem_notification(line)

"""A virtual nRF91 board from the outside: a cable, a power switch, buttons, and one thread that owns everything on it.

The thread waits for the next event in board time or for the host's end of the cable to change, whichever comes first.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from bridge import clock
from bridge.errors import UsageError
from bridge.virtual.applications import RECOVERY_FIRMWARE, ApplicationOptions, check_firmware
from bridge.virtual.board_life import BoardBuild, BoardLife, BoardParts
from bridge.virtual.bootloader_options import BootloaderOptions, default_options
from bridge.virtual.cable import DEFAULT_BAUD, Cable
from bridge.virtual.clock import NS_PER_MS, NS_PER_S, Timeline, Timing
from bridge.virtual.cpu import Cpu
from bridge.virtual.event_log import EventLog
from bridge.virtual.events import BoardEvent
from bridge.virtual.faults import ByteFaults, FaultPlan, PowerCutError, ReplyFaults
from bridge.virtual.flash import WORD_WRITE_NS
from bridge.virtual.layout import board_model
from bridge.virtual.memories import load_memories
from bridge.virtual.modem import ModemOptions
from bridge.virtual.modem_power import ModemOperations
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.state import StateDir
from bridge.virtual.state_keeper import StateKeeper
from bridge.virtual.uart import BAUD_RATES, Uart
from bridge.virtual.uart_options import UartOptions
from bridge.virtual.usb_adapter import UsbAdapter

_Result = TypeVar("_Result")

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

    Attributes:
        replies: Counts the replies and applies the plan's faults to them.
        rx_faults: The same for bytes from the host.
        tx_faults: The same for bytes to the host.
        modem_operations: Carries out what the modem does to its own flash; can cut the power.

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
        self.faults = faults or FaultPlan()
        recovers = firmware == RECOVERY_FIRMWARE
        self.replies = ReplyFaults(self.faults)
        self.modem_operations = ModemOperations()
        self._build = BoardBuild(
            firmware=firmware,
            keys=tuple(keys),
            bootloader=bootloader or default_options(model, button=recovers),
            application=ApplicationOptions(baud, smp or SmpOptions(), serial_modem or SerialModemOptions()),
            modem=modem or ModemOptions(),
            button_held=recovers if button_held is None else button_held,
        )
        self._log = EventLog()
        self._mailbox: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._thread: clock.Thread | None = None
        self._timeline = Timeline(self.timing)
        self._cpu = Cpu(self._timeline)
        self.rx_faults = ByteFaults(self.faults.rx, self.faults.seed, self.faults.rx_rates)
        self.tx_faults = ByteFaults(self.faults.tx, self.faults.seed, self.faults.tx_rates)
        uart = uart or UartOptions()
        has_flow_control = board.flow_control if flow_control is None else flow_control
        self._uart = Uart(
            self._timeline,
            self._wire(usb_latency_ms),
            on_received=self._on_received,
            on_overrun=lambda count: self._note("bytes-lost", count=count),
            options=replace(uart, flow_control=uart.flow_control and has_flow_control),
            rx_faults=self.rx_faults,
            tx_faults=self.tx_faults,
        )
        self._ideal_flash = ideal_flash
        self._flash_operations = self._erased_pages = 0
        state = None if state_dir is None else StateDir(state_dir)
        memories = load_memories(board, state, factory_image)
        self.flash, self.modem_nvm, self.otp = memories.flash, memories.modem_nvm, memories.otp
        self._keeper = StateKeeper(state)
        self._keeper.otp = self.otp
        self.flash.on_operation = self._on_flash_operation
        self._life = BoardLife(
            BoardParts(
                model=board,
                timeline=self._timeline,
                cpu=self._cpu,
                uart=self._uart,
                memories=memories,
                faults=self.faults,
                replies=self.replies,
                modem_operations=self.modem_operations,
                changed=self._keeper.changed,
                note=self._note,
            ),
            self._build,
        )

    def _wire(self, usb_latency_ms: float) -> Cable | UsbAdapter:
        if not usb_latency_ms:
            return self.cable
        latency_ns = int(usb_latency_ms * NS_PER_MS)
        return UsbAdapter(self.cable, self._timeline, latency_ns, self._on_sent)

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> "VirtualBoard":
        """Start the board's thread and switch the power on."""
        if self._thread is None:
            self._stopping = False
            self._mailbox.append(self._life.switch_on)
            self._thread = clock.thread(self._run, f"virtual-{self.model}")
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
        self.call(lambda: self._life.switch_off("power cut"))

    def power_on(self) -> None:
        """Give the supply back."""
        self.call(self._life.switch_on)

    def reset(self) -> None:
        """Press the reset button: a pin reset."""
        self.call(lambda: self._life.reset("button"))

    def say(self, data: bytes) -> None:
        """Have the firmware write to its UART whatever else it is doing there: a log line between frames, or a URC."""
        self.call(lambda: self._uart.send(data, self._cpu.now_ns))

    def hold_button(self) -> None:
        """Press the button that MCUboot looks at (``mcuboot-button0``), and keep it down."""
        self.call(lambda: setattr(self._build, "button_held", True))

    def release_button(self) -> None:
        """Let that button go."""
        self.call(lambda: setattr(self._build, "button_held", False))

    def modem_says(self, line: str) -> None:
        """Let the modem say something unasked, such as ``%CESQ: 54,2,16,2``; the application passes it on in its own time."""
        self.call(lambda: self._life.modem_says(line))

    def call(self, function: Callable[[], _Result]) -> _Result:
        """Run a function on the board's thread and return what it returns."""
        future: Future[_Result] = Future()
        done = clock.event()

        def work() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)
            done.set()

        self._mailbox.append(work)
        self.cable.wake()
        done.wait(_CALL_TIMEOUT_S)
        return future.result(0)

    # --- looking at it --------------------------------------------------------------------------------------

    @property
    def rts_asserted(self) -> bool:
        """Whether the board lets a host with flow control send."""
        return self._uart.rts_asserted

    @property
    def late_events(self) -> int:
        """How many events at real timing came so late that a host could notice."""
        return self._timeline.late_events

    @property
    def events(self) -> list[BoardEvent]:
        """What happened since the board was made, oldest first; the latest thousands of it."""
        return self._log.events

    def on_event(self, listener: Callable[[BoardEvent], None]) -> None:
        """Call ``listener`` on the board's thread for everything that happens from now on."""
        self._log.listen(listener)

    def wait_for_event(self, kind: str, *, count: int = 1, timeout_s: float = 30.0) -> BoardEvent:
        """Wait until ``count`` events of a kind have happened since the board was made; returns the last.

        Raises:
            TimeoutError: They did not happen in time.
        """
        return self._log.wait_for(kind, count, timeout_s)

    def _note(self, kind: str, **details: object) -> None:
        self._log.note(BoardEvent(self._cpu.now_ns / NS_PER_S, kind, details))

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._step()
            except PowerCutError:
                self._life.switch_off("fault plan")
        if self._life.powered:
            self._life.switch_off("stopped")
        self._keeper.save(self.flash.dump, self.modem_nvm)

    def _step(self) -> None:
        self._timeline.follow_wall_clock()
        while self._mailbox:
            self._mailbox.popleft()()
        if self._life.powered:
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
        self._life.on_received()

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

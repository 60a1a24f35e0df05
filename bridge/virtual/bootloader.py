"""MCUboot from reset to the application: when it swaps, when it stays in serial recovery, when it is stuck.

Source: MCUboot ``boot/zephyr/main.c`` and ``include/io/io.h`` (``io_boot_skip_serial_recovery``): the button and the reset pin
are looked at before the images, the boot mode and the waiting time after them.
"""

from collections.abc import Callable, Sequence
from typing import Final

from bridge.virtual.boot_machine import BootMachine
from bridge.virtual.bootloader_options import BootloaderOptions, RecoveryEntry
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.flash import PAGE_BYTES
from bridge.virtual.mcuboot import BootOutcome, boot
from bridge.virtual.recovery_console import RecoveryConsole
from bridge.virtual.retention import NO_REASON, BootMode, ResetReason
from bridge.virtual.trailer import Trailer

_START_NS: Final = 100 * NS_PER_MS
_SHORTEST_WAIT_NS: Final = NS_PER_MS


class Bootloader:
    """One run of MCUboot.

    Args:
        machine: What it runs on.
        options: Its Kconfig.
        public_keys_pem: The keys built into it; with none it checks digests only.
        start_application: Called when it jumps to the application.
    """

    def __init__(
        self,
        machine: BootMachine,
        options: BootloaderOptions,
        public_keys_pem: Sequence[bytes],
        start_application: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._options = options
        self._keys = public_keys_pem
        self._start_application = start_application
        self._console = RecoveryConsole(machine, options, public_keys_pem, on_command=self._stay)
        self._outcome: BootOutcome | None = None
        self._waiting = False

    def start(self) -> None:
        """From the reset vector on; runs on the CPU."""
        self._machine.cpu.spend(_START_NS)
        entry = self._entry_before_images()
        if entry is not None:
            self._console.open()
            self._recover(entry)
            return
        began_ns = self._machine.cpu.now_ns
        if self._enabled(RecoveryEntry.WINDOW):
            self._console.open()
        outcome = self._outcome = boot(
            self._machine.flash,
            self._machine.layout,
            self._keys,
            downgrade_prevention=self._options.downgrade_prevention,
        )
        self._machine.note("boot", **outcome.to_dict())
        if self._boot_mode_asks():
            if not self._enabled(RecoveryEntry.WINDOW):
                self._console.open()
            self._recover(RecoveryEntry.BOOT_MODE)
        elif self._enabled(RecoveryEntry.WINDOW):
            self._wait_for_command(began_ns)
        else:
            self._leave()

    def on_received(self) -> None:
        """The UART has bytes."""
        self._console.on_received()

    def on_modem_notification(self, line: str) -> None:
        """The modem is not used."""

    def _enabled(self, entry: RecoveryEntry) -> bool:
        return entry in self._options.entries

    def _entry_before_images(self) -> RecoveryEntry | None:
        retained = self._machine.retained
        reasons = retained.reset_reasons
        after_power_or_pin = not reasons or bool(reasons & ResetReason.PIN)
        if self._enabled(RecoveryEntry.BUTTON) and self._machine.button_held() and after_power_or_pin:
            return RecoveryEntry.BUTTON
        if self._enabled(RecoveryEntry.PIN_RESET) and reasons & ResetReason.PIN:
            retained.reset_reasons = NO_REASON
            return RecoveryEntry.PIN_RESET
        return None

    def _boot_mode_asks(self) -> bool:
        retained = self._machine.retained
        if self._enabled(RecoveryEntry.BOOT_MODE) and retained.boot_mode == BootMode.BOOTLOADER:
            retained.boot_mode = BootMode.NORMAL
            return True
        return False

    def _wait_for_command(self, began_ns: int) -> None:
        cpu = self._machine.cpu
        left_ns = began_ns + self._options.wait_ms * NS_PER_MS - cpu.now_ns
        self._waiting = True
        self._console.serve(self._max_image_bytes())
        cpu.submit_after(max(left_ns, _SHORTEST_WAIT_NS), self._waited)

    def _stay(self) -> None:
        """A command has come; while MCUboot waits for one, it means recovery."""
        if self._waiting:
            self._waiting = False
            self._machine.note("recovery", entry=str(RecoveryEntry.WINDOW))

    def _waited(self) -> None:
        if self._waiting:
            self._waiting = False
            self._console.close()
            self._leave()

    def _leave(self) -> None:
        outcome = self._outcome
        assert outcome is not None
        if outcome.bootable:
            self._start_application()
            return
        self._machine.note("no-image")
        if self._enabled(RecoveryEntry.NO_APPLICATION):
            self._console.open()
            self._recover(RecoveryEntry.NO_APPLICATION)

    def _recover(self, entry: RecoveryEntry) -> None:
        self._machine.note("recovery", entry=str(entry))
        self._console.serve(None if self._outcome is None else self._max_image_bytes())

    def _max_image_bytes(self) -> int:
        """What can be swapped: a page is needed for the move."""
        flash, layout = self._machine.flash, self._machine.layout
        room = Trailer(flash, layout.primary).first_page - layout.primary.address - PAGE_BYTES
        return min(room, Trailer(flash, layout.secondary).first_page - layout.secondary.address)

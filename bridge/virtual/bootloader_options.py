"""How a build of MCUboot is configured for serial recovery, by the defaults of its Kconfig and of the boards.

Sources: MCUboot ``boot/zephyr/Kconfig.serial_recovery``; sdk-mcuboot ``boot/zephyr/boards/thingy91_nrf9160.conf`` and
``thingy91x_nrf9151.conf``. Builds for the DKs have no recovery unless one asks for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bridge.errors import UsageError
from bridge.virtual.build_options import with_options


class RecoveryEntry(StrEnum):
    """A way into serial recovery.

    ========================= ======================================================================================
    ``button``                ``BOOT_SERIAL_ENTRANCE_GPIO``: a button is held at power-on or pin reset; after any other
                              reset nRF builds do not look at it
    ``pin-reset``             ``BOOT_SERIAL_PIN_RESET``: the reset came from the reset pin
    ``boot-mode``             ``BOOT_SERIAL_BOOT_MODE``: the application left a note in retained memory
    ``window``                ``BOOT_SERIAL_WAIT_FOR_DFU``: an SMP command comes while MCUboot waits for one
    ``no-application``        ``BOOT_SERIAL_NO_APPLICATION``: there is nothing to boot
    ========================= ======================================================================================
    """

    BUTTON = "button"
    PIN_RESET = "pin-reset"
    BOOT_MODE = "boot-mode"
    WINDOW = "window"
    NO_APPLICATION = "no-application"


@dataclass(frozen=True)
class BootloaderOptions:
    """Kconfig of MCUboot.

    Attributes:
        entries: Ways into serial recovery; none means a build without it.
        wait_ms: ``BOOT_SERIAL_WAIT_FOR_DFU_TIMEOUT``, from the start of MCUboot's ``main`` on.
        direct_upload: ``MCUBOOT_SERIAL_DIRECT_IMAGE_UPLOAD``: image 2 is the secondary slot. Otherwise uploads go to
            the primary slot.
        image_state: ``BOOT_SERIAL_IMG_GRP_IMAGE_STATE``: flags in the image list, and images can be marked.
        image_hash: ``BOOT_SERIAL_IMG_GRP_HASH``: digests in the image list.
        strict_marks: ``bs_set`` and ``bs_list`` of MCUboot's ``main`` at 01562f5d (2026, behind 2.3.0): what waits for the
            next boot cannot be marked again, the running image can be confirmed, and nobody is called active. Before, marking
            means the secondary slot, whatever is asked for.
        slot_info: ``BOOT_SERIAL_IMG_GRP_SLOT_INFO``.
        params: ``BOOT_MGMT_MCUMGR_PARAMS``, in newer versions only; it asks for lines of 128 bytes.
        echo: ``BOOT_MGMT_ECHO``.
        line_bytes: ``BOOT_MAX_LINE_INPUT_LEN``: longest line with its end; what is beyond is cut off.
        line_buffers: ``BOOT_LINE_BUFS``: lines that wait; one of them is held by whoever works on it.
        receive_bytes: ``BOOT_SERIAL_MAX_RECEIVE_SIZE``: longest packet, with its length and CRC.
        progressive_erase: ``BOOT_ERASE_PROGRESSIVELY``: pages are erased when data for them comes, not the whole slot
            at first.
        baud: Rate of its UART.
        downgrade_prevention: ``MCUBOOT_DOWNGRADE_PREVENTION``: an older version than the running one is refused.
        interrupt_driven: The UART is read by an interrupt handler, as MCUboot's Zephyr port does it, which cannot run while
            flash is busy; otherwise it receives as the board's UART does.
    """

    entries: frozenset[RecoveryEntry] = frozenset()
    wait_ms: int = 500
    direct_upload: bool = False
    image_state: bool = False
    image_hash: bool = True
    strict_marks: bool = False
    slot_info: bool = False
    params: bool = False
    echo: bool = False
    line_bytes: int = 128
    line_buffers: int = 8
    receive_bytes: int = 1024
    progressive_erase: bool = True
    baud: int = 115_200
    downgrade_prevention: bool = True
    interrupt_driven: bool = True


_BUTTON: Final = frozenset((RecoveryEntry.BUTTON,))

BOARD_DEFAULTS: Final = {
    "thingy91": BootloaderOptions(_BUTTON, line_bytes=512),
    "thingy91x": BootloaderOptions(_BUTTON, direct_upload=True, image_state=True),
}
"""Builds as their boards ship them; the others have no recovery. Serial Modem's own build for Thingy:91 lacks the
longer lines."""


def default_options(model: str, *, button: bool = False) -> BootloaderOptions:
    """The build that a board model ships.

    Args:
        model: Name of the board model.
        button: Built so that a button leads into recovery, whatever the model ships.
    """
    options = BOARD_DEFAULTS.get(model, BootloaderOptions())
    return replace(options, entries=options.entries | _BUTTON) if button else options


def parse_entries(names: Iterable[str]) -> frozenset[RecoveryEntry]:
    """Ways into recovery by name; ``none`` and the empty string stand for no way.

    Raises:
        UsageError: There is no way of that name.
    """
    entries = set()
    for name in names:
        if name in ("", "none"):
            continue
        try:
            entries.add(RecoveryEntry(name))
        except ValueError:
            raise UsageError(
                f"there is no way into recovery called {name}",
                reason="unknown-entry",
                hint=f"Known: {', '.join(RecoveryEntry)}.",
            ) from None
    return frozenset(entries)


def options_from_text(
    model: str, *, button: bool = False, entries: str | None = None, build: Iterable[str] = ()
) -> BootloaderOptions:
    """The build that a command line or a URL asks for.

    Args:
        model: Name of the board model, whose build is changed.
        button: Built so that a button leads into recovery.
        entries: Ways into recovery with commas between, instead of those that the model ships.
        build: See :func:`~bridge.virtual.build_options.with_options`.

    Raises:
        UsageError: Something in them makes no sense.
    """
    options = default_options(model, button=button)
    if entries is not None:
        options = replace(options, entries=parse_entries(entries.split(",")))
    return with_options(options, build)

"""What may go onto which hardware: modem firmware onto a chip of its family, MCUboot into the slot that it is linked for.

A mistake here is found by nobody before it is too late.
"""

import re
from typing import Final

from bridge.board import BoardIdentity
from bridge.errors import ImageRefusedError
from bridge.image import ImageHead, ImageKind
from bridge.image.names import parse_delta_name, parse_modem_release

WHOLE_MODEM_KINDS: Final = frozenset({ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE})
_CHIP: Final = re.compile(r"nrf(9\d{3})", re.IGNORECASE)
_QUALIFIER: Final = re.compile(r"(_nrf9\d{3}|_ns|ns)$")
"""Ends of board names before Zephyr 3.7, such as ``nrf9160dk_nrf9160_ns`` and ``thingy91_nrf9160ns``."""
_CHIP_OF_PRODUCT: Final = {"thingy91": "9160", "thingy91x": "9151"}
_CHIPS_OF_FAMILY: Final = {"nrf9160": ("9160",), "nrf91x1": ("9131", "9151", "9161")}
"""Modem firmware comes for these."""


def chip_of(text: str | None) -> str | None:
    """The four digits of an nRF91 chip in a board or model name, also for boards that are not named after it."""
    product = product_of(text) or ""
    match = _CHIP.search(text or "")
    return _CHIP_OF_PRODUCT.get(product) or (match[1] if match else None)


def product_of(text: str | None) -> str | None:
    """The board in a board target, without chip, variant and revision: ``nrf9151dk/nrf9151/ns`` is an ``nrf9151dk``.

    Returns:
        None for no text, and for one that only names a chip.
    """
    name = (text or "").strip().lower().split("/")[0].split("@")[0]
    while (shorter := _QUALIFIER.sub("", name)) != name:
        name = shorter
    return None if not name or _CHIP.fullmatch(name) else name


def check_nrf91(ordered: str | None) -> None:
    """Refuse an order for what is no nRF91, whatever board it meets (reason ``wrong-board``)."""
    if ordered and chip_of(ordered) is None:
        raise ImageRefusedError(
            f"the image is for {ordered}, which is no nRF91 board or chip",
            reason="wrong-board",
            hint="Name one such as nrf9151dk, nrf9160 or thingy91x, and take the image that was built for it.",
        )


def check_board(identity: BoardIdentity, ordered: str | None) -> None:
    """Refuse an image that was ordered for another board (reason ``wrong-board``)."""
    check_nrf91(ordered)
    wanted = chip_of(ordered)
    found = chip_of(identity.model) or chip_of(identity.hardware_version)
    if ordered and found is not None and wanted != found:
        raise ImageRefusedError(
            f"the image is for {ordered}, but the board is {identity.model or identity.hardware_version}",
            reason="wrong-board",
            hint="Choose the image that was built for this board.",
        )


def check_built_for(head: ImageHead, identity: BoardIdentity, ordered: str | None) -> None:
    """Compare what a package's manifest says that its image was built for with the board, and with the order.

    Raises:
        ImageRefusedError: They do not go together (reason ``wrong-board``).
    """
    if not head.board and not head.soc:
        return
    built_for = head.board or head.soc
    chip = chip_of(head.soc) or chip_of(head.board)
    found = chip_of(identity.model) or chip_of(identity.hardware_version)
    if chip is None and head.soc:
        raise _built_for_another(f"{head.soc}, which is no nRF91")
    if chip is not None and found is not None and chip != found:
        raise _built_for_another(f"{built_for}, but the board has an nRF{found}")
    if chip is not None and chip_of(ordered) not in (None, chip):
        raise _built_for_another(f"{built_for}, but one for {ordered} was ordered")
    product, wanted = product_of(head.board), product_of(ordered)
    if product is not None and wanted is not None and product != wanted:
        raise _built_for_another(f"{product}, but one for {wanted} was ordered")


def _built_for_another(what: str) -> ImageRefusedError:
    return ImageRefusedError(
        f"according to its package the image was built for {what}",
        reason="wrong-board",
        hint="Take the package that was built for this board.",
    )


def check_family(head: ImageHead, identity: BoardIdentity) -> None:
    """Refuse modem firmware whose name says that it is for another chip (reason ``wrong-board``)."""
    delta, release = parse_delta_name(head.name), parse_modem_release(head.name)
    family = delta.family if delta else release[0] if release else None
    chip = chip_of(identity.model) or chip_of(identity.hardware_version)
    if family is not None and chip is not None and chip not in _CHIPS_OF_FAMILY.get(family, (chip,)):
        raise ImageRefusedError(
            f"the image is modem firmware for {family}, but the board has an nRF{chip}",
            reason="wrong-board",
            hint="It would leave the modem without working firmware. Take the release for this chip.",
        )


def check_bootloader(head: ImageHead, identity: BoardIdentity) -> None:
    """Refuse an update of MCUboot that cannot work.

    The bootloaders refuse what does not fit without a word; MCUboot may even have been copied by then.

    Raises:
        ImageRefusedError: ``wrong-board``, ``no-firmware-info``, ``wrong-slot``, ``counter-not-higher``.
    """
    if identity.modem_bootloader:
        return  # it tells nothing, and takes nothing of the kind
    image, active = head.bootloader, identity.bootloader_slot
    counter = identity.bootloader_version
    if active is None or counter is None:
        raise ImageRefusedError(
            "the board does not tell from which slot its MCUboot runs; it cannot be updated this way",
            reason="wrong-board",
            hint="Serial Modem tells by #XBOOTINFO, if it was built with an immutable bootloader in front of MCUboot.",
        )
    if image is None or image.slot is None or image.counter is None:
        raise ImageRefusedError(
            f"{head.name} does not tell its slot and its counter: no immutable bootloader would start it",
            reason="no-firmware-info",
            hint="Take dfu_mcuboot.zip of the build.",
        )
    if image.slot == active:
        raise ImageRefusedError(
            f"the image is linked for s{image.slot}, from which MCUboot runs now; it must be one for s{1 - active}",
            reason="wrong-slot",
            hint="Take dfu_mcuboot.zip of the build; it holds an image for each slot.",
        )
    if image.counter <= counter:
        raise ImageRefusedError(
            f"the image has counter {image.counter}, the running MCUboot {counter}; it must rise",
            reason="counter-not-higher",
            hint="Build it with a higher CONFIG_FW_INFO_FIRMWARE_VERSION.",
        )


def remarks_on_chip(head: ImageHead, identity: BoardIdentity) -> list[str]:
    """What could not be held against the board."""
    if head.kind not in WHOLE_MODEM_KINDS or identity.model or identity.hardware_version:
        return []
    return ["the board does not tell its chip; make sure that this modem firmware is made for it"]

"""What may be installed: an image is compared with what was ordered and with what the board is, before anything is written.

Every refusal is an ``ImageRefusedError`` with a code and a sentence; the job becomes REJECTED with both.
"""

from dataclasses import dataclass
from typing import Final

from bridge.board import BoardIdentity
from bridge.errors import ImageRefusedError
from bridge.fota.hardware_policy import (
    WHOLE_MODEM_KINDS,
    check_bootloader,
    check_family,
    chip_of,
    remarks_on_chip,
)
from bridge.fota.versions import modem_release, same_version, version_triple
from bridge.image import FirmwareImage, ImageHead, ImageKind, verify_signature

APPLICATION_KINDS: Final = frozenset(
    {ImageKind.APPLICATION, ImageKind.MCUBOOT_BOOTLOADER, ImageKind.INTEL_HEX, ImageKind.DFU_PACKAGE}
)
MODEM_KINDS: Final = frozenset({ImageKind.MODEM_DELTA, ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE})
_OPERATION_KINDS: Final = {"app_fw_update": APPLICATION_KINDS, "modem_fw_update": MODEM_KINDS}
_SIGNED_KINDS: Final = frozenset({ImageKind.APPLICATION, ImageKind.INTEL_HEX, ImageKind.MCUBOOT_BOOTLOADER})
_ROUTES_WITH_SEVERAL_IMAGES: Final = frozenset({"smp"})
FLASH_SIZE_BYTES: Final = 1024 * 1024
"""Flash of every nRF91; no application image can be larger, whatever the slot layout is."""


@dataclass(frozen=True)
class Expectations:
    """What the order says about the image; everything is optional.

    Attributes:
        operation: ``app_fw_update`` or ``modem_fw_update``, as in AWS FOTA job documents.
        version: Version that the image is said to have.
        board: Board or chip that it is meant for, such as ``nrf9151dk`` or ``nrf9151dk/nrf9151/ns``.
    """

    operation: str | None = None
    version: str | None = None
    board: str | None = None


@dataclass(frozen=True)
class Policy:
    """What this host allows.

    Attributes:
        allow_same_version: Install an image again that the board already runs.
        allow_downgrade: Send an image that is older than the running one (the bootloader may still refuse it).
        strict_version: Refuse an image whose version is not the ordered one; otherwise it is only reported.
        public_key_pem: If given, the image must be signed by this key.
        slot_size_bytes: If given, the largest application image to send.
    """

    allow_same_version: bool = False
    allow_downgrade: bool = False
    strict_version: bool = False
    public_key_pem: bytes | None = None
    slot_size_bytes: int = FLASH_SIZE_BYTES


def check_head(
    head: ImageHead, size_bytes: int, identity: BoardIdentity, expected: Expectations, policy: Policy
) -> list[str]:
    """Decide from the first bytes of an image whether this board may get it.

    Returns:
        Remarks that do not stand in the way but that a person should see.

    Raises:
        ImageRefusedError: With a reason code, when it may not.
    """
    _check_kind(head, expected)
    _check_board(identity, expected)
    if head.kind is ImageKind.MODEM_DELTA:
        _check_delta(head, identity)
    elif head.kind in WHOLE_MODEM_KINDS:
        _check_full_modem(head, identity, policy)
    elif head.kind is ImageKind.APPLICATION:
        _check_application(head, size_bytes, identity, policy)
    elif head.kind is ImageKind.MCUBOOT_BOOTLOADER:
        check_bootloader(head, identity)
    return [*remarks_on_chip(head, identity), *_check_ordered_version(head, expected, policy)]


def check_route(head: ImageHead, route: str, kinds: frozenset[ImageKind], image_index: int = 0) -> None:
    """Refuse what a route cannot write.

    Raises:
        ImageRefusedError: It cannot (reason ``wrong-route``, ``wrong-image-index``).
    """
    if image_index and route not in _ROUTES_WITH_SEVERAL_IMAGES:
        raise ImageRefusedError(
            f"the image is for MCUboot image {image_index}, and the route {route} only reaches image 0",
            reason="wrong-image-index",
            hint="Boards with several images take them over SMP.",
        )
    if head.kind not in kinds:
        raise ImageRefusedError(
            f"the route {route} cannot write a file of kind {head.kind}, only {', '.join(sorted(kinds))}",
            reason="wrong-route",
            hint="Choose another --transport; `auto` finds one if the board has one.",
        )


def check_image(image: FirmwareImage, policy: Policy) -> None:
    """Decide from the whole image, before it is scheduled.

    Raises:
        ImageRefusedError: The signature is not by the required key.
    """
    if policy.public_key_pem is not None and image.kind in _SIGNED_KINDS:
        verify_signature(image, policy.public_key_pem)


def _check_kind(head: ImageHead, expected: Expectations) -> None:
    allowed = _OPERATION_KINDS.get(expected.operation or "")
    if allowed is not None and head.kind not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise ImageRefusedError(
            f"the file is of kind {head.kind}, but {expected.operation} takes {wanted}",
            reason="wrong-kind",
            hint="Check which file the job names.",
        )


def _check_board(identity: BoardIdentity, expected: Expectations) -> None:
    wanted = chip_of(expected.board)
    found = chip_of(identity.model) or chip_of(identity.hardware_version)
    if expected.board and (wanted is None or (found is not None and wanted != found)):
        raise ImageRefusedError(
            f"the image is for {expected.board}, but the board is {identity.model or identity.hardware_version}",
            reason="wrong-board",
            hint="Choose the image that was built for this board.",
        )


def _check_delta(head: ImageHead, identity: BoardIdentity) -> None:
    running = modem_release(identity.modem_version)
    if running is None:
        return
    if head.version is not None and modem_release(head.version) == running:
        raise ImageRefusedError(
            f"the modem already runs {running}", reason="same-version", hint="Nothing needs to be done."
        )
    if head.base_version is not None and modem_release(head.base_version) != running:
        raise ImageRefusedError(
            f"the delta updates modem firmware {head.base_version}, but the modem runs {running}",
            reason="wrong-delta-base",
            hint=f"Take the delta that starts from {running}.",
        )


def _check_full_modem(head: ImageHead, identity: BoardIdentity, policy: Policy) -> None:
    check_family(head, identity)
    running = modem_release(identity.modem_version)
    same = running is not None and head.version is not None and modem_release(head.version) == running
    if same and not policy.allow_same_version:
        raise ImageRefusedError(
            f"the modem already runs {running}",
            reason="same-version",
            hint="Use --allow-same-version to write it again.",
        )


def _check_application(head: ImageHead, size_bytes: int, identity: BoardIdentity, policy: Policy) -> None:
    if size_bytes > policy.slot_size_bytes:
        raise ImageRefusedError(
            f"the image has {size_bytes} bytes, but the board has room for {policy.slot_size_bytes}",
            reason="too-large",
        )
    running = identity.application_version
    if same_version(head.version, running) and not policy.allow_same_version:
        raise ImageRefusedError(
            f"the board already runs version {head.version}",
            reason="same-version",
            hint="Use --allow-same-version to install it again.",
        )
    new, old = version_triple(head.version), version_triple(running)
    if new is not None and old is not None and new < old and not policy.allow_downgrade:
        raise ImageRefusedError(
            f"the image has version {head.version}, older than the running {running}",
            reason="downgrade",
            hint="Use --allow-downgrade to try it; a bootloader with downgrade prevention will still refuse it.",
        )


def _check_ordered_version(head: ImageHead, expected: Expectations, policy: Policy) -> list[str]:
    if expected.version is None or head.version is None:
        return []
    if head.kind in MODEM_KINDS:
        agrees = modem_release(expected.version) == modem_release(head.version)
    elif head.kind is ImageKind.MCUBOOT_BOOTLOADER:
        header = head.mcuboot.version if head.mcuboot else None
        agrees = expected.version == head.version or same_version(expected.version, header)
    else:
        agrees = same_version(expected.version, head.version)
    if agrees:
        return []
    text = f"version {expected.version} was ordered, but the image says {head.version}"
    if policy.strict_version:
        raise ImageRefusedError(
            text, reason="version-mismatch", hint="Correct fwversion in the job document."
        )
    return [text]

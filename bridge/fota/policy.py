"""What may be installed: an image is compared with what was ordered and with what the board is, before anything is written.

Every refusal is an ``ImageRefusedError`` with a code and a sentence; the job becomes REJECTED with both. The rules are in
:mod:`~bridge.fota.hardware_policy`, :mod:`~bridge.fota.requirement_policy`, :mod:`~bridge.fota.room_policy` and
:mod:`~bridge.fota.version_policy`; from where an image may come is in :mod:`bridge.fetch.hosts`, when it may be installed in
:mod:`~bridge.fota.window` and :mod:`~bridge.fota.supply`.
"""

from dataclasses import dataclass, field
from typing import Final

from bridge.board import BoardIdentity
from bridge.cloud.requirements import NOTHING, Requirements
from bridge.errors import ImageRefusedError
from bridge.fota import version_policy
from bridge.fota.hardware_policy import (
    WHOLE_MODEM_KINDS,
    check_board,
    check_bootloader,
    check_built_for,
    check_family,
    remarks_on_chip,
)
from bridge.fota.requirement_policy import check_requirements
from bridge.fota.room_policy import FLASH_SIZE_BYTES, check_room, find_room
from bridge.fota.supply import SupplyRules
from bridge.image import FirmwareImage, ImageHead, ImageKind
from bridge.image.signature import verify_any_signature

__all__ = [
    "FLASH_SIZE_BYTES",
    "MODEM_KINDS",
    "Expectations",
    "Policy",
    "check_head",
    "check_image",
    "check_order",
    "check_route",
]

APPLICATION_KINDS: Final = frozenset(
    {ImageKind.APPLICATION, ImageKind.MCUBOOT_BOOTLOADER, ImageKind.INTEL_HEX, ImageKind.DFU_PACKAGE}
)
MODEM_KINDS: Final = frozenset({ImageKind.MODEM_DELTA, ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE})
_OPERATION_KINDS: Final = {"app_fw_update": APPLICATION_KINDS, "modem_fw_update": MODEM_KINDS}
_ROUTES_WITH_SEVERAL_IMAGES: Final = frozenset({"smp"})


@dataclass(frozen=True)
class Expectations:
    """What the order says about the image; everything is optional.

    Attributes:
        operation: ``app_fw_update`` or ``modem_fw_update``, as in AWS FOTA job documents.
        version: Version that the image is said to have.
        board: Board or chip that it is meant for, such as ``nrf9151dk`` or ``nrf9151dk/nrf9151/ns``.
        requires: What the board must have already.
    """

    operation: str | None = None
    version: str | None = None
    board: str | None = None
    requires: Requirements = NOTHING


@dataclass(frozen=True)
class Policy:
    """What this host allows.

    Attributes:
        allow_same_version: Install an image again that the board already runs.
        allow_downgrade: Send an image that is older than the running one (the bootloader may still refuse it).
        strict_version: Refuse an image whose version is not the ordered one; otherwise it is only reported.
        public_keys_pem: If there are any, what MCUboot boots must be signed by one of these keys. Modem firmware is signed
            by Nordic and judged by the modem.
        require_sha256: Refuse an image whose SHA-256 nobody told beforehand.
        max_size_bytes: Refuse a larger image, whatever its kind.
        slot_size_bytes: Size of the application's slot, where the board's partitions are not the standard ones.
        supply: What supply voltage a modem update needs.
    """

    allow_same_version: bool = False
    allow_downgrade: bool = False
    strict_version: bool = False
    public_keys_pem: tuple[bytes, ...] = ()
    require_sha256: bool = False
    max_size_bytes: int | None = None
    slot_size_bytes: int | None = None
    supply: SupplyRules = field(default_factory=SupplyRules)


def check_order(expected_sha256: str | None, policy: Policy) -> None:
    """Decide from the order alone, before anything is read.

    Raises:
        ImageRefusedError: Something is missing that this host wants to know (reason ``sha256-required``).
    """
    if policy.require_sha256 and expected_sha256 is None:
        raise ImageRefusedError(
            "the job document does not tell the image's SHA-256, which this host requires",
            reason="sha256-required",
            hint="Add sha256 to the job document.",
        )


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
    _check_size(size_bytes, policy)
    check_board(identity, expected.board)
    check_built_for(head, identity, expected.board)
    check_requirements(identity, expected.requires)
    _check_content(head, size_bytes, identity, expected, policy)
    return [
        *remarks_on_chip(head, identity),
        *version_policy.check_ordered_version(
            head, expected.version, strict=policy.strict_version, is_modem=head.kind in MODEM_KINDS
        ),
    ]


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


def check_image(image: FirmwareImage, identity: BoardIdentity, policy: Policy) -> None:
    """Decide from the whole image, before it is scheduled.

    Raises:
        ImageRefusedError: It is not signed by one of the required keys (``not-signed``, ``wrong-key``, ``bad-signature``), or
            it is the image that runs (``same-image``).
    """
    if policy.public_keys_pem and image.kind not in MODEM_KINDS:
        verify_any_signature(image, policy.public_keys_pem)
    version_policy.check_same_image(image, identity, allow_same_version=policy.allow_same_version)


def _check_kind(head: ImageHead, expected: Expectations) -> None:
    allowed = _OPERATION_KINDS.get(expected.operation or "")
    if allowed is not None and head.kind not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise ImageRefusedError(
            f"the file is of kind {head.kind}, but {expected.operation} takes {wanted}",
            reason="wrong-kind",
            hint="Check which file the job names.",
        )


def _check_size(size_bytes: int, policy: Policy) -> None:
    if policy.max_size_bytes is not None and size_bytes > policy.max_size_bytes:
        raise ImageRefusedError(
            f"the image has {size_bytes} bytes; at most {policy.max_size_bytes} are allowed",
            reason="too-large",
        )


def _check_content(
    head: ImageHead, size_bytes: int, identity: BoardIdentity, expected: Expectations, policy: Policy
) -> None:
    same, older = policy.allow_same_version, policy.allow_downgrade
    if head.kind in MODEM_KINDS:
        check_family(head, identity)
    if head.kind is ImageKind.MODEM_DELTA:
        version_policy.check_delta(head, identity, allow_downgrade=older)
    elif head.kind in WHOLE_MODEM_KINDS:
        version_policy.check_full_modem(head, identity, allow_same_version=same, allow_downgrade=older)
    elif head.kind is ImageKind.APPLICATION:
        check_room(size_bytes, find_room(policy.slot_size_bytes, expected.board, identity))
        version_policy.check_application(head, identity, allow_same_version=same, allow_downgrade=older)
    elif head.kind is ImageKind.MCUBOOT_BOOTLOADER:
        check_bootloader(head, identity)

"""What SMP servers answer, as values; and their refusals as errors.

Sources: Zephyr ``doc/services/device_mgmt/smp_groups/smp_group_0.rst`` and ``smp_group_1.rst``; MCUboot
``boot/boot_serial/src/boot_serial.c`` (fewer keys, ``rc`` everywhere).
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.smp_message import SmpGroup, SmpMessage

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_NOT_SUPPORTED: Final = 8
_LENGTH_AND_CRC_BYTES: Final = 4
_LONGEST_MESSAGE_BYTES: Final = 0xFFFF - 2
"""The length in front of a frame has 16 bits, and counts the CRC."""
_REASONS: Final = {
    3: "invalid-argument",
    5: "no-entry",
    6: "bad-state",
    _NOT_SUPPORTED: "not-supported",
    10: "busy",
}
_IMAGE_REASONS: Final = {
    8: "unknown-digest",
    9: "slot-in-use",
    23: "no-image-magic",
    27: "downgrade",
    28: "already-pending",
    30: "too-large",
    32: "confirm-refused",
    33: "already-active",
}


_HINTS: Final = {
    "not-supported": "The firmware that answers was built without this command.",
    "busy": "The application does not want it now; try again later.",
    "unknown-digest": "`nrf91-bridge smp state` shows the digests of the images in the slots.",
    "already-active": "The image runs already; `nrf91-bridge smp confirm` keeps it.",
    "already-pending": "Another image waits for the next reset (`nrf91-bridge smp state`); reset the board first.",
    "slot-in-use": "Its image waits for the next reset, or is the one to go back to (`nrf91-bridge smp state`).",
    "confirm-refused": "Only the image that runs can be confirmed.",
}


@dataclass(frozen=True)
class SmpParameters:
    """What the server can hold.

    Attributes:
        buffer_bytes: Size of a buffer; a message may have four bytes less, for length and CRC.
        buffer_count: How many there are.
    """

    buffer_bytes: int = 256
    buffer_count: int = 1

    @property
    def message_bytes(self) -> int:
        """Longest message."""
        return min(self.buffer_bytes - _LENGTH_AND_CRC_BYTES, _LONGEST_MESSAGE_BYTES)


@dataclass(frozen=True)
class ImageState:
    """One entry of the server's image list.

    Attributes:
        slot: 0 for the primary one, from which images run.
        version: As the server writes it.
        digest: Image digest in hex, None if the server does not tell.
        image: Number of the image on boards with several.
        bootable: It is meant to be booted.
        pending: It will be started at the next reset.
        confirmed: It is there to stay.
        active: It runs.
        permanent: Its start will not be on trial.
    """

    slot: int
    version: str
    digest: str | None = None
    image: int = 0
    bootable: bool = False
    pending: bool = False
    confirmed: bool = False
    active: bool = False
    permanent: bool = False


@dataclass(frozen=True)
class SlotInfo:
    """One slot.

    Attributes:
        image: Number of the image that it belongs to.
        slot: 0 for the primary one.
        size_bytes: Its size, if told.
        upload_image_id: The ``image`` of an upload that goes there, if told.
        max_image_bytes: Largest image that it takes, if told.
    """

    image: int
    slot: int
    size_bytes: int | None = None
    upload_image_id: int | None = None
    max_image_bytes: int | None = None


def _sensible(read: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Have a reader of answers raise ``LinkError`` (reason ``bad-answer``) where keys are missing or of a wrong type."""

    @functools.wraps(read)
    def checked(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        try:
            return read(*arguments, **options)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise LinkError(
                f"the board sent an SMP answer that makes no sense ({error!r})", reason="bad-answer"
            ) from error

    return checked


@_sensible
def raise_refusal(answer: SmpMessage) -> None:
    """Raise ``BoardRefusedError`` when an answer is a refusal."""
    refusal = answer.body.get("err")
    if isinstance(refusal, Mapping):
        group, code = int(refusal.get("group", answer.group)), int(refusal.get("rc", 1))
        reasons = _IMAGE_REASONS if group == SmpGroup.IMAGE else {}
    else:
        group, code, reasons = answer.group, int(answer.body.get("rc", 0)), _REASONS
    if code:
        said = answer.body.get("rsn")
        reason = reasons.get(code, "board-refused")
        raise BoardRefusedError(
            f"the board refused SMP request {answer.group}/{answer.command} with error {code} of group {group}"
            + (f" ({said})" if said else ""),
            reason=reason,
            hint=_HINTS.get(reason),
        )


@_sensible
def parse_parameters(body: Mapping[str, Any]) -> SmpParameters:
    """Read the answer to a parameters request."""
    return SmpParameters(
        int(body.get("buf_size", SmpParameters.buffer_bytes)), max(1, int(body.get("buf_count", 1)))
    )


@_sensible
def parse_upload_offset(body: Mapping[str, Any], default: int) -> int:
    """Read which byte of the image an upload's answer asks for; ``default`` when it does not tell."""
    return int(body.get("off", default))


@_sensible
def parse_image_states(body: Mapping[str, Any]) -> tuple[ImageState, ...]:
    """Read an image list; flags that a server leaves out are not set."""
    names = ("bootable", "pending", "confirmed", "active", "permanent")
    return tuple(
        ImageState(
            int(entry["slot"]),
            str(entry.get("version", "")),
            _digest(entry["hash"]) if "hash" in entry else None,
            int(entry.get("image", 0)),
            **{name: bool(entry.get(name, False)) for name in names},
        )
        for entry in body.get("images", ())
    )


@_sensible
def parse_slot_info(body: Mapping[str, Any]) -> tuple[SlotInfo, ...]:
    """Read the answer to a slot information request."""
    return tuple(
        SlotInfo(
            int(image.get("image", 0)),
            int(slot["slot"]),
            _integer(slot.get("size")),
            _integer(slot.get("upload_image_id")),
            _integer(image.get("max_image_size")),
        )
        for image in body.get("images", ())
        for slot in image.get("slots", ())
        if "slot" in slot
    )


def _digest(value: object) -> str:
    if not isinstance(value, bytes):
        raise TypeError("a digest is no byte string")
    return value.hex()


def _integer(value: object) -> int | None:
    if value is not None and not isinstance(value, int):
        raise TypeError("a size is no integer")
    return value

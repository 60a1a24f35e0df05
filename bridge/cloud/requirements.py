"""``requires`` in a job document: what a board must have already before the image may go onto it.

Neither MCUboot images nor modem firmware say so themselves; who orders an update knows. The member is ours and optional. One
that is there and is not understood is refused, because its author wants something checked that we would not check.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

_RELEASE: Final = re.compile(r"v?(\d{1,5}\.\d{1,5}\.\d{1,5})")
_HARDWARE: Final = re.compile(r"\S{1,32} \S{1,32} [A-Z0-9]{2,4}")
_MAX_COUNTER: Final = 2**32 - 1


class RequirementError(Exception):
    """``requires`` cannot be read; the text begins with the offending member."""


@dataclass(frozen=True)
class Requirements:
    """The least that a board must have; what is None does not matter.

    Attributes:
        modem: Release of its modem firmware, such as ``2.0.2``.
        application: Version of the application that it runs.
        hardware: Revision as ``AT%HWVERSION`` tells it, such as ``nRF9160 SICA B1A``: of the same device and package, and not
            before this one.
        bootloader: Version counter of its MCUboot.
    """

    modem: str | None = None
    application: str | None = None
    hardware: str | None = None
    bootloader: int | None = None

    def to_dict(self) -> dict[str, object]:
        """As JSON members; :func:`read_requirements` reads them back."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NOTHING: Final = Requirements()


def read_requirements(value: object) -> Requirements:
    """Read the member of a document.

    Raises:
        RequirementError: It makes no sense.
    """
    if value is None:
        return NOTHING
    if not isinstance(value, Mapping):
        raise RequirementError("requires must be an object")
    unknown = sorted(str(name) for name in value if name not in Requirements.__dataclass_fields__)
    if unknown:
        known = ", ".join(Requirements.__dataclass_fields__)
        raise RequirementError(f"requires has {unknown[0][:40]!a}, which is unknown; known are {known}")
    return Requirements(
        modem=_release(value, "modem"),
        application=_release(value, "application"),
        hardware=_hardware(value),
        bootloader=_counter(value),
    )


def _release(members: Mapping[object, object], name: str) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    match = _RELEASE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise RequirementError(f"requires.{name} must be a version such as 2.0.2")
    return match[1]


def _hardware(members: Mapping[object, object]) -> str | None:
    value = members.get("hardware")
    if value is None:
        return None
    if not isinstance(value, str) or not _HARDWARE.fullmatch(value):
        raise RequirementError("requires.hardware must be a revision such as nRF9160 SICA B1A")
    return value


def _counter(members: Mapping[object, object]) -> int | None:
    value = members.get("bootloader")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MAX_COUNTER:
        raise RequirementError("requires.bootloader must be a number above 0")
    return value

"""Nordic Serial Modem's serial DFU commands: ``#XDFUINIT``, ``#XDFUWRITE``, ``#XDFUAPPLY`` and their URCs.

Source: ncs-serial-modem, ``doc/app/at_dfu.rst`` and ``app/src/sm_at_dfu.c``.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class XdfuType(IntEnum):
    """First parameter of every ``#XDFU`` command: what is being written."""

    APPLICATION = 0
    MODEM_DELTA = 1
    MODEM_FULL = 2
    MCUBOOT_BOOTLOADER = 3


class XdfuOperation(IntEnum):
    """Second field of the ``#XDFU`` URC: which command it reports on."""

    WRITE = 1
    APPLY = 2


DATA_MODE_EXIT_URC: Final = "#XDATAMODE: 0"
"""Sent at once when the announced number of bytes has arrived and the board is back in AT mode."""

_STATUS_PATTERN: Final = re.compile(r"#XDFU: ?(\d+),(\d+),(-?\d+)")


@dataclass(frozen=True)
class XdfuStatus:
    """The ``#XDFU: <type>,<operation>,<status>`` URC.

    Attributes:
        type: What is being written.
        operation: The command that ended.
        status: 0 for success, a negative number for failure.
    """

    type: XdfuType
    operation: XdfuOperation
    status: int

    def __str__(self) -> str:
        return f"#XDFU: {self.type},{self.operation},{self.status}"

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return self.status == 0


def init_command(image_type: XdfuType, size_bytes: int | None = None) -> str:
    """Build ``AT#XDFUINIT``; the size is required by every type but modem-full."""
    size = "" if size_bytes is None else f",{size_bytes}"
    return f"AT#XDFUINIT={image_type:d}{size}"


def write_command(image_type: XdfuType, address: int, length_bytes: int) -> str:
    """Build ``AT#XDFUWRITE``: after its ``OK`` exactly ``length_bytes`` raw bytes follow."""
    return f"AT#XDFUWRITE={image_type:d},{address},{length_bytes}"


def apply_command(image_type: XdfuType) -> str:
    """Build ``AT#XDFUAPPLY``: schedule what was written."""
    return f"AT#XDFUAPPLY={image_type:d}"


def parse_status(line: str) -> XdfuStatus | None:
    """Read a ``#XDFU`` URC.

    Args:
        line: One line from the board, without its line ending.

    Returns:
        The status, or None when the line is something else.
    """
    match = _STATUS_PATTERN.fullmatch(line)
    if match is None:
        return None
    try:
        return XdfuStatus(XdfuType(int(match[1])), XdfuOperation(int(match[2])), int(match[3]))
    except ValueError:
        return None

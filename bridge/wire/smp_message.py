"""SMP (MCUmgr) messages: an eight-byte header and one CBOR map.

Sources: Zephyr ``doc/services/device_mgmt/smp_protocol.rst`` and ``include/zephyr/mgmt/mcumgr/mgmt/mgmt_defines.h``,
``grp/img_mgmt/img_mgmt.h``; NCS ``include/mgmt/fmfu_mgmt.h``. Messages are plain maps here, because both ends must
speak of commands, versions and malformed answers that a typed client library refuses to build.
"""

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import cbor2

from bridge.errors import LinkError

HEADER_BYTES: Final = 8
_HEADER: Final = struct.Struct(">BBHHBB")
_VERSION_SHIFT: Final = 3
_TWO_BITS: Final = 3
_INDEFINITE_MAP: Final = b"\xbf"
_INDEFINITE_ARRAY: Final = b"\x9f"
_BREAK: Final = b"\xff"


class SmpOp(IntEnum):
    """What a message does; a response has the request's number plus one."""

    READ = 0
    READ_RESPONSE = 1
    WRITE = 2
    WRITE_RESPONSE = 3


class SmpGroup(IntEnum):
    """Command groups that this project speaks."""

    OS = 0
    IMAGE = 1
    STATISTICS = 2
    MODEM_FULL = 65


class OsCommand(IntEnum):
    """Commands of the OS group."""

    ECHO = 0
    ECHO_CONTROL = 1
    RESET = 5
    PARAMETERS = 6
    INFO = 7
    BOOTLOADER_INFO = 8


class ImageCommand(IntEnum):
    """Commands of the image group."""

    STATE = 0
    UPLOAD = 1
    ERASE = 5
    SLOT_INFO = 6


class ModemFullCommand(IntEnum):
    """Commands of the full-modem-update group of NCS."""

    GET_HASH = 0
    UPLOAD = 1


class MgmtError(IntEnum):
    """``rc`` of a message (``MGMT_ERR_*``)."""

    OK = 0
    UNKNOWN = 1
    NO_MEMORY = 2
    INVALID = 3
    TIMEOUT = 4
    NO_ENTRY = 5
    BAD_STATE = 6
    MESSAGE_SIZE = 7
    NOT_SUPPORTED = 8
    CORRUPT = 9
    BUSY = 10
    ACCESS_DENIED = 11
    TOO_OLD = 12
    TOO_NEW = 13


class SmpFormatError(LinkError):
    """Bytes that are no SMP message."""

    default_reason = "bad-smp"


@dataclass(frozen=True)
class SmpMessage:
    """One message.

    Attributes:
        op: What it does.
        group: Command group.
        command: Number of the command in its group.
        body: The CBOR map.
        sequence: Echoed in the response.
        version: 0 (first version) or 1 (with ``err`` maps); larger numbers are only ever refused.
    """

    op: int
    group: int
    command: int
    body: Mapping[str, Any] = field(default_factory=dict)
    sequence: int = 0
    version: int = 1

    def encode(self, *, indefinite: bool = False) -> bytes:
        """The message as bytes.

        Args:
            indefinite: Maps and arrays of indefinite length, as zcbor makes them.
        """
        body = _indefinite(self.body) if indefinite else cbor2.dumps(dict(self.body))
        first = self.version << _VERSION_SHIFT | self.op
        return _HEADER.pack(first, 0, len(body), self.group, self.sequence, self.command) + body

    @classmethod
    def decode(cls, data: bytes) -> "SmpMessage":
        """Read a message; bytes behind the announced length are ignored, an empty body counts as an empty map.

        Raises:
            SmpFormatError: It is none.
        """
        header = SmpHeader.decode(data)
        body = data[HEADER_BYTES : HEADER_BYTES + header.length_bytes]
        if len(body) < header.length_bytes:
            raise SmpFormatError(f"SMP message of {len(data)} bytes announces {header.length_bytes} of body")
        decoded: Any = {}
        if body:
            try:
                decoded = cbor2.load(io.BytesIO(body))
            except Exception as error:
                raise SmpFormatError(f"the body of an SMP message is no CBOR: {error}") from error
        if not isinstance(decoded, dict):
            raise SmpFormatError("the body of an SMP message is no map")
        return cls(header.op, header.group, header.command, decoded, header.sequence, header.version)

    def response(self, body: Mapping[str, Any], *, version: int | None = None) -> "SmpMessage":
        """The answer to this request."""
        return SmpMessage(
            self.op + 1,
            self.group,
            self.command,
            body,
            self.sequence,
            self.version if version is None else version,
        )


@dataclass(frozen=True)
class SmpHeader:
    """The fixed part of a message.

    Attributes:
        op: What it does.
        version: 0 or 1; 2 and 3 are from the future.
        length_bytes: Size of the body.
        group: Command group.
        sequence: Number that the response repeats.
        command: Command in its group.
    """

    op: int
    version: int
    length_bytes: int
    group: int
    sequence: int
    command: int

    @classmethod
    def decode(cls, data: bytes) -> "SmpHeader":
        """Read the first eight bytes.

        Raises:
            SmpFormatError: There are fewer.
        """
        if len(data) < HEADER_BYTES:
            raise SmpFormatError(f"{len(data)} bytes are no SMP message")
        first, _, length, group, sequence, command = _HEADER.unpack_from(data)
        return cls(first & 7, first >> _VERSION_SHIFT & _TWO_BITS, length, group, sequence, command)


def _indefinite(value: object) -> bytes:
    if isinstance(value, Mapping):
        items = b"".join(cbor2.dumps(key) + _indefinite(item) for key, item in value.items())
        return _INDEFINITE_MAP + items + _BREAK
    if isinstance(value, list | tuple):
        return _INDEFINITE_ARRAY + b"".join(map(_indefinite, value)) + _BREAK
    return cbor2.dumps(value)

"""Delta images for the modem: opaque to everybody else; only magic and file name tell something.

Source: NCS ``subsys/dfu/dfu_target/src/dfu_target_modem_delta.c`` (magic at offset 4, at least 32 bytes).
Delta images are encrypted and signed by Nordic, so size and content cannot be checked on the host.
"""

from dataclasses import dataclass
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.names import DeltaName, parse_delta_name
from bridge.image.sample import MODEM_DELTA_MAGIC, decode_modem_delta

MAGIC_OFFSET: Final = 4
MIN_SIZE_BYTES: Final = 32
_LOOK_ALIKE_HEADER_BYTES: Final = 256


@dataclass(frozen=True)
class ModemDeltaInfo:
    """What can be known of a modem delta.

    Attributes:
        family: Modem family in the file name, such as ``nrf91x1``; None without a telling name.
        base_version: Modem firmware that it updates, from the file name.
        target_version: Modem firmware that it brings, from the file name.
        look_alike: It is a sample of this project (see :mod:`bridge.image.sample`), which no real modem
            accepts.
    """

    family: str | None
    base_version: str | None
    target_version: str | None
    look_alike: bool


def is_modem_delta(head: bytes) -> bool:
    """Whether the first bytes are those of a modem delta."""
    return head[MAGIC_OFFSET : MAGIC_OFFSET + 4] == MODEM_DELTA_MAGIC


class ModemDeltaReader:
    """Counts what streams by and keeps only the first bytes.

    Args:
        name: File name, path or URL.
    """

    def __init__(self, name: str) -> None:
        self._name: DeltaName | None = parse_delta_name(name)
        self._head = b""
        self._size_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._size_bytes += len(data)
        if len(self._head) < _LOOK_ALIKE_HEADER_BYTES:
            self._head += data[: _LOOK_ALIKE_HEADER_BYTES - len(self._head)]

    def finish(self) -> ModemDeltaInfo:
        """Judge the whole.

        Raises:
            ImageRefusedError: It is too short for any delta.
        """
        if self._size_bytes < MIN_SIZE_BYTES:
            raise ImageRefusedError(
                f"modem delta is truncated: it has {self._size_bytes} bytes",
                reason="truncated",
                offset=self._size_bytes,
            )
        look_alike = decode_modem_delta(self._head) is not None
        name = self._name
        if name is None:
            return ModemDeltaInfo(None, None, None, look_alike)
        return ModemDeltaInfo(name.family, name.base_version, name.target_version, look_alike)

"""How Zephyr's groups say no, in both versions of SMP.

Sources: Zephyr ``include/zephyr/mgmt/mcumgr/grp/os_mgmt/os_mgmt.h`` and ``grp/img_mgmt/img_mgmt.h``, and the translations in
``os_mgmt.c`` and ``img_mgmt.c``.
"""

from enum import IntEnum
from typing import Final

from bridge.wire.smp_message import MgmtError


class OsError(IntEnum):
    """``rc`` in the ``err`` map of the OS group (``OS_MGMT_ERR_*``)."""

    INVALID_FORMAT = 2


class ImageError(IntEnum):
    """``rc`` in the ``err`` map of the image group (``IMG_MGMT_ERR_*``)."""

    UNKNOWN = 1
    HASH_NOT_FOUND = 8
    NO_FREE_SLOT = 9
    INVALID_SLOT = 14
    INVALID_OFFSET = 20
    INVALID_LENGTH = 21
    INVALID_IMAGE_HEADER = 22
    INVALID_IMAGE_HEADER_MAGIC = 23
    INVALID_HASH = 24
    CURRENT_VERSION_IS_NEWER = 27
    IMAGE_ALREADY_PENDING = 28
    INVALID_IMAGE_VECTOR_TABLE = 29
    INVALID_IMAGE_TOO_LARGE = 30
    INVALID_IMAGE_DATA_OVERRUN = 31
    IMAGE_SETTING_TEST_TO_ACTIVE_DENIED = 33


_INVALID: Final = (
    ImageError.INVALID_SLOT,
    ImageError.INVALID_OFFSET,
    ImageError.INVALID_LENGTH,
    ImageError.INVALID_IMAGE_HEADER,
    ImageError.INVALID_HASH,
)
_BAD_STATE: Final = (
    ImageError.NO_FREE_SLOT,
    ImageError.CURRENT_VERSION_IS_NEWER,
    ImageError.IMAGE_ALREADY_PENDING,
)
_REASONS: Final[dict[ImageError | OsError, str]] = {
    ImageError.INVALID_IMAGE_HEADER_MAGIC: "magic mismatch",
    ImageError.INVALID_OFFSET: "header malformed",
    ImageError.INVALID_LENGTH: "header malformed",
    ImageError.INVALID_IMAGE_HEADER: "header malformed",
    ImageError.CURRENT_VERSION_IS_NEWER: "downgrade",
    ImageError.NO_FREE_SLOT: "no slot",
    ImageError.INVALID_IMAGE_TOO_LARGE: "img too large",
    ImageError.INVALID_IMAGE_DATA_OVERRUN: "data overrun",
}


class SmpRefusal(Exception):  # noqa: N818 - an answer of the protocol, not a failure of the board
    """A request is answered with an error.

    Args:
        code: Of a group, or of SMP itself.
        uploading: In an upload the first version of SMP adds a word about the reason.
    """

    def __init__(self, code: ImageError | OsError | MgmtError, *, uploading: bool = False) -> None:
        super().__init__(code.name)
        self.code = code
        self._uploading = uploading

    def body(self, version: int, group: int) -> dict[str, object]:
        """Body of the answer."""
        code = self.code
        if isinstance(code, MgmtError):
            return {"rc": int(code)}
        if version > 0:
            return {"err": {"group": group, "rc": int(code)}}
        answer: dict[str, object] = {"rc": int(_translated(code))}
        if self._uploading and code in _REASONS:
            answer["rsn"] = _REASONS[code]
        return answer


def _translated(code: ImageError | OsError) -> MgmtError:
    if isinstance(code, OsError) or code in _INVALID:
        return MgmtError.INVALID
    return MgmtError.BAD_STATE if code in _BAD_STATE else MgmtError.UNKNOWN

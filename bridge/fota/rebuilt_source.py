"""The signed application that an application delta leads to, readable while the delta itself may still be downloading."""

from collections.abc import Iterator
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image import AppDeltaInfo, ImageSource
from bridge.image.app_delta_rebuild import rebuild

LOOK_BACK_BYTES: Final = 64 * 1024
"""What is kept of the bytes that were read, so that a look at the head does not cost a second run."""


class RebuiltSource:
    """An :class:`~bridge.image.ImageSource` of a delta's target; one thread reads it.

    The target is rebuilt as far as it is read. Reading on costs nothing beyond that; reading what lies further back than
    ``LOOK_BACK_BYTES`` starts over. The last bytes are only given out when patch and target have the digests that the
    delta's header names, so a damaged delta or a wrong base never yields a complete image. After an error the next read starts
    over, too.

    Args:
        delta: The delta's file, from its header on. Closing this object closes it.
        info: Its header.
        base: The base image. Closing this object closes it.
    """

    def __init__(self, delta: ImageSource, info: AppDeltaInfo, base: ImageSource) -> None:
        self._delta = delta
        self._info = info
        self._base = base
        self._pieces: Iterator[bytes] | None = None
        self._kept = bytearray()
        self._kept_from = 0
        self._verified = False

    @property
    def name(self) -> str:
        """Name of the delta's file."""
        return self._delta.name

    @property
    def expected_sha256(self) -> str | None:
        """SHA-256 of the target; the delta's header tells it."""
        return self._info.target_sha256

    def wait_size(self) -> int:
        """Size of the target in bytes; the delta's header tells it."""
        return self._info.target.size_bytes

    def read(self, offset: int, size: int) -> bytes:
        """See :class:`~bridge.image.ImageSource`; blocks while the part of the delta that is needed is not there.

        Raises:
            ImageRefusedError: See :func:`bridge.image.app_delta_rebuild.rebuild`.
            BridgeError: What reading the delta raises.
        """
        end = min(offset + size, self._info.target.size_bytes)
        if end <= offset:
            return b""
        self._rebuild_until(end, offset)
        start = offset - self._kept_from
        return bytes(self._kept[start : start + end - offset])

    def wait_complete(self) -> None:
        """Block until the delta is there as declared, and the whole target was rebuilt from it and has its digest.

        Raises:
            BridgeError: As :meth:`read`.
        """
        end = self._info.target.size_bytes
        if not self._verified:
            self._rebuild_until(end, end)
        self._delta.wait_complete()

    def close(self) -> None:
        """Close delta and base; may be called twice."""
        self._pieces = None
        self._delta.close()
        self._base.close()

    def _rebuild_until(self, end: int, needed_from: int) -> None:
        """Go on until ``end``, and keep what is needed, or may be asked for again."""
        if self._pieces is None or needed_from < self._kept_from:
            self._pieces = rebuild(self._info, self._delta.read, self._base.read)
            self._kept.clear()
            self._kept_from = 0
        try:
            while (made := self._kept_from + len(self._kept)) < end:
                self._kept += next(self._pieces)
                surplus = min(needed_from, made - LOOK_BACK_BYTES) - self._kept_from
                if surplus > 0:
                    del self._kept[:surplus]
                    self._kept_from += surplus
        except StopIteration:
            raise ImageRefusedError("the rebuilt image is too short", reason="target-mismatch") from None
        except BaseException:
            self._pieces = None  # a generator that raised is over
            raise
        self._verified = self._verified or made == self._info.target.size_bytes

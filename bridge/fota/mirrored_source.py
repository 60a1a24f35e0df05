"""An image that several servers have: when one fails, the next goes on at the same byte.

That is safe because such an image is ordered with its SHA-256, and because what was handed out before is compared with what the
next server has; a board never gets a mixture.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from bridge import clock
from bridge.errors import CloudError
from bridge.image import ImageSource
from bridge.image.source import InterruptibleSource

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class MirroredSource:
    """An image from the first server that gives it; a source like any other.

    Args:
        starts: Begin a download from each server, in the order in which they are tried; at least one.
    """

    def __init__(self, starts: Sequence[Callable[[], ImageSource]]) -> None:
        self._starts = list(starts)
        self._source = self._starts.pop(0)()
        self._closed = clock.event()
        """Also set when readers shall wait no more: then no further server is tried."""
        self._handed_out: dict[tuple[int, int], bytes] = {}

    @property
    def name(self) -> str:
        """See :class:`~bridge.image.ImageSource`."""
        return self._source.name

    @property
    def expected_sha256(self) -> str | None:
        """See :class:`~bridge.image.ImageSource`."""
        return self._source.expected_sha256

    def wait_size(self) -> int:
        """Block until the size is known, in bytes."""
        return self._from_any(self._size)

    def read(self, offset: int, size: int) -> bytes:
        """Block until the bytes are here."""
        data = self._from_any(partial(self._read, offset, size))
        self._handed_out[offset, len(data)] = hashlib.sha256(data).digest()
        return data

    def wait_complete(self) -> None:
        """Block until everything is here and checked."""
        self._from_any(self._complete)

    def close(self) -> None:
        """Stop the download."""
        self._closed.set()
        self._source.close()

    def interrupt(self) -> None:
        """See :class:`~bridge.image.source.InterruptibleSource`."""
        self._closed.set()
        source: object = self._source
        if isinstance(source, InterruptibleSource):
            source.interrupt()

    def _from_any(self, ask: Callable[[], _T]) -> _T:
        while True:
            try:
                return ask()
            except CloudError as error:
                if self._closed.is_set() or not self._starts:
                    raise
                _log.warning("%s; trying the next server", error.message)
                self._source.close()
                self._source = self._starts.pop(0)()
                if self._closed.is_set():  # meanwhile, and it was the old one that was stopped
                    self._source.close()
                    raise
                self._compare(error)

    def _compare(self, before: CloudError) -> None:
        """What the next server has must be what was handed out; else the first failure stands."""
        for (offset, size), digest in self._handed_out.items():
            again = self._from_any(partial(self._read, offset, size))
            if hashlib.sha256(again).digest() != digest:
                raise before

    # Not of the source itself: it may be another one when it is asked again.
    def _size(self) -> int:
        return self._source.wait_size()

    def _complete(self) -> None:
        self._source.wait_complete()

    def _read(self, offset: int, size: int) -> bytes:
        return self._source.read(offset, size)

"""One download for all boards of this process that are sent the same image at the same time.

A finished image is in the cache anyway. While it is still arriving, all boards read it from one :class:`Download`, which
tells each of its readers when bytes that it had became void.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from bridge import clock
from bridge.cloud import JobDocument
from bridge.errors import BridgeError, CloudError
from bridge.fetch import SourceRestartedError
from bridge.fetch.cache import location_of
from bridge.image import ImageSource
from bridge.image.source import InterruptibleSource

_log = logging.getLogger(__name__)

SourceMaker = Callable[[JobDocument, Callable[[], str]], ImageSource]
_T = TypeVar("_T")
_Key = tuple[object, ...]


@dataclass
class _Shared:
    """A running download and who reads it.

    Attributes:
        readers: Their ways to a fresh URL; the download asks the first that knows one.
        impatient: Those of them that wait no more.
    """

    key: _Key
    source: ImageSource | None = None
    readers: dict[object, Callable[[], str]] = field(default_factory=dict)
    impatient: set[object] = field(default_factory=set)

    def fresh_url(self) -> str:
        failure: BridgeError = CloudError("nobody wants this image any more", reason="closed")
        for ask in list(self.readers.values()):
            try:
                return ask()
            except BridgeError as error:  # its job may be gone, while those of others are not
                failure = error
        raise failure


class SharedDownloads:
    """Makes sources as :func:`bridge.fota.service.source_maker` does, but the same one for documents that mean the same.

    Documents mean the same if they name the same digest; without digests, if they agree in place (whatever the signature
    in the URL), size and version.

    Args:
        start: Starts a download.
    """

    def __init__(self, start: SourceMaker) -> None:
        self._start = start
        self._lock = clock.lock()
        self._running: dict[_Key, _Shared] = {}

    def __call__(self, document: JobDocument, fresh_url: Callable[[], str]) -> ImageSource:
        """A source for one reader; the download ends when the last of them has closed theirs."""
        key = _key_of(document)
        reader = object()
        with self._lock:
            shared = self._running.get(key)
            if shared is None:
                shared = _Shared(key)
                shared.readers[reader] = fresh_url
                shared.source = self._start(document, shared.fresh_url)
                self._running[key] = shared
            else:
                _log.info("another board is being sent this image; reading along")
                shared.readers[reader] = fresh_url
        assert shared.source is not None
        return _ReadAlong(
            shared.source,
            lambda: self._leave(shared, reader),
            lambda: self._forget(shared),
            lambda: self._interrupt(shared, reader),
        )

    def _interrupt(self, shared: _Shared, reader: object) -> None:
        with self._lock:
            shared.impatient.add(reader)
            waiting = [one for one in shared.readers if one not in shared.impatient]
            if not waiting:
                self._drop(shared)  # whoever comes from now on begins anew
        source: object = shared.source
        if not waiting and isinstance(source, InterruptibleSource):
            source.interrupt()

    def _leave(self, shared: _Shared, reader: object) -> None:
        with self._lock:
            shared.readers.pop(reader, None)
            if shared.readers:
                return
            self._drop(shared)
        assert shared.source is not None
        shared.source.close()

    def _forget(self, shared: _Shared) -> None:
        """Let nobody else join a download that failed."""
        with self._lock:
            self._drop(shared)

    def _drop(self, shared: _Shared) -> None:
        if self._running.get(shared.key) is shared:
            del self._running[shared.key]


class _ReadAlong:
    """One reader's view of a shared download."""

    def __init__(
        self,
        source: ImageSource,
        leave: Callable[[], None],
        forget: Callable[[], None],
        interrupt: Callable[[], None],
    ) -> None:
        self._source = source
        self._interrupt = interrupt
        self._leave = leave
        self._forget = forget
        self._closed = False

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
        return self._watched(self._source.wait_size)

    def read(self, offset: int, size: int) -> bytes:
        """Block until the bytes are here."""
        return self._watched(lambda: self._source.read(offset, size))

    def wait_complete(self) -> None:
        """Block until everything is here and checked."""
        self._watched(self._source.wait_complete)

    def interrupt(self) -> None:
        """See :class:`~bridge.image.source.InterruptibleSource`; all who read along are let go when nobody wants to wait."""
        self._interrupt()

    def close(self) -> None:
        """Leave; the download goes on as long as others read it."""
        if not self._closed:
            self._closed = True
            self._leave()

    def _watched(self, wait: Callable[[], _T]) -> _T:
        if self._closed:
            raise CloudError("the download was closed", reason="closed")
        try:
            return wait()
        except SourceRestartedError:
            raise
        except BridgeError:
            self._forget()
            raise


def _key_of(document: JobDocument) -> _Key:
    if document.sha256 is not None:
        return ("sha256", document.sha256, document.size_bytes)
    return ("place", location_of(document.url), document.size_bytes, document.fw_version)

"""The image as far as it has arrived: what the downloading thread and the readers share, behind one condition.

Nothing is given out that the server did not confirm to belong to the object it has now. When the object changes after all,
bytes that were given out are void, and every reader that had some is told once, by an exception.
"""

import threading
from collections.abc import Callable
from typing import ClassVar

from bridge import clock
from bridge.errors import BridgeError, CloudError
from bridge.fetch.part_file import PartFacts, PartFile


class SourceRestartedError(CloudError):
    """The image changed on the server after part of it had been read: what was read is void.

    Raised once to each thread that had read, and at least once; after it the source gives the new image, from offset 0.
    """

    default_reason: ClassVar[str] = "changed-on-server"


class Arrival:
    """Bytes on disk, how many of them count, and who waits for more."""

    def __init__(self) -> None:
        self._news = clock.condition()
        self._part: PartFile | None = None
        self._received_bytes = 0
        self._size_bytes: int | None = None
        self._confirmed = False
        self._complete = False
        self._closed = False
        self._error: BridgeError | None = None
        self._given_out_bytes = 0
        self._size_given_out: int | None = None
        self._readers: set[int] = set()
        self._to_tell: set[int] = set()
        self._tell_anyone = False
        self._generation = 0

    # What readers use.

    @property
    def generation(self) -> int:
        """Counts up when bytes that were given out became void."""
        return self._generation

    @property
    def received_bytes(self) -> int:
        """Bytes that are here."""
        return self._received_bytes

    @property
    def size_bytes(self) -> int | None:
        """Total size, once known."""
        return self._size_bytes

    def wait_size(self) -> int:
        """Block until the size is known."""
        with self._news:
            self._wait_until(lambda: self._size_bytes is not None)
            assert self._size_bytes is not None
            self._size_given_out = self._size_bytes
            self._readers.add(threading.get_ident())
            return self._size_bytes

    def wait_complete(self) -> None:
        """Block until everything is here and checked."""
        with self._news:
            self._wait_until(lambda: self._complete)

    def read(self, offset: int, size: int) -> bytes:
        """Block until the bytes are here; fewer only at the end."""

        def arrived() -> bool:
            end = offset + size
            if self._size_bytes is not None:
                end = min(end, self._size_bytes)
            return self._complete or (self._confirmed and self._received_bytes >= end)

        with self._news:
            self._wait_until(arrived)
            assert self._part is not None
            size = max(0, min(size, self._received_bytes - offset))
            data = self._part.read(offset, size) if size else b""
            self._given_out_bytes = max(self._given_out_bytes, offset + len(data))
            self._readers.add(threading.get_ident())
            return data

    def close(self) -> None:
        """Wake everybody and close the file."""
        with self._news:
            self._closed = True
            if self._part is not None:
                self._part.close()
            self._news.notify_all()

    # What the downloading thread uses.

    @property
    def part(self) -> PartFile:
        """The file being written."""
        assert self._part is not None
        return self._part

    def adopt(self, part: PartFile, received_bytes: int) -> None:
        """Use a file whose first bytes may be good; they are not given out before they are confirmed."""
        with self._news:
            if self._part is not None:
                self._part.close()
            self._part, self._received_bytes = part, received_bytes
            if self._closed:
                part.close()

    @property
    def confirmed(self) -> bool:
        """Whether the server confirmed that what is here belongs to the object it has."""
        return self._confirmed

    def confirm(self, facts: PartFacts) -> None:
        """The bytes here, and those that follow, belong to this object."""
        with self._news:
            if facts.size_bytes is not None and self._size_given_out not in {None, facts.size_bytes}:
                self._void()
            self._confirmed = True
            self._size_bytes = facts.size_bytes
            self._news.notify_all()
        self.part.remember(facts)

    def write(self, offset: int, data: bytes) -> int:
        """Take bytes of the body.

        Where bytes are here already, they are compared; from the first difference on the new ones count.

        Returns:
            How many bytes were new.
        """
        with self._news:
            if self._closed:
                return 0
            overlap = self.part.read(offset, max(0, min(len(data), self._received_bytes - offset)))
            same = _common_prefix(overlap, data)
            if same < len(overlap):
                self._truncate(offset + same)
            new = data[same:]
            self.part.write(offset + same, new)
            self._received_bytes = max(self._received_bytes, offset + len(data))
            self._news.notify_all()
            return len(new)

    def restart(self) -> None:
        """Nothing that is here counts any more."""
        with self._news:
            self._truncate(0)
            self._confirmed = False
            self._size_bytes = None
        self.part.remember(PartFacts())

    def complete(self) -> None:
        """Everything is here and checked."""
        with self._news:
            self._complete = self._confirmed = True
            self._size_bytes = self._received_bytes
            self._news.notify_all()

    def fail(self, error: BridgeError, *, drop: bool = False) -> None:
        """It will never be complete; the file is released for the next one who tries.

        Args:
            error: What every reader is told from now on.
            drop: The bytes are bad: nobody may continue the file, and no reader may see it without them.
        """
        with self._news:
            self._error = error
            self._news.notify_all()
            if self._part is not None and not self._part.closed:
                if drop:
                    self._part.truncate(0)
                self._part.close()

    def _truncate(self, size_bytes: int) -> None:
        self.part.truncate(size_bytes)
        self._received_bytes = size_bytes
        if self._given_out_bytes > size_bytes:
            self._void()

    def _void(self) -> None:
        self._generation += 1
        self._given_out_bytes, self._size_given_out = 0, None
        self._to_tell |= self._readers
        self._readers.clear()
        self._tell_anyone = True
        self._news.notify_all()

    def _wait_until(self, arrived: Callable[[], bool]) -> None:
        """Wait, unless there is something that must be told first."""
        me = threading.get_ident()

        def to_tell() -> bool:
            return self._tell_anyone or me in self._to_tell

        self._news.wait_for(lambda: self._error or self._closed or to_tell() or arrived())
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._closed:
            raise CloudError("the download was closed", reason="closed")
        if to_tell():
            self._tell_anyone = False
            self._to_tell.discard(me)
            raise SourceRestartedError(
                "the image changed on the server while it was being downloaded",
                hint="Give every build a file name of its own.",
            )


def _common_prefix(first: bytes, second: bytes) -> int:
    """How many leading bytes are the same."""
    if first == second[: len(first)]:
        return len(first)
    return next(index for index, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1])

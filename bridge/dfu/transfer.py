"""Driving a transfer: bytes from an image source into a target, from the start again if need be."""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bridge import clock
from bridge.dfu.target import DfuTarget, TransferImage, TransferRestartError
from bridge.errors import BoardRefusedError, BridgeError, LinkError
from bridge.image import ImageKind, ImageSource

_log = logging.getLogger(__name__)

DEFAULT_TRIES: Final = 3
_RATE_WINDOW_S: Final = 5.0


@dataclass(frozen=True)
class TransferStep:
    """Where a transfer is.

    Attributes:
        done_bytes: Bytes of the image that are in the board's flash.
        total_bytes: Size of the image.
        attempt: 1 for the first try; a transfer that has to start again counts up.
        rate_bytes_per_s: Over the last seconds; 0 before the first chunk.
        notice: Something a person should know now, or None.
    """

    done_bytes: int
    total_bytes: int
    attempt: int
    rate_bytes_per_s: float = 0.0
    notice: str | None = None


def transfer(
    target: DfuTarget, source: ImageSource, image: TransferImage, *, tries: int = DEFAULT_TRIES
) -> Iterator[TransferStep]:
    """Write an image into a target.

    The source may still be downloading: each chunk is sent as soon as it is there, while the next ones
    arrive.

    Args:
        target: Where to.
        source: Where from; it is not closed.
        image: What it is.
        tries: How often to start before giving up.

    Yields:
        A step before each (possibly long) preparation of the flash, and one after each chunk.

    Raises:
        BoardRefusedError: The board refuses the image, or reports a failed write each time (reason
            ``write-failed``).
        LinkError: Bytes were lost each time (reason ``bytes-lost``), or the link is lost.
        BridgeError: What the source raises.
    """
    for attempt in range(1, tries + 1):
        yield TransferStep(0, image.size_bytes, attempt, notice=_preparation(image.kind, attempt))
        try:
            yield from _attempt(target, source, image, attempt)
        except TransferRestartError as error:
            _log.warning("transfer attempt %d of %d: %s", attempt, tries, error.message)
            if attempt == tries:
                raise _give_up(error, tries) from error
        else:
            return


def _attempt(
    target: DfuTarget, source: ImageSource, image: TransferImage, attempt: int
) -> Iterator[TransferStep]:
    size_bytes = image.size_bytes
    offset = target.begin(image)
    meter = _RateMeter(offset)
    while offset < size_bytes:
        chunk = source.read(offset, min(target.chunk_size_bytes, size_bytes - offset))
        if not chunk:
            raise LinkError(
                f"{source.name} ends at byte {offset} of {size_bytes}",
                reason="source-too-short",
                offset=offset,
            )
        try:
            target.write(chunk)
        except BridgeError as error:
            if error.offset is None:
                error.offset = offset  # whoever lost the link knows nothing of images
            raise
        offset += len(chunk)
        yield TransferStep(offset, size_bytes, attempt, meter.rate_at(offset))
    target.finish()


def _preparation(kind: ImageKind, attempt: int) -> str | None:
    again = f"starting again from the beginning (attempt {attempt})" if attempt > 1 else ""
    erasing = (
        "the modem erases its update area if an earlier update is in it; this can take minutes"
        if kind is ImageKind.MODEM_DELTA
        else ""
    )
    return "; ".join(text for text in (again, erasing) if text) or None


def _give_up(error: TransferRestartError, tries: int) -> LinkError | BoardRefusedError:
    if error.reason == "write-failed":
        return BoardRefusedError(
            f"the board reported a failed write in each of {tries} attempts: {error.message}",
            reason="write-failed",
            offset=error.offset,
            hint="For a modem delta: is it made for the modem firmware that runs?",
        )
    return LinkError(
        f"the transfer failed in each of {tries} attempts: {error.message}",
        reason=error.reason,
        offset=error.offset,
        hint="Check the cable; try a lower --transfer-baud, and --flow-control if the board has RTS/CTS.",
    )


class _RateMeter:
    """Rate over the last seconds."""

    def __init__(self, offset: int) -> None:
        self._points = deque([(clock.monotonic(), offset)])

    def rate_at(self, offset: int) -> float:
        now = clock.monotonic()
        self._points.append((now, offset))
        while len(self._points) > 2 and now - self._points[1][0] > _RATE_WINDOW_S:
            self._points.popleft()
        since, before = self._points[0]
        return (offset - before) / max(now - since, 1e-6)

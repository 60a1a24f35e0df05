"""Is the link any good? Asked before anything else is blamed: how long AT answers take, and whether bytes survive the line.

Serial Modem can echo (``ATE1``, source: ncs-serial-modem ``app/src/sm_at_host.c``): each byte goes to the board and comes back,
so one pass tests both directions. Firmware that does not echo is measured by its answers only, and the result says so.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from bridge.board import Board
from bridge.board.tap import tapped
from bridge.errors import BenchError, BridgeError
from bridge.pytest_plugin import spoil

QUICK_BYTES: Final = 4 * 1024
FULL_BYTES: Final = 400 * 1024
_LATENCY_ROUNDS: Final = 50
_LINE_BYTES: Final = 1000
_BUCKETS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_MARGIN_S: Final = 10.0


@dataclass(frozen=True)
class LinkReport:
    """What a check found.

    Attributes:
        latencies_ms: Time from a command to its result, for each of them.
        echoed_bytes: Bytes that went both ways and came back as they were; 0 where the firmware does not echo.
        duration_s: How long the bytes took.
        remark: What could not be checked, and why.
    """

    latencies_ms: tuple[float, ...]
    echoed_bytes: int = 0
    duration_s: float = 0.0
    remark: str = ""

    def quantile_ms(self, share: float) -> float:
        """Latency that so many of the answers did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def histogram(self) -> dict[str, int]:
        """How many answers took how long; the keys are upper limits."""
        counts = {f"<= {limit} ms": 0 for limit in _BUCKETS_MS} | {f"> {_BUCKETS_MS[-1]} ms": 0}
        for latency_ms in self.latencies_ms:
            limit = next((each for each in _BUCKETS_MS if latency_ms <= each), None)
            counts[f"<= {limit} ms" if limit else f"> {_BUCKETS_MS[-1]} ms"] += 1
        return {key: count for key, count in counts.items() if count}

    def __str__(self) -> str:
        echo = f"{self.echoed_bytes} bytes both ways intact" if self.echoed_bytes else self.remark
        return f"AT answers in {self.quantile_ms(0.5):.1f} ms (95 %: {self.quantile_ms(0.95):.1f} ms), {echo}"


def check_link(board: Board, size_bytes: int = QUICK_BYTES) -> LinkReport:
    """Measure a link, and send bytes there and back.

    Args:
        board: The opened board.
        size_bytes: How many.

    Raises:
        BenchError: Bytes were lost or changed (``link-damaged``), at an offset; the link is not fit for tests.
        LinkError: The board stopped answering.
    """
    latencies = []
    for _ in range(_LATENCY_ROUNDS):
        began_s = time.perf_counter()
        board.at.command("AT")
        latencies.append(1000 * (time.perf_counter() - began_s))
    began_s = time.perf_counter()
    with _echo(board) as echoes:
        if not echoes:
            return LinkReport(
                tuple(latencies), remark="the firmware does not echo, so no bytes were sent there and back"
            )
        for offset in range(0, size_bytes, _LINE_BYTES):
            _there_and_back(board, min(_LINE_BYTES, size_bytes - offset), offset)
    return LinkReport(tuple(latencies), size_bytes, time.perf_counter() - began_s)


@contextmanager
def _echo(board: Board) -> Iterator[bool]:
    try:
        board.at.command("ATE1")
    except BridgeError:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(BridgeError):
            board.at.command("ATE0")


def _there_and_back(board: Board, count: int, offset: int) -> None:
    """One command line that no firmware knows; its echo is compared with it, its ``ERROR`` ends it."""
    filler = bytes(
        _ALPHABET[byte % len(_ALPHABET)] for byte in spoil.noise(max(1, count - 5) + offset)[offset:]
    )
    line = b"AT%%" + filler
    heard = _Ears()
    with tapped(heard.take), suppress(BridgeError):
        board.at.command(line.decode("ascii"), timeout_s=_MARGIN_S + 20 * count / board.link.baud)
    if line in heard.data:
        return
    echo = bytes(heard.data)
    at = next((index for index, byte in enumerate(line) if echo[index : index + 1] != bytes((byte,))), 0)
    raise BenchError(
        f"the link is damaged: of {count} bytes there and back, byte {offset + at} was lost or changed",
        reason="link-damaged",
        offset=offset + at,
        hint="Check cable, baud rate and flow control before you blame an update.",
    )


class _Ears:
    """What comes in while a line is sent."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._lock = threading.Lock()

    def take(self, _url: str, direction: str, data: bytes) -> None:
        if direction == "in":
            with self._lock:
                self.data += data

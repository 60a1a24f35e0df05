"""What a UART receives when the sender uses another bit rate: the same levels, sampled at wrong moments.

Frames are 8N1: a start bit (low), eight data bits from the lowest, a stop bit (high). Receivers sample the
middle of each bit and tolerate a few per cent.
"""

import functools
from typing import Final

_TOLERANCE: Final = 0.03
_FRAME_BITS: Final = 10
_REMEMBERED: Final = 1024
"""So many pieces of data are remembered: hosts that look for the rate say the same over and over."""
_LEVELS: Final = tuple((0, *((byte >> bit) & 1 for bit in range(8)), 1) for byte in range(256))
"""What is on the line for each byte, bit by bit."""


def rates_match(sender_baud: int, receiver_baud: int) -> bool:
    """Whether a receiver at one rate understands a sender at the other."""
    return abs(sender_baud - receiver_baud) <= _TOLERANCE * receiver_baud


def receive(data: bytes, sender_baud: int, receiver_baud: int) -> bytes:
    """What arrives; frames with a bad stop bit are dropped, as UARTE does on a framing error."""
    return data if rates_match(sender_baud, receiver_baud) else _sampled(data, sender_baud, receiver_baud)


@functools.lru_cache(_REMEMBERED)
def _sampled(data: bytes, sender_baud: int, receiver_baud: int) -> bytes:
    levels = [level for byte in data for level in _LEVELS[byte]]
    step = sender_baud / receiver_baud  # sender bits that pass in one receiver bit
    received = bytearray()
    position = 0.0
    while int(position) < len(levels):
        if levels[int(position)]:
            position += max(1.0, step) / 16
            continue
        samples = [_level(levels, position + (bit + 0.5) * step) for bit in range(_FRAME_BITS)]
        if samples[-1]:
            received.append(sum(sample << bit for bit, sample in enumerate(samples[1:9])))
        position += _FRAME_BITS * step
    return bytes(received)


def _level(levels: list[int], position: float) -> int:
    return levels[int(position)] if position < len(levels) else 1

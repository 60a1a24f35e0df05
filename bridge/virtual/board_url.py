"""``virtual://`` URLs: what they mean, and the board that they name.

``virtual://NAME`` is a board that this process registered under that name.
``virtual://MODEL?option=value&...`` builds and starts a board on first use. Options: ``firmware``
(serial-modem, smp), ``timing`` (simulated, real), ``baud`` (rate of the board after a reset), ``image`` (factory
image file), ``key`` (PEM that MCUboot trusts; may be repeated), ``state`` (directory), ``battery`` (mV),
``modem_time_scale`` (factor on the minutes of modem updates), ``rtscts`` (0: the board's UART has no flow
control), ``uart`` (dma, fifo), ``rx_buffers`` (such as 3x256), ``usb_latency_ms``, ``flash`` (real, ideal)
and ``name``. The board runs until the process ends, also while no port is open; the same ``name``, or without
one the same URL, finds it again.
"""

import urllib.parse
from pathlib import Path
from typing import Final

from bridge.errors import UsageError
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.clock import Timing
from bridge.virtual.modem import ModemOptions
from bridge.virtual.uart_options import parse_uart

_OPTIONS: Final = frozenset(
    ("firmware", "timing", "baud", "image", "key", "state", "battery", "modem_time_scale", "rtscts", "name")
) | {"uart", "rx_buffers", "usb_latency_ms", "flash"}


def open_board(url: str) -> VirtualBoard:
    """The running board behind a URL; built and started if need be.

    Raises:
        UsageError: The URL makes no sense.
        BenchError: The state directory is in use.
    """
    key = registry.key_of(url)
    board = registry.find(key)
    if board is None:
        board = _build(url)
        board.start()
        registry.register(key, board)
    return board


def _build(url: str) -> VirtualBoard:
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(set(query) - _OPTIONS)
    if unknown:
        raise UsageError(f"unknown option {unknown[0]} in the virtual board's URL", reason="bad-url")
    one = {name: values[-1] for name, values in query.items()}
    try:
        return VirtualBoard(
            parts.netloc,
            firmware=one.get("firmware", "serial-modem"),
            timing=Timing(one.get("timing", Timing.SIMULATED)),
            factory_image=Path(one["image"]).read_bytes() if "image" in one else None,
            keys=[Path(file).read_bytes() for file in query.get("key", ())],
            state_dir=Path(one["state"]) if "state" in one else None,
            baud=int(one.get("baud", "115200")),
            flow_control=one.get("rtscts", "1") != "0",
            uart=parse_uart(one.get("uart", "dma"), one.get("rx_buffers")),
            usb_latency_ms=float(one.get("usb_latency_ms", "0")),
            ideal_flash=one.get("flash", "real") == "ideal",
            modem=ModemOptions(
                battery_mv=int(one.get("battery", ModemOptions.battery_mv)),
                time_scale=float(one.get("modem_time_scale", "1")),
            ),
        )
    except ValueError as error:
        raise UsageError(
            f"an option of the virtual board's URL has a bad value: {error}", reason="bad-url"
        ) from error
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}", reason="bad-url") from error

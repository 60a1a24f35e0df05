"""``virtual://`` URLs: what they mean, and the board that they name.

``virtual://NAME`` is a board that this process registered under that name.
``virtual://MODEL?option=value&...`` builds and starts a board on first use. Options: ``firmware``
(serial-modem, slm, at_client, smp, fmfu), ``timing`` (simulated, real), ``baud`` (rate of the board after a reset),
``image`` (factory image file), ``key`` (PEM that MCUboot trusts; may be repeated), ``state`` (directory), ``battery`` (mV),
``modem_time_scale`` (factor on the time of modem updates), ``rtscts`` (0: the board's UART has no flow control),
``modem_full`` (1: a Serial Modem build with full modem updates) and ``name``. The board runs until the process
ends, also while no port is open; the same ``name``, or without one the same URL, finds it again.
"""

import urllib.parse
from pathlib import Path
from typing import Final

from bridge.errors import UsageError
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.clock import Timing
from bridge.virtual.modem import ModemOptions
from bridge.virtual.serial_modem_options import SerialModemOptions

_OPTIONS: Final = frozenset(
    (
        "firmware",
        "timing",
        "baud",
        "image",
        "key",
        "state",
        "battery",
        "modem_time_scale",
        "rtscts",
        "modem_full",
        "name",
    )
)


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
            modem=ModemOptions(
                battery_mv=int(one.get("battery", ModemOptions.battery_mv)),
                time_scale=float(one.get("modem_time_scale", "1")),
            ),
            serial_modem=SerialModemOptions(modem_full=one.get("modem_full", "0") != "0"),
        )
    except ValueError as error:
        raise UsageError(
            f"an option of the virtual board's URL has a bad value: {error}", reason="bad-url"
        ) from error
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}", reason="bad-url") from error

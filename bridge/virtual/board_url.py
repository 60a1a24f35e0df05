"""``virtual://`` URLs: what they mean, and the board that they name.

``virtual://NAME`` is a board that this process registered under that name.
``virtual://MODEL?option=value&...`` builds and starts a board on first use. Options: ``firmware``
(serial-modem, slm, at_client, smp, fmfu, mcuboot), ``timing`` (simulated, real), ``baud`` (rate of the board after a
reset), ``image`` (factory image file), ``key`` (PEM that MCUboot trusts; may be repeated), ``state`` (directory),
``battery`` (mV), ``modem_time_scale`` (factor on the time of modem updates), ``rtscts`` (1 or 0: the board's UART has
flow control, or not), ``uart`` (dma, fifo), ``rx_buffers`` (such as 3x256), ``usb_latency_ms``, ``flash`` (real,
ideal), ``modem_full`` (1: a Serial Modem build with full modem updates), ``recovery`` (ways into MCUboot's serial
recovery: button, pin-reset, boot-mode, window, no-application, with commas between; or none), ``button`` (1: somebody
holds it down), ``bootloader`` and ``smp`` (build options such as ``direct-upload,line-bytes=512``) and ``name``. The
board runs until the process ends, also while no port is open; the same ``name``, or without one the same URL, finds it
again.
"""

import urllib.parse
from pathlib import Path
from typing import Final

from bridge.errors import UsageError
from bridge.virtual import registry
from bridge.virtual.applications import RECOVERY_FIRMWARE
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import options_from_text
from bridge.virtual.build_options import with_options
from bridge.virtual.clock import Timing
from bridge.virtual.modem import ModemOptions
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.uart_options import parse_uart

_OPTIONS: Final = frozenset(
    (
        *(
            "firmware",
            "timing",
            "baud",
            "image",
            "key",
            "state",
            "battery",
            "modem_time_scale",
            "rtscts",
            "name",
        ),
        *("uart", "rx_buffers", "usb_latency_ms", "flash", "modem_full"),
        *("recovery", "button", "bootloader", "smp"),
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
    firmware = one.get("firmware", "serial-modem")
    bootloader = options_from_text(
        parts.netloc,
        button=firmware == RECOVERY_FIRMWARE or one.get("button") == "1",
        entries=one.get("recovery"),
        build=query.get("bootloader", ()),
    )
    try:
        return VirtualBoard(
            parts.netloc,
            firmware=firmware,
            timing=Timing(one.get("timing", Timing.SIMULATED)),
            factory_image=Path(one["image"]).read_bytes() if "image" in one else None,
            keys=[Path(file).read_bytes() for file in query.get("key", ())],
            state_dir=Path(one["state"]) if "state" in one else None,
            baud=int(one.get("baud", "115200")),
            flow_control=one["rtscts"] != "0" if "rtscts" in one else None,
            uart=parse_uart(one.get("uart", "dma"), one.get("rx_buffers")),
            usb_latency_ms=float(one.get("usb_latency_ms", "0")),
            ideal_flash=one.get("flash", "real") == "ideal",
            modem=ModemOptions(
                battery_mv=int(one.get("battery", ModemOptions.battery_mv)),
                time_scale=float(one.get("modem_time_scale", "1")),
            ),
            smp=with_options(SmpOptions(), query.get("smp", ())),
            bootloader=bootloader,
            button_held=one["button"] == "1" if "button" in one else None,
            serial_modem=SerialModemOptions(modem_full=one.get("modem_full", "0") != "0"),
        )
    except ValueError as error:
        raise UsageError(
            f"an option of the virtual board's URL has a bad value: {error}", reason="bad-url"
        ) from error
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}", reason="bad-url") from error

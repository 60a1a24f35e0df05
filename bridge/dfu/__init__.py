"""Routes into the board's flash, all behind one protocol."""

from bridge.dfu.target import DfuTarget, TransferImage, TransferRestartError
from bridge.dfu.xdfu import XdfuTarget
from bridge.dfu.xdfu_bootloader import XdfuBootloaderTarget
from bridge.dfu.xdfu_modem_full import XdfuModemFullTarget
from bridge.dfu.xdfu_tuning import XdfuTiming

__all__ = [
    "DfuTarget",
    "TransferImage",
    "TransferRestartError",
    "XdfuBootloaderTarget",
    "XdfuModemFullTarget",
    "XdfuTarget",
    "XdfuTiming",
]

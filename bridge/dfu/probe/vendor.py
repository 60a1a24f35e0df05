"""Nordic's pynrfjprog as far as this project uses it, and how it is loaded.

Source: pynrfjprog 10.24.2, ``HighLevel.py`` and ``docs/highlevelnrfjprogdll.h``. Its library can take the process down
with it: listing probes dereferences a null pointer where libusb finds no USB, verifying against an empty digest file
aborts. It therefore runs in a process of its own (:mod:`bridge.dfu.probe.worker`), which alone calls :func:`load`.
"""

import contextlib
import ctypes
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final, Protocol

from bridge.errors import UsageError
from bridge.extras import install_hint, missing_extra

LOGGER_NAME: Final = "pynrfjprog.HighLevel"
"""Where pynrfjprog logs what its library says."""

_SYSTEM_LIBUSB: Final = "libusb-1.0.so.0"


class DeviceInfo(Protocol):
    """What ``get_device_info`` returns; the members are enumerations."""

    device_family: Any
    device_type: Any
    dll_ret_code: int


class VendorProbe(Protocol):
    """An open probe: a debugger, or one of the DFU connections that pynrfjprog also calls probes."""

    def program(self, hex_path: str, program_options: Any = None) -> None:
        """Write a file."""

    def verify(self, hex_path: str) -> None:
        """Compare with a file, in the way that fits the kind of probe."""

    def read(self, address: int, data_len: int = 4) -> int | bytearray:
        """Read memory; exactly four bytes come as a number."""

    def reset(self, reset_action: Any) -> None:
        """Restart the chip."""

    def recover(self) -> None:
        """Erase everything, protection included."""

    def get_device_info(self) -> DeviceInfo:
        """Which chip it is; raises nothing, see ``dll_ret_code``."""

    def close(self) -> None:
        """Let go of the probe."""


class VendorApi(Protocol):
    """The library; there is one in a process, and opening it twice closes it."""

    def open(self) -> None:
        """Prepare it for use."""

    def close(self) -> None:
        """Free it."""

    def find_jlink_path(self) -> str:
        """Where SEGGER's library is; on Linux also a bare name when none was found."""

    def get_connected_probes(self) -> Sequence[int]:
        """Serial numbers of the probes on USB; SEGGER's library is not needed."""


class HighLevel(Protocol):
    """The module ``pynrfjprog.HighLevel``."""

    APIError: type[Exception]
    ProgramOptions: Any
    EraseAction: Any
    ResetAction: Any
    VerifyAction: Any
    CoProcessor: Any

    def API(self) -> VendorApi:  # noqa: N802 - pynrfjprog's name
        """Load the library."""

    def DebugProbe(self, api: VendorApi, snr: int) -> VendorProbe:  # noqa: N802
        """Connect to a debugger."""

    def IPCDFUProbe(self, api: VendorApi, snr: int, coprocessor: Any) -> VendorProbe:  # noqa: N802
        """Connect to the modem's loader through a debugger."""

    def MCUBootDFUProbe(  # noqa: N802
        self, api: VendorApi, serial_port: str, baud_rate: int, timeout: int
    ) -> VendorProbe:
        """Connect to MCUboot's serial recovery; the timeout is in milliseconds."""

    def ModemUARTDFUProbe(  # noqa: N802
        self, api: VendorApi, serial_port: str, baud_rate: int, timeout: int
    ) -> VendorProbe:
        """Connect to the full-modem-update application; the timeout is in milliseconds."""


def load() -> HighLevel:
    """Import pynrfjprog, with a libusb for its library if the system has none.

    Raises:
        UsageError: pynrfjprog is not installed (reason ``missing-extra``), or no libusb can be found
            (``no-libusb``).
    """
    preload_libusb()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls itself deprecated on import
        try:
            from pynrfjprog import HighLevel as module  # noqa: PLC0415, N813
        except ImportError as error:
            raise missing_extra("debug probes need", error, "probe") from error
    loaded: HighLevel = module
    return loaded


def preload_libusb() -> ctypes.CDLL | None:
    """Load libusb so that the library finds it: the system's, else the one of the ``libusb-package`` wheel.

    Once a library of that soname is loaded, the dynamic linker does not look for another.

    Returns:
        The loaded libusb; None where pynrfjprog does not need one (Windows, macOS).

    Raises:
        UsageError: There is none (reason ``no-libusb``).
    """
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError):
        return ctypes.CDLL(_SYSTEM_LIBUSB)
    path = _packaged_libusb()
    with contextlib.suppress(OSError):
        if path is not None:
            return ctypes.CDLL(path)
    raise UsageError(
        "debug probes need libusb-1.0, and the system has none",
        reason="no-libusb",
        hint=f"{install_hint('probe')}, or take the system's package (libusb-1.0-0 on Debian and Ubuntu).",
    )


def has_usb() -> bool:
    """Whether libusb finds a USB system at all; if not, listing probes would crash the library."""
    libusb = preload_libusb()
    if libusb is None:
        return True
    context = ctypes.c_void_p()
    if libusb.libusb_init(ctypes.byref(context)) != 0:
        return False
    libusb.libusb_exit(context)
    return True


def _packaged_libusb() -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses deprecated parts of importlib.resources
        try:
            import libusb_package  # noqa: PLC0415
        except ImportError:
            return None
        path = libusb_package.get_library_path()
    return str(path) if path is not None else None

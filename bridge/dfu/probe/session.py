"""One probe at a time through pynrfjprog: what happens in the process that holds its library.

Source: pynrfjprog 10.24.2 ``HighLevel.py``. Everything here takes and gives plain values, so that it can be called from
another process.
"""

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

from bridge.dfu.probe.failures import translate, unraised
from bridge.dfu.probe.reports import ProbeProgress, VendorLog
from bridge.dfu.probe.vendor import HighLevel, VendorApi, VendorProbe
from bridge.errors import BoardRefusedError, UsageError

_log = logging.getLogger(__name__)

Erase = Literal["sectors", "all"]
ResetKind = Literal["system", "pin"]
_FAMILIES: Final = ("NRF91", "UNKNOWN")
"""Families that may be nRF91; a protected chip does not tell."""


class Session:
    """The library, and at most one open probe.

    Args:
        vendor: pynrfjprog.
        on_progress: Gets what the library reports, and the start of each operation.
        has_usb: Whether there is a USB system to look for probes in.
    """

    def __init__(
        self,
        vendor: HighLevel,
        on_progress: Callable[[ProbeProgress], None],
        has_usb: Callable[[], bool] = lambda: True,
    ) -> None:
        self._vendor = vendor
        self._on_progress = on_progress
        self._has_usb = has_usb
        self._log = VendorLog(on_progress)
        self._api: VendorApi | None = None
        self._probe: VendorProbe | None = None
        self._port: str | None = None

    def connected(self) -> dict[str, Any]:
        """Serial numbers of the probes on USB, and where SEGGER's library is (None if it is missing)."""
        with self._translated():
            api = self._open_library()
            numbers = list(api.get_connected_probes()) if self._has_usb() else []
        return {"serial_numbers": numbers, "jlink_library": self._jlink_library(api)}

    def open_debugger(self, serial_number: int) -> dict[str, Any]:
        """Connect to a chip over SWD.

        Returns:
            Name of the chip's family and of the chip, as far as it tells.
        """
        self._open(lambda api: self._vendor.DebugProbe(api, serial_number))
        try:
            info = self._current.get_device_info()
            family, device = info.device_family.name, info.device_type.name
        except ValueError:  # a chip that is newer than pynrfjprog
            family = device = "UNKNOWN"
        if family not in _FAMILIES:
            self.close_probe()
            raise BoardRefusedError(
                f"probe {serial_number} is connected to an {device}, not to an nRF91",
                reason="wrong-chip",
                hint="Boards with several chips have a switch that connects the debugger to one of them.",
            )
        return {"family": family, "device": device}

    def open_modem(self, serial_number: int) -> None:
        """Connect to the modem over SWD, for full modem firmware."""
        core = self._vendor.CoProcessor.CP_MODEM
        self._open(lambda api: self._vendor.IPCDFUProbe(api, serial_number, core))

    def open_recovery(self, port: str, baud: int, timeout_ms: int) -> None:
        """Connect to MCUboot's serial recovery."""
        self._port = port
        self._open(lambda api: self._vendor.MCUBootDFUProbe(api, port, baud, timeout_ms))

    def open_modem_uart(self, port: str, baud: int, timeout_ms: int) -> None:
        """Connect to the full-modem-update application on a serial port."""
        self._port = port
        self._open(lambda api: self._vendor.ModemUARTDFUProbe(api, port, baud, timeout_ms))

    def program(self, path: str, erase: Erase | None = None) -> None:
        """Write a file, without verifying it and without a reset.

        Args:
            path: The file.
            erase: What to erase first, for flash that is written over SWD.
        """
        vendor, options = self._vendor, None
        if erase is not None:
            action = vendor.EraseAction.ERASE_ALL if erase == "all" else vendor.EraseAction.ERASE_SECTOR
            options = vendor.ProgramOptions(
                verify=vendor.VerifyAction.VERIFY_NONE,
                erase_action=action,
                reset=vendor.ResetAction.RESET_NONE,
            )
        with self._operation("program"):
            self._current.program(path, program_options=options)

    def verify(self, path: str) -> None:
        """Compare flash or modem with a file; raises VerificationError if they differ."""
        with self._operation("verify"):
            self._current.verify(path)

    def read(self, address: int, size_bytes: int) -> str:
        """Read memory, as hex."""
        with self._translated():
            data = self._current.read(address, size_bytes)
        return (data.to_bytes(4, "little") if isinstance(data, int) else bytes(data)).hex()

    def reset(self, kind: ResetKind = "system") -> None:
        """Restart the chip."""
        actions = self._vendor.ResetAction
        with self._operation("reset"):
            self._current.reset(actions.RESET_PIN if kind == "pin" else actions.RESET_SYSTEM)

    def recover(self) -> None:
        """Erase the whole chip, and with it its protection."""
        with self._operation("recover"):
            self._current.recover()

    def close_probe(self) -> None:
        """Let go of the probe; a board on a serial port is told to restart."""
        probe, self._probe, self._port = self._probe, None, None
        if probe is not None:
            with self._translated():
                probe.close()

    def close(self) -> None:
        """Let go of everything; raises nothing, since there is nothing left to do about it."""
        with suppress(Exception):
            self.close_probe()
        api, self._api = self._api, None
        if api is not None:
            with suppress(Exception):
                api.close()
        self._log.close()

    @property
    def _current(self) -> VendorProbe:
        if self._probe is None:
            raise UsageError("no probe is open", reason="not-open")
        return self._probe

    def _open_library(self) -> VendorApi:
        if self._api is None:
            api = self._vendor.API()
            api.open()
            self._api = api
        return self._api

    def _open(self, connect: Callable[[VendorApi], VendorProbe]) -> None:
        with self._translated():
            self._probe = connect(self._open_library())

    @contextmanager
    def _operation(self, name: str) -> Iterator[None]:
        self._on_progress(ProbeProgress(name))
        with self._translated():
            yield
        if self._log.failed:
            raise unraised(self._log.errors)
        self._on_progress(ProbeProgress(name, 100))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._log.clear()
        try:
            yield
        except self._vendor.APIError as error:
            _log.debug("pynrfjprog: %s", error)
            code = int(getattr(error, "err_code", 0))
            name = getattr(getattr(error, "error_enum", None), "name", "an error")
            raise translate(code, name, self._log.errors, port=self._port) from error

    def _jlink_library(self, api: VendorApi) -> str | None:
        try:
            path = api.find_jlink_path()
        except self._vendor.APIError:
            return None
        if Path(path).is_absolute():
            return path
        try:
            ctypes.CDLL(path)  # a bare name: the last resort of pynrfjprog's own search
        except OSError:
            return None
        return path

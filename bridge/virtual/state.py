"""A directory that holds a board between processes: its flash and its modem's memory, one process at a time.

Files: ``flash.bin`` (the whole internal flash), ``modem.json``, ``otp.json`` (what can be written once only), and ``lock``
that names the process which has it.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from bridge.errors import BenchError
from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.otp import Otp

_Value = TypeVar("_Value")
_FLASH: Final = "flash.bin"
_MODEM: Final = "modem.json"
_OTP: Final = "otp.json"
_LOCK: Final = "lock"


class StateDir:
    """An opened state directory.

    Args:
        path: Created when it does not exist.

    Raises:
        BenchError: Another process has it (``state-held``), or it cannot be used (``state-unusable``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BenchError(
                f"state directory {path} cannot be used: {error.strerror}", reason="state-unusable"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock, 100).decode("ascii", "replace").strip() or "an unknown process"
            os.close(self._lock)
            raise BenchError(
                f"state directory {path} is in use by {holder}",
                reason="state-held",
                hint="Stop that board, or give this one another --state directory",
            ) from error
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"process {os.getpid()}\n".encode())

    def load_flash(self) -> bytes | None:
        """The flash as it was left, or None for a fresh board."""
        try:
            return (self.path / _FLASH).read_bytes()
        except FileNotFoundError:
            return None

    def load_modem(self) -> ModemNvm | None:
        """The modem's memory as it was left, or None for a fresh board."""
        return self._load(_MODEM, ModemNvm.from_dict)

    def load_otp(self) -> Otp | None:
        """The OTP as it was left, or None for a fresh board."""
        return self._load(_OTP, Otp.from_dict)

    def _load(self, name: str, decode: Callable[[dict[str, Any]], _Value]) -> _Value | None:
        try:
            text = (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return decode(json.loads(text))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise BenchError(
                f"{self.path / name} is damaged",
                reason="state-unusable",
                hint=f"Remove {self.path} to begin with a fresh board",
            ) from error

    def save(self, flash: bytes, modem: ModemNvm, otp: Otp) -> None:
        """Write the files, each all or nothing."""
        self._replace(_FLASH, flash)
        self._replace(_OTP, json.dumps(otp.to_dict()).encode())
        self._replace(_MODEM, json.dumps(modem.to_dict(), indent=1).encode())

    def _replace(self, name: str, data: bytes) -> None:
        new = self.path / f"{name}.new"
        new.write_bytes(data)
        new.replace(self.path / name)

    def close(self) -> None:
        """Let another process have it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
        os.close(self._lock)

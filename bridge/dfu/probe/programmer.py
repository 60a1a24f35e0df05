"""Writing flash through a debug probe: program, read back, restart."""

import logging
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from bridge.dfu.probe.listing import choose_probe
from bridge.dfu.probe.plan import FlashPlan
from bridge.dfu.probe.process import Engine, OnProgress, ProcessEngine
from bridge.dfu.probe.session import Erase, ResetKind
from bridge.errors import BridgeError, ImageRefusedError, UsageError, VerificationError

_log = logging.getLogger(__name__)

_OPEN_TIMEOUT_S: Final = 60.0
_RESET_TIMEOUT_S: Final = 30.0
_RECOVER_TIMEOUT_S: Final = 120.0
"""Nordic: up to 30 s for a protected chip."""

_PROGRAM_TIMEOUT_S: Final = 300.0
_MODEM_TIMEOUT_S: Final = 600.0
_READ_BYTES: Final = 16 * 1024
_CHIP_NOTE: Final = "The chip is halted and its flash may be half written: program it again."


class ProbeProgrammer:
    """A chip on a debug probe.

    Use :meth:`open`, as a context manager. The chip stands still from then until :meth:`reset`.

    Args:
        serial_number: Number of the probe.
        engine: What talks to pynrfjprog; it is closed with this object.

    Attributes:
        serial_number: Number of the probe.
        device: Name of the chip as the probe tells it, such as ``NRF9160_xxAA_REV2``; ``UNKNOWN`` when protected.
    """

    def __init__(self, serial_number: int, engine: Engine) -> None:
        self.serial_number = serial_number
        self.device = "UNKNOWN"
        self._engine = engine
        self._is_blank = False

    @classmethod
    def open(cls, serial_number: str | int | None = None, *, engine: Engine | None = None) -> Self:
        """Connect to a chip.

        Args:
            serial_number: Number of the probe, with or without leading zeros; None for the only one.
            engine: What talks to pynrfjprog; a process of its own if not given.

        Raises:
            BoardNotFoundError: No such probe, no chip, or no J-Link software (reasons ``no-probe``,
                ``several-boards``, ``probe-missing``, ``no-target``, ``no-jlink-library``).
            BoardRefusedError: The chip is no nRF91 (reason ``wrong-chip``).
            UsageError: pynrfjprog or libusb is missing.
            LinkError: The probe does not answer.
        """
        chosen = engine or ProcessEngine()
        try:
            programmer = cls(choose_probe(serial_number, chosen), chosen)
            programmer.connect()
        except BaseException:
            chosen.close()
            raise
        return programmer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect to the application core; see :meth:`open`."""
        opened = self._engine.call(
            "open_debugger", timeout_s=_OPEN_TIMEOUT_S, serial_number=self.serial_number
        )
        self.device = opened["device"]

    def program(
        self, plan: FlashPlan, *, erase: Erase = "sectors", on_progress: OnProgress | None = None
    ) -> None:
        """Write a file, and read it back. The chip is not restarted.

        Args:
            plan: What to write.
            erase: ``sectors`` erases the flash pages that are written to, ``all`` everything; modem firmware
                only takes ``sectors``, since its loader erases for itself.
            on_progress: Gets its progress.

        Raises:
            ImageRefusedError: It writes configuration registers (reason ``uicr``), and the chip is not erased as
                a whole, by ``all`` or by :meth:`recover`.
            UsageError: Modem firmware, and ``erase`` is not ``sectors``.
            BoardRefusedError: The chip is protected (``protected``), or a write failed.
            VerificationError: The flash does not hold what was written; ``offset`` is the first wrong address.
            LinkError: The connection to probe or chip was lost.
        """
        if plan.is_modem and erase != "sectors":
            raise UsageError(
                "modem firmware replaces nothing but the modem's",
                reason="usage",
                hint="Leave --erase-all out.",
            )
        if plan.has_uicr and erase != "all" and not self._is_blank:
            raise ImageRefusedError(
                f"{plan.name} writes configuration registers (UICR), which only a full erase can clear",
                reason="uicr",
                hint="Give --erase-all or --recover; both erase the whole flash.",
            )
        with tempfile.TemporaryDirectory(prefix="nrf91-bridge-") as folder:
            path = str(plan.write_to(Path(folder)))
            if plan.is_modem:
                self._program_modem(path, on_progress)
                return
            self._is_blank = False
            try:
                self._call("program", _PROGRAM_TIMEOUT_S, on_progress, path=path, erase=erase)
            except BridgeError as error:
                error.hint = error.hint or _CHIP_NOTE
                raise
            self._verify(plan, path, on_progress)

    def verify(self, plan: FlashPlan, *, on_progress: OnProgress | None = None) -> None:
        """Compare the chip with a file, without writing anything.

        For modem firmware the modem's loader has to be started, so the modem stands still until a reset.

        Raises:
            VerificationError: They differ; ``offset`` is the first wrong address.
            BoardRefusedError: The chip is protected.
            LinkError: The connection to probe or chip was lost.
        """
        with tempfile.TemporaryDirectory(prefix="nrf91-bridge-") as folder:
            path = str(plan.write_to(Path(folder)))
            if plan.is_modem:
                self._in_modem(lambda: self._call("verify", _MODEM_TIMEOUT_S, on_progress, path=path))
            else:
                self._verify(plan, path, on_progress)

    def reset(self, kind: ResetKind = "system", *, on_progress: OnProgress | None = None) -> None:
        """Restart the chip, by its system reset or its reset pin."""
        self._call("reset", _RESET_TIMEOUT_S, on_progress, kind=kind)

    def recover(self, *, on_progress: OnProgress | None = None) -> None:
        """Erase everything: bootloader, application, settings, UICR, and with them the protection.

        The modem's firmware stays. The chip does nothing afterwards until it is programmed.

        Raises:
            BoardRefusedError: It did not work (reason ``recover-failed``).
            LinkError: The connection to probe or chip was lost.
        """
        self._call("recover", _RECOVER_TIMEOUT_S, on_progress)
        self._is_blank = True

    def close(self) -> None:
        """Let go of the probe; may be called twice."""
        self._engine.close()

    def _call(self, name: str, timeout_s: float, on_progress: OnProgress | None, **arguments: object) -> None:
        self._engine.call(name, timeout_s=timeout_s, on_progress=on_progress, **arguments)

    def _program_modem(self, path: str, on_progress: OnProgress | None) -> None:
        def write_and_compare() -> None:
            self._call("program", _MODEM_TIMEOUT_S, on_progress, path=path)
            self._call("verify", _MODEM_TIMEOUT_S, on_progress, path=path)

        self._in_modem(write_and_compare)

    def _in_modem(self, work: Callable[[], None]) -> None:
        """Connect to the modem for the time of some work, then to the application core again."""
        self._engine.call("close_probe", timeout_s=_RESET_TIMEOUT_S)
        try:
            self._engine.call("open_modem", timeout_s=_OPEN_TIMEOUT_S, serial_number=self.serial_number)
            work()
        except BridgeError:
            with suppress(BridgeError):  # the first error is the one that matters
                self._back_to_application()
            raise
        self._back_to_application()

    def _back_to_application(self) -> None:
        self._engine.call("close_probe", timeout_s=_RESET_TIMEOUT_S)
        self.connect()

    def _verify(self, plan: FlashPlan, path: str, on_progress: OnProgress | None) -> None:
        try:
            self._call("verify", _PROGRAM_TIMEOUT_S, on_progress, path=path)
        except VerificationError as error:
            address = self._first_difference(plan)
            if address is None:
                raise
            raise VerificationError(
                f"the flash differs from {plan.name}, first at address {address:#x}",
                reason=error.reason,
                offset=address,
                hint=_CHIP_NOTE,
            ) from error

    def _first_difference(self, plan: FlashPlan) -> int | None:
        """Where flash and plan differ first; None if that cannot be told."""
        memory = plan.memory()
        try:
            for segment in plan.segments:
                for start in range(segment.address, segment.address + segment.size_bytes, _READ_BYTES):
                    size = min(_READ_BYTES, segment.address + segment.size_bytes - start)
                    there = bytes.fromhex(
                        self._engine.call("read", timeout_s=_OPEN_TIMEOUT_S, address=start, size_bytes=size)
                    )
                    wanted = memory.tobinstr(start=start, size=size)
                    for index, (found, right) in enumerate(zip(there, wanted, strict=True)):
                        if found != right:
                            return start + index
        except BridgeError as error:
            _log.debug("the difference cannot be found: %s", error)
        return None

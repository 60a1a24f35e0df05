"""Which boards a run may use, and which of them this process has: no two workers ever work on one board.

With pytest-xdist each worker takes one board of the bench for its whole session. With more workers than boards, those that find
none free wait for one when their first test with a board begins; tests without a board go on meanwhile on all of them.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bridge import clock
from bridge.board.ports import choose_port, list_ports, usb_identity
from bridge.errors import BenchError, UsageError
from bridge.fota.bench_file import Bench, BenchBoard, read_bench
from bridge.fota.holder_lock import HolderLock
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.settings import Settings

VIRTUAL: Final = "virtual"
AUTO: Final = "auto"
_POLL_S: Final = 0.2
_TAKEN: Final = "board-taken"
_NO_FLOW_CONTROL: Final = ("thingy91",)


def load_bench(settings: Settings) -> Bench | None:
    """The bench that the settings describe; None for virtual boards.

    Raises:
        UsageError: The bench file makes no sense, or has no such board.
        BoardNotFoundError: ``auto``, and no board is connected, or several.
    """
    port, number, file = settings.text("port"), settings.text("serial-number"), settings.path("bench")
    if port == VIRTUAL:
        return None
    bench = None if file is None else _read(file)
    if number is not None:
        alone = BenchBoard(number, number, port=None if port == AUTO else port)
        boards = [alone if bench is None else bench.board(number)]
    elif port not in (None, AUTO):
        known = (
            [board for board in bench.boards if _same_place(board.port, port)] if bench is not None else []
        )
        boards = known or [BenchBoard(port, "", port=port)]
    elif bench is not None:
        boards = list(bench.boards)
    else:
        boards = [_only_board()]
    model = settings.text("model")
    return Bench(
        bench.name if bench is not None else "command line",
        tuple(_with_model(board, model) for board in boards),
        endpoint=bench.endpoint if bench is not None else None,
        download_ca_file=bench.download_ca_file if bench is not None else None,
        file=file,
    )


def _read(file: Path) -> Bench:
    if file.suffix.lower() in {".yaml", ".yml"}:
        from bridge.pytest_plugin.hardware_map import read_hardware_map  # noqa: PLC0415 - needs PyYAML

        return read_hardware_map(file)
    return read_bench(file)


def _only_board() -> BenchBoard:
    device = choose_port(None)
    found = next(port for port in list_ports() if port.device == device)
    number = found.serial_number or ""
    return BenchBoard(number or device, number, port=None if number else device, model=found.board)


def _with_model(board: BenchBoard, model: str | None) -> BenchBoard:
    from dataclasses import replace  # noqa: PLC0415

    from bridge.pytest_plugin.hardware_map import NORDIC_BOARDS  # noqa: PLC0415

    if model is not None and model not in NORDIC_BOARDS:
        raise UsageError(
            f"there is no board model {model}",
            reason="unknown-model",
            hint=f"Known: {', '.join(NORDIC_BOARDS)}.",
        )
    model = model or board.model
    flow_control = board.flow_control and not (model or "").startswith(_NO_FLOW_CONTROL)
    return replace(board, model=model, flow_control=flow_control)


def _same_place(left: str | None, right: str) -> bool:
    return left is not None and _place(left) == _place(right)


def _place(port: str) -> str:
    """What a port is, whichever of its names it is called by."""
    return port if "://" in port else os.path.realpath(port)


class BoardPool:
    """Takes a board, and keeps others off it.

    Args:
        boards: The boards that may be used.
        worker: Number of this worker; it decides where the search begins.
        owner: Who takes it, for those who come later.
        wait_s: How long to wait while all are taken.
        directory: Where locks are; None for this user's, the same in all processes.

    Attributes:
        taken: The board that this process has.
        missing: Names of boards that were passed over because their ports are not there, while others are.
    """

    def __init__(
        self,
        boards: Sequence[BenchBoard],
        *,
        worker: int = 0,
        owner: str = "pytest",
        wait_s: float = 600.0,
        directory: Path | None = None,
    ) -> None:
        start = worker % len(boards)
        self._boards = (*boards[start:], *boards[:start])
        self._owner = owner
        self._wait_s = wait_s
        self._directory = directory or Path(tempfile.gettempdir()) / f"nrf91-bridge-boards-{os.getuid()}"
        self._locks = ExitStack()
        self.taken: BenchBoard | None = None
        self.missing: tuple[str, ...] = ()

    def take(self) -> BenchBoard:
        """The board of this process; taken with the first call, and kept until :meth:`give_back`.

        Raises:
            BenchError: All boards are taken, and nobody gave one back in time (``board-taken``; a holder is named).
        """
        deadline = clock.monotonic() + self._wait_s
        pause = clock.event()
        while self.taken is None:
            refusal = self._try_each()
            if refusal is None:
                break
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                raise refusal
            pause.wait(min(_POLL_S, left_s))
        assert self.taken is not None
        return self.taken

    def _try_each(self) -> BenchError | None:
        refusal: BenchError | None = None
        there = [board for board in self._boards if not DeviceUnderTest(board).is_gone()]
        self.missing = tuple(board.name for board in self._boards if there and board not in there)
        for board in there or self._boards:
            try:
                self._locks = self._locked(board)
            except BenchError as error:
                if error.reason != _TAKEN:
                    raise
                refusal = refusal or error
            else:
                self.taken = board
                return None
        return refusal

    def _locked(self, board: BenchBoard) -> ExitStack:
        with ExitStack() as locks:
            for name in lock_names(board):
                locks.enter_context(self._lock(board, name))
            return locks.pop_all()

    def _lock(self, board: BenchBoard, name: str) -> HolderLock:
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            return HolderLock(
                self._directory / f"{name}.lock",
                f"the board {board.name}",
                owner=self._owner,
                reason=_TAKEN,
                hint="Start fewer workers than there are boards, or wait longer with --nrf91-wait.",
            )
        except OSError as error:
            raise BenchError(f"cannot lock the board {board.name}: {error}", reason="no-lock") from error

    def give_back(self) -> None:
        """Let others have it."""
        self.taken = None
        self._locks.close()


def lock_names(board: BenchBoard) -> tuple[str, ...]:
    """File names of which one at least is the same for the same board, however it is named: by serial number, port, or link."""
    names = []
    numbers = {board.serial_number}
    if board.port is not None:
        place = _place(board.port)
        usb = usb_identity(place)
        if usb is not None:
            numbers.add(usb.serial_number or "")
        digest = hashlib.sha256(place.encode()).hexdigest()[:8]
        names.append(f"port-{re.sub('[^A-Za-z0-9]+', '-', place)[-40:].strip('-')}-{digest}")
    names += [
        f"usb-{number.lstrip('0') if number.isdigit() else number}" for number in sorted(numbers - {""})
    ]
    if not names:
        raise UsageError(f"the board {board.name} has neither a serial number nor a port", reason="bad-bench")
    return tuple(names)

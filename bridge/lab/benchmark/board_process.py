"""The board of one measurement, in a process of its own: ``python -m bridge.lab.benchmark.board_process CASE``.

Prints one JSON line with its port when it is ready. Its secondary slot holds an older image, as after any earlier update,
so that every page must be erased. When its standard input ends it prints a second line, what became of its slot, and ends.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bridge.errors import UsageError
from bridge.lab.benchmark.case import Case
from bridge.lab.benchmark.routes import route_of
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import BootloaderOptions, RecoveryEntry
from bridge.virtual.clock import Timing
from bridge.virtual.faults import FaultPlan
from bridge.virtual.flash import PAGE_BYTES
from bridge.virtual.layout import layout_of
from bridge.virtual.pty_server import PtyServer
from bridge.virtual.uart_options import Reception

MODEL = "nrf9151dk"
FACTORY_VERSION = "1.0.0"
NEW_RELEASE = "1.1"
_TRIES = 20
_SWITCH_S = 0.0002
"""The board's two threads must not wait for each other as long as Python lets them, which is five milliseconds."""


def largest_image_bytes() -> int:
    """What a slot takes: not the trailer's page, and the page that a swap needs."""
    return layout_of(MODEL).secondary.size - 2 * PAGE_BYTES


def make_image(case: Case, samples: SampleImages) -> bytes:
    """The image of a case, as large as asked for or as fits, a whole number of flash blocks.

    Serial Modem would keep an incomplete last block until the image is scheduled.
    """
    wanted = min(case.size_bytes, largest_image_bytes())
    given = wanted
    for number in range(_TRIES):  # the length of a signature varies with what is signed
        image = samples.application(f"{NEW_RELEASE}.{number}", size_bytes=given).read_bytes()
        if len(image) == wanted:
            return image
        given = given + wanted - len(image) if number == 0 else given
    raise UsageError(f"no image of exactly {wanted} bytes can be made", reason="bad-recipe")


def make_board(case: Case, samples: SampleImages) -> VirtualBoard:
    """A board at real pace for a case."""
    board = VirtualBoard(
        MODEL,
        firmware=route_of(case.route).firmware,
        timing=Timing.REAL,
        factory_image=samples.application(FACTORY_VERSION).read_bytes(),
        keys=[samples.public_key_pem],
        baud=case.baud,
        smp=case.smp,
        bootloader=_bootloader(case),
        uart=case.uart,
        usb_latency_ms=case.usb_latency_ms,
        ideal_flash=case.ideal_flash,
        faults=FaultPlan(seed=91, rx_rates=case.rx_rates, tx_rates=case.tx_rates),
    )
    slot = board.layout.secondary
    board.flash.program(slot.address, b"\x5a" * (slot.size - 2 * PAGE_BYTES))
    return board


def _bootloader(case: Case) -> BootloaderOptions:
    return BootloaderOptions(
        frozenset((RecoveryEntry.BUTTON,)),
        params=not case.long_lines,
        line_bytes=512 if case.long_lines else 128,
        baud=case.baud,
        interrupt_driven=case.uart.reception is Reception.FIFO,
    )


def outcome(case: Case, board: VirtualBoard, image: bytes) -> dict[str, Any]:
    """What the board has to say after a run."""
    layout = board.layout
    address = (layout.primary if case.route == "recovery" else layout.secondary).address
    landed = board.call(lambda: board.flash.read(address, len(image)))
    events = list(board.events)
    return {
        "landed": hashlib.sha256(landed).digest() == hashlib.sha256(image).digest(),
        "lost_bytes": sum(int(str(event.details["count"])) for event in events if event.kind == "bytes-lost"),
        "late_events": board.call(lambda: board.late_events),
        "dropped_messages": sum(event.kind in {"message-dropped", "lines-full"} for event in events),
    }


def main() -> None:
    """Serve until standard input ends."""
    sys.setswitchinterval(_SWITCH_S)
    case = Case.from_dict(json.loads(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-bench-") as directory:
        samples = SampleImages(Path(directory))
        image = make_image(case, samples)
        with make_board(case, samples) as board, PtyServer(board) as pty:
            board.wait_for_event(route_of(case.route).ready_event)
            _say({"port": pty.path})
            sys.stdin.read()
            _say(outcome(case, board, image))


def _say(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

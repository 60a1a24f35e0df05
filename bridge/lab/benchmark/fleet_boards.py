"""The boards of a fleet measurement, in a process of their own: ``python -m bridge.lab.benchmark.fleet_boards SETUP``.

Prints one JSON line with their ports when all of them are ready. When its standard input ends it prints a second line: which
versions they run, and how many events on them came late.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.clock import Timing
from bridge.virtual.mcuboot import running_version
from bridge.virtual.pty_server import PtyServer

OLD_VERSION = "1.0.0"
NEW_VERSION = "2.0.0"


@dataclass(frozen=True)
class BoardsSetup:
    """Which boards.

    Attributes:
        count: How many.
        baud: Their line speed.
        size_bytes: Size of the image that they run at first.
    """

    count: int
    baud: int
    size_bytes: int

    def to_argument(self) -> str:
        """For the process's command line."""
        return json.dumps(asdict(self))


def main() -> None:
    """Serve until standard input ends."""
    setup = BoardsSetup(**json.loads(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-fleet-") as directory, ExitStack() as stack:
        samples = SampleImages(Path(directory))
        factory_image = samples.application(OLD_VERSION, size_bytes=setup.size_bytes).read_bytes()
        boards = [
            stack.enter_context(
                VirtualBoard(
                    timing=Timing.REAL,
                    factory_image=factory_image,
                    keys=[samples.public_key_pem],
                    baud=setup.baud,
                )
            )
            for _ in range(setup.count)
        ]
        ports = [stack.enter_context(PtyServer(board)).path for board in boards]
        for board in boards:
            board.wait_for_event("ready")
        _say({"ports": ports})
        sys.stdin.read()
        _say(
            {
                "versions": [
                    board.call(partial(running_version, board.flash, board.layout)) for board in boards
                ],
                "late_events": sum(board.late_events for board in boards),
            }
        )


def _say(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

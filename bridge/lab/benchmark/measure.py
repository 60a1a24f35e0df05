"""Running cases: for each a fresh board process and one contestant process, one after the other."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge.errors import BenchError
from bridge.lab.benchmark.board_process import make_image
from bridge.lab.benchmark.case import Case
from bridge.lab.benchmark.ceiling import ceiling_of
from bridge.lab.benchmark.routes import route_of
from bridge.lab.sample_images import SampleImages

_PACKAGE: Final = "bridge.lab.benchmark"
_START_TIMEOUT_S: Final = 60.0
_PATIENCE: Final = 20


@dataclass(frozen=True)
class Measurement:
    """One upload by one contestant.

    Attributes:
        case: What was asked.
        contestant: Who did it.
        size_bytes: Size of the image that fitted.
        seconds: How long the upload took.
        cpu_s: Processor time of the contestant's process meanwhile.
        landed: The board's slot holds exactly the image.
        lost_bytes: What the board's UART lost.
        dropped_messages: Requests that found no buffer.
        late_events: What happened on the board more than 5 ms after its time; with more than a few, the machine was busy
            with something else and the figures are worth little.
        error: Why it failed, or None.
    """

    case: Case
    contestant: str
    size_bytes: int
    seconds: float
    cpu_s: float
    landed: bool
    lost_bytes: int = 0
    dropped_messages: int = 0
    late_events: int = 0
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the image arrived whole."""
        return self.error is None and self.landed

    @property
    def rate(self) -> float:
        """Payload bytes per second; 0 when it failed."""
        return self.size_bytes / self.seconds if self.ok else 0.0

    @property
    def cpu_s_per_mb(self) -> float:
        """Processor seconds per 1,000,000 bytes."""
        return self.cpu_s / self.size_bytes * 1e6

    @property
    def cpu_load(self) -> float:
        """Share of a core."""
        return self.cpu_s / self.seconds if self.seconds else 0.0


def run(
    cases: Iterable[Case], contestants: Iterable[str] | None = None, *, repeat: int = 1
) -> Iterator[Measurement]:
    """Measure every contestant in every case.

    Args:
        cases: The cases.
        contestants: Who takes part; None for all who know the route.
        repeat: How often; the fastest counts.

    Raises:
        BenchError: The board does not start.
    """
    wanted = None if contestants is None else set(contestants)
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-bench-") as directory:
        samples = SampleImages(Path(directory))
        for case in cases:
            image = Path(directory) / "image.bin"
            image.write_bytes(make_image(case, samples))
            for name in route_of(case.route).contestants:
                if wanted is None or name in wanted:
                    results = [measure(case, name, image) for _ in range(repeat)]
                    yield max(results, key=lambda result: (result.rate, -result.seconds))


def measure(case: Case, contestant: str, image: Path) -> Measurement:
    """One upload.

    Raises:
        BenchError: The board does not start.
    """
    size_bytes = image.stat().st_size
    limit_s = _START_TIMEOUT_S + _PATIENCE * size_bytes / ceiling_of(case).ceiling
    arguments = json.dumps(case.for_contestant(contestant).to_dict())
    board = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", f"{_PACKAGE}.board_process", arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with board:
        try:
            port = _line(board)["port"]
            result = _contestant(contestant, arguments, port, image, limit_s)
        finally:
            assert board.stdin is not None
            board.stdin.close()
        outcome = _line(board)
    return Measurement(
        case,
        contestant,
        size_bytes,
        float(result["seconds"]),
        float(result["cpu_s"]),
        bool(outcome["landed"]),
        int(outcome["lost_bytes"]),
        int(outcome["dropped_messages"]),
        int(outcome["late_events"]),
        result.get("error"),
    )


def _contestant(name: str, case: str, port: str, image: Path, limit_s: float) -> dict[str, Any]:
    command = [sys.executable, "-m", f"{_PACKAGE}.contestant", name, case, port, str(image)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"seconds": limit_s, "cpu_s": 0.0, "error": f"not ready after {limit_s:.0f} s"}
    lines = done.stdout.splitlines()
    if not lines:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"seconds": 0.0, "cpu_s": 0.0, "error": reason[:200]}
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def _line(board: "subprocess.Popen[str]") -> dict[str, Any]:
    assert board.stdout is not None
    line = board.stdout.readline()
    if not line:
        raise BenchError("the virtual board of a measurement did not start", reason="no-virtual-board")
    values: dict[str, Any] = json.loads(line)
    return values

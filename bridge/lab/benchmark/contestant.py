"""One contestant in a process of its own: ``python -m bridge.lab.benchmark.contestant NAME CASE PORT IMAGE``.

Libraries are loaded and the port is opened before the clock starts; what is measured is the upload from its first request
to the answer after its last byte. Prints one JSON line.
"""

import contextlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge.errors import UsageError
from bridge.lab.benchmark import ours, peers
from bridge.lab.benchmark.case import Case

Upload = Callable[[], None]


@dataclass(frozen=True)
class Assignment:
    """What a contestant is given.

    Attributes:
        case: The case.
        port: Where the board is.
        image_file: What to upload.
    """

    case: Case
    port: str
    image_file: Path

    @property
    def image(self) -> bytes:
        """The bytes to upload."""
        return self.image_file.read_bytes()


CONTESTANTS: Final[dict[str, Callable[[Any], Upload]]] = {
    "bridge": ours.prepare,
    "vendor": peers.prepare_vendor,
    "mcumgr-toolkit": peers.prepare_toolkit,
    "smpclient": peers.prepare_smpclient,
    "smpmgr": peers.prepare_smpmgr,
    "pynrfjprog": peers.prepare_pynrfjprog,
}


def measure(name: str, assignment: Assignment) -> dict[str, float | str]:
    """Let a contestant upload once.

    Returns:
        ``seconds`` and ``cpu_s`` of the upload; with an ``error`` if it failed.
    """
    if name not in CONTESTANTS:
        raise UsageError(f"unknown contestant {name}; known: {', '.join(CONTESTANTS)}", reason="unknown-peer")
    started_s, cpu_before_s = time.monotonic(), _cpu_s()
    error: str | None = None
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            upload = CONTESTANTS[name](assignment)
            started_s, cpu_before_s = time.monotonic(), _cpu_s()
            upload()
        except BaseException as failure:  # noqa: BLE001 - whatever a peer ends with is its result
            error = f"{type(failure).__name__}: {failure}".strip()
    result: dict[str, float | str] = {
        "seconds": time.monotonic() - started_s,
        "cpu_s": _cpu_s() - cpu_before_s,
    }
    if error is not None:
        result["error"] = error.splitlines()[0][:200]
    return result


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure what the command line says."""
    name, case, port, image = sys.argv[1:]
    result = measure(name, Assignment(Case.from_dict(json.loads(case)), port, Path(image)))
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

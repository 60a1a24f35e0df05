"""Real Zephyr and MCUboot, as smpclient's source package brings them for its own tests, on an emulated Cortex-M3.

The emulator loads the flash anew at every reset, so what is uploaded does not survive one; all before it is real.
"""

import json
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = Path(sys.prefix) / "share" / "real-smp-servers"


@dataclass(frozen=True)
class RealServer:
    """A running server.

    Attributes:
        url: Its serial port.
        image: The signed application that runs on it.
    """

    url: str
    image: bytes


@contextmanager
def real_smp_server(config: str) -> Iterator[RealServer]:
    """Run a server of the package's manifest: MCUboot with serial recovery, and Zephyr's ``smp_svr`` application."""
    assert _DIRECTORY.is_dir(), "scripts/test fetches the real SMP servers"
    entries = json.loads((_DIRECTORY / "manifest.json").read_text())
    entry = next(each for each in entries if (each["target"], each["config"]) == ("mps2_an385", config))
    port = _free_port()
    command = shlex.split(entry["qemu_cmd"].replace("<PORT>", str(port)))
    assert shutil.which(command[0]), "scripts/test installs the emulator"
    process = subprocess.Popen(command, cwd=_DIRECTORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        image = (_DIRECTORY / entry["artifact"]).with_suffix(".signed.bin").read_bytes()
        yield RealServer(f"socket://127.0.0.1:{port}", image)
    finally:
        process.kill()
        process.wait()


def other_image(config: str) -> bytes:
    """The application of another build, signed with the same key."""
    return next(_DIRECTORY.glob(f"*mps2_an385_{config}.signed.bin")).read_bytes()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

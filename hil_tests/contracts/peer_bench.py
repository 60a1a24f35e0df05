"""A virtual board on a pty for SMP peers, and imgtool's word on what landed in its flash."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.image import inspect_bytes
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import BootloaderOptions, RecoveryEntry
from bridge.virtual.layout import Slot
from bridge.virtual.pty_server import PtyServer
from bridge.virtual.smp_options import SmpOptions

_IMAGE_BYTES = 24_000
_IMGTOOL = "from imgtool.main import imgtool; imgtool()"
_ENTRIES = frozenset((RecoveryEntry.BUTTON, RecoveryEntry.BOOT_MODE, RecoveryEntry.NO_APPLICATION))
PLAIN = BootloaderOptions(_ENTRIES)
"""Recovery as it comes: uploads go to the primary slot, images cannot be marked."""
RICH = BootloaderOptions(
    _ENTRIES, direct_upload=True, image_state=True, params=True, echo=True, slot_info=True
)
"""Recovery with everything switched on."""
SECONDARY = 2
"""Image number of the secondary slot where direct upload is on."""


class PeerBench:
    """A board and its port.

    Args:
        board: The board, on a pty.
        port: Path of the pty.
        directory: For files.
        samples: Makes images; the board runs version 1.0.0.
    """

    def __init__(self, board: VirtualBoard, port: str, directory: Path, samples: SampleImages) -> None:
        self.board = board
        self.port = port
        self.directory = directory
        self.samples = samples
        self.file = samples.application("1.1.0", size_bytes=_IMAGE_BYTES)
        self.image = self.file.read_bytes()

    @property
    def digest(self) -> str:
        """Image digest of the new image, in hex."""
        info = inspect_bytes(self.image, "image").mcuboot
        assert info is not None
        return info.digest

    def flash(self, slot: Slot) -> bytes:
        """What is in a slot."""
        return self.board.call(lambda: self.board.flash.read(slot.address, slot.size))

    def assert_landed(self, slot: Slot) -> None:
        """The new image is in a slot, byte by byte, and imgtool finds it whole and signed."""
        landed = self.flash(slot)[: len(self.image)]
        assert landed == self.image
        file, key = self.directory / "landed.bin", self.directory / "key.pem"
        file.write_bytes(landed)
        key.write_bytes(self.samples.public_key_pem)
        done = run(sys.executable, "-c", _IMGTOOL, "verify", "-k", str(key), str(file))
        assert done.returncode == 0, done.stdout + done.stderr

    def spoiled_file(self) -> Path:
        """The new image with one bit of its payload flipped: whole to look at, and MCUboot will refuse it."""
        spoiled = bytearray(self.image)
        spoiled[len(spoiled) // 2] ^= 1
        path = self.directory / "spoiled.bin"
        path.write_bytes(spoiled)
        return path

    def versions_started(self) -> list[object]:
        """Versions of the applications that have started."""
        return [event.details["version"] for event in list(self.board.events) if event.kind == "ready"]


@contextmanager
def peer_bench(
    directory: Path,
    *,
    recovery: BootloaderOptions | None = None,
    smp: SmpOptions | None = None,
    **options: Any,
) -> Iterator[PeerBench]:
    """A running board.

    Args:
        directory: For files.
        recovery: The board is in MCUboot's serial recovery, in this build; else its application runs.
        smp: The build of the application's SMP server.
        options: Of the board.
    """
    samples = SampleImages(directory / "images")
    board = VirtualBoard(
        firmware="smp",
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
        bootloader=recovery or PLAIN,
        button_held=recovery is not None,
        smp=smp,
        **options,
    )
    with board, PtyServer(board) as pty:
        board.wait_for_event("ready" if recovery is None else "recovery")
        yield PeerBench(board, pty.path, directory, samples)


def run(*command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

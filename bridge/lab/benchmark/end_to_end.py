"""Download and flash together against each alone: how much of the shorter one hides behind the longer one."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bridge.board import Board
from bridge.dfu import TransferImage, XdfuTarget
from bridge.dfu.transfer import transfer
from bridge.fetch import Download
from bridge.image import FileSource, ImageKind, ImageSource
from bridge.lab.image_faults import ImageFault
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.clock import Timing
from bridge.virtual.pty_server import PtyServer

PACES: Final = (2.0, 1.0, 0.5)
"""Rate of the server, in rates of the flash."""
_BAUD: Final = 1_000_000


@dataclass(frozen=True)
class EndToEnd:
    """One pace.

    Attributes:
        pace: Rate of the server, in rates of the flash.
        flash_s: Time of the transfer alone, from a local file.
        download_s: Time of the download alone.
        both_s: Time of both together.
    """

    pace: float
    flash_s: float
    download_s: float
    both_s: float

    @property
    def ratio(self) -> float:
        """Of both together to the slower one alone."""
        return self.both_s / max(self.flash_s, self.download_s)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "ratio": round(self.ratio, 4)}


def run_end_to_end(size_bytes: int) -> Iterator[EndToEnd]:
    """Measure every pace, by ``#XDFU`` at 1 Mbaud onto a board with real flash.

    Args:
        size_bytes: Size of the image.
    """
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-bench-") as name, LocalCloud() as cloud:
        directory = Path(name)
        samples = SampleImages(directory)
        image = samples.application("2.0.0", size_bytes=size_bytes)
        flash_s = _flash(samples, FileSource(image))
        for pace in PACES:
            rate = int(pace * image.stat().st_size / flash_s)
            url = cloud.publish_image(image)
            cloud.images.faults.add(image.name, ImageFault(rate_bytes_per_s=rate, times=None))
            download_s = _download(_source(cloud, url, directory / f"alone-{pace}"))
            both_s = _flash(samples, _source(cloud, url, directory / f"both-{pace}"))
            cloud.images.faults.clear()
            yield EndToEnd(pace, flash_s, download_s, both_s)


def _source(cloud: LocalCloud, url: str, cache: Path) -> Download:
    return Download(url, cache_dir=cache, ca_file=cloud.ca_file)


def _download(source: Download) -> float:
    began_s = time.monotonic()
    source.start()
    try:
        source.wait_complete()
    finally:
        source.close()
    return time.monotonic() - began_s


def _flash(samples: SampleImages, source: ImageSource) -> float:
    board = VirtualBoard(
        timing=Timing.REAL,
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
        baud=_BAUD,
    )
    with board, PtyServer(board) as pty:
        board.wait_for_event("ready")
        with Board.open(pty.path, baud=_BAUD) as opened:
            target = XdfuTarget(opened)
            began_s = time.monotonic()
            if isinstance(source, Download):
                source.start()
            try:
                described = TransferImage(ImageKind.APPLICATION, source.wait_size())
                for _ in transfer(target, source, described):
                    pass
                source.wait_complete()
            finally:
                source.close()
            return time.monotonic() - began_s

"""The image of a job that is to be created: read from a file or from its URL, and judged before anybody is told of it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.image import FirmwareImage, ImageSource

_EVERYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class JobImage:
    """An image that boards can take.

    Attributes:
        image: What it is.
        file: Where it is here; None if only its URL was given.
    """

    image: "FirmwareImage"
    file: Path | None


def read_job_image(
    file: Path | None,
    url: str | None,
    *,
    download_ca: Path | None,
    board: str | None,
    image_index: int,
    slot_size: int | None,
    keys: list[Path] | None,
) -> JobImage:
    """Read and judge the image of a job.

    Raises:
        ImageRefusedError: No board could take it.
        UsageError: There is neither a file nor a URL.
        CloudError: The URL cannot be read.
    """
    from bridge.fota.any_board import inspect_for_any_board  # noqa: PLC0415

    with _source(file, url, download_ca) as source:
        image = inspect_for_any_board(
            source,
            board=board,
            image_index=image_index,
            slot_size_bytes=slot_size,
            public_keys_pem=tuple(_read(key) for key in keys or ()),
        )
    return JobImage(image, file)


@contextmanager
def _source(file: Path | None, url: str | None, ca_file: Path | None) -> "Iterator[ImageSource]":
    from bridge.cli.download_options import make_host_rules  # noqa: PLC0415
    from bridge.fetch import Download  # noqa: PLC0415
    from bridge.image import FileSource  # noqa: PLC0415

    if file is not None:
        yield FileSource(file)
    elif url is not None:
        # The operator's own word: any host will do here. What boards' hosts allow is theirs to decide.
        rules = make_host_rules(None, _EVERYWHERE, http=True)
        with (
            tempfile.TemporaryDirectory(prefix="nrf91-bridge-job-") as cache,
            Download(url, cache_dir=Path(cache), ca_file=ca_file, rules=rules) as download,
        ):
            yield download
    else:
        raise UsageError("give --image FILE or --url URL")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", reason="unreadable") from error

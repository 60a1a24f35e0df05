"""One download for many boards: who shares it, when it ends, and what a failure does to others."""

from collections.abc import Callable, Mapping

import pytest

from bridge.cloud import JobDocument
from bridge.errors import CloudError
from bridge.fetch import SourceRestartedError
from bridge.fota.shared_downloads import SharedDownloads
from bridge.image import BytesSource, ImageSource
from bridge.image.source import InterruptibleSource

DIGEST = "ab" * 32


class Source(BytesSource):
    """A download that remembers whether it was closed."""

    def __init__(self, fresh_url: Callable[[], str]) -> None:
        super().__init__(b"image", "image.bin")
        self.fresh_url = fresh_url
        self.closed = self.interrupted = 0
        self.failure: CloudError | None = None

    def read(self, offset: int, size: int) -> bytes:
        if self.failure is not None:
            raise self.failure
        return super().read(offset, size)

    def interrupt(self) -> None:
        self.interrupted += 1

    def close(self) -> None:
        self.closed += 1


class Origin:
    """Starts downloads, and keeps them for a look."""

    def __init__(self) -> None:
        self.started: list[Source] = []
        self.downloads = SharedDownloads(self.start)

    def start(self, document: JobDocument, fresh_url: Callable[[], str]) -> ImageSource:
        self.started.append(Source(fresh_url))
        return self.started[-1]

    def open(self, members: Mapping[str, object] | None = None, *, fresh_url: str = "") -> ImageSource:
        document = JobDocument.model_validate({"url": "https://host/image.bin?sig=1", **(members or {})})

        def fresh() -> str:
            if not fresh_url:
                raise CloudError("the job is gone")
            return fresh_url

        return self.downloads(document, fresh)


@pytest.mark.parametrize(
    "members",
    [
        {"sha256": DIGEST, "url": "https://elsewhere/copy.bin"},
        {"size_bytes": 5, "fw_version": "2", "url": "https://host/image.bin?sig=2"},
    ],
)
def test_documents_that_mean_the_same_share_a_download(members: dict[str, object]) -> None:
    origin = Origin()
    first = origin.open({**members, "url": "https://host/image.bin?sig=1"})
    second = origin.open(members)

    assert len(origin.started) == 1
    assert first.read(0, 9) == second.read(0, 9) == b"image"
    first.close()
    first.close()
    assert origin.started[0].closed == 0
    assert second.wait_size() == 5
    second.close()
    assert origin.started[0].closed == 1
    with pytest.raises(CloudError):
        second.read(0, 1)


@pytest.mark.parametrize(
    "members",
    [
        {"sha256": DIGEST},
        {"size_bytes": 6},
        {"fw_version": "3"},
        {"url": "https://host/other.bin"},
    ],
)
def test_documents_that_mean_something_else_do_not(members: dict[str, object]) -> None:
    origin = Origin()
    origin.open()
    origin.open(members)

    assert len(origin.started) == 2


def test_fresh_url_comes_from_any_reader_whose_job_still_is() -> None:
    origin = Origin()
    gone = origin.open()
    origin.open(fresh_url="https://host/image.bin?sig=new")

    assert origin.started[0].fresh_url() == "https://host/image.bin?sig=new"
    gone.close()
    assert origin.started[0].fresh_url() == "https://host/image.bin?sig=new"


def test_nobody_joins_a_download_that_failed() -> None:
    origin = Origin()
    first = origin.open()
    origin.started[0].failure = CloudError("gone")
    with pytest.raises(CloudError, match="gone"):
        first.read(0, 1)

    second = origin.open()
    assert len(origin.started) == 2
    assert second.read(0, 5) == b"image"
    first.close()
    assert [source.closed for source in origin.started] == [1, 0]


def test_download_that_starts_anew_is_no_failure() -> None:
    origin = Origin()
    first = origin.open()
    origin.started[0].failure = SourceRestartedError("changed")
    with pytest.raises(SourceRestartedError):
        first.read(0, 1)

    origin.open()
    assert len(origin.started) == 1


def test_a_download_is_interrupted_when_nobody_wants_to_wait_any_more() -> None:
    origin = Origin()
    first, second, third = (origin.open() for _ in range(3))
    for reader in (first, second):
        assert isinstance(reader, InterruptibleSource)
        reader.interrupt()
    assert origin.started[0].interrupted == 0
    third.close()
    assert isinstance(first, InterruptibleSource)
    first.interrupt()
    assert origin.started[0].interrupted == 1
    late = origin.open()
    assert len(origin.started) == 2, "who comes now must not be given what was interrupted"
    late.close()
    first.close()
    second.close()
    assert origin.started[0].closed == 1

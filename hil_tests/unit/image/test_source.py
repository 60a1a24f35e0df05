"""Local image sources keep the contract of a download."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import UsageError
from bridge.image import BytesSource, FileSource, ImageSource

DATA = bytes(range(256)) * 3


@pytest.fixture(params=["bytes", "file"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ImageSource]:
    path = tmp_path / "image.bin"
    path.write_bytes(DATA)
    make: dict[str, Callable[[], ImageSource]] = {
        "bytes": lambda: BytesSource(DATA, "https://host/image.bin?token=secret"),
        "file": lambda: FileSource(path),
    }
    with closing(make[str(request.param)]()) as opened:
        yield opened


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, 1000), size=st.integers(0, 1000))
def test_given_any_range_then_the_bytes_there_are_read(source: ImageSource, offset: int, size: int) -> None:
    assert source.read(offset, size) == DATA[offset : offset + size]


def test_given_a_local_source_then_size_name_and_completeness_are_known_at_once(source: ImageSource) -> None:
    assert source.wait_size() == len(DATA)
    assert source.name == "image.bin"
    source.wait_complete()
    source.close()
    source.close()


def test_given_a_file_that_grows_then_the_source_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(DATA)
    source = FileSource(path)
    path.write_bytes(DATA * 2)
    assert source.read(0, 10_000) == DATA
    source.close()


def test_given_a_missing_file_then_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        FileSource(tmp_path / "missing.bin")
    assert refused.value.reason == "unreadable"


def test_given_a_file_that_cannot_be_read_then_it_is_refused(tmp_path: Path) -> None:
    if not Path("/proc/self/mem").exists():
        return  # only Linux has a file that opens and does not read
    source = FileSource(Path("/proc/self/mem"))
    source._size_bytes = 1
    with pytest.raises(UsageError):
        source.read(0, 1)
    source.close()

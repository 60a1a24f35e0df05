"""Whatever goes wrong in whatever order: the right bytes, or an honest error, and never a mixture."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import CloudError
from bridge.fetch import THIS_HOST, Download, DownloadOptions, SourceRestartedError
from hil_tests.unit.fetch.conftest import FakeClock
from hil_tests.unit.fetch.origin import Origin, Request, Script, altered, chunked, cut, status, whole

FIRST = bytes(index % 251 for index in range(5_000))
SECOND = FIRST[:2_500] + b"!" + FIRST[2_501:]  # the same size, and the same first half
SHORTER = FIRST[:3_300]


def becomes(content: bytes) -> Script:
    def script(origin: Origin, request: Request) -> object:
        origin.content = content
        return origin.honest(request)

    return script  # type: ignore[return-value]


def unconditional(origin: Origin, request: Request) -> object:
    """As aiohttp, moto and starlette do it: preconditions are ignored, ranges are not."""
    headers = {name: value for name, value in request.headers.items() if not name.startswith("if-")}
    return origin.honest(Request(request.target, headers))


FAULTS: list[Script] = [
    Origin.honest,
    cut(0),
    cut(700),
    cut(700, "reset"),
    whole(),
    whole(ETag=None),
    chunked(),
    chunked(end=False),
    chunked(end=False, etag=False),
    lambda origin, request: cut(1_700)(origin, Request(request.target, {})),
    altered(ETag=None),
    altered(Content_Range=None),
    altered(Content_Range="bytes 1-1000/5000"),
    altered(Content_Range="bytes 0-999/5001"),
    status(416),
    status(416, Content_Range="bytes */5000"),
    status(412),
    status(503),
    status(403),
    unconditional,  # type: ignore[list-item]
]
CHANGES = [becomes(SECOND), becomes(SHORTER), becomes(FIRST)]


@given(
    scripts=st.lists(st.sampled_from(FAULTS + CHANGES), max_size=12),
    known_digest=st.booleans(),
    reads=st.lists(st.integers(0, 5_000), max_size=4),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_readers_get_one_version_or_an_error(
    scripts: list[Script], known_digest: bool, reads: list[int]
) -> None:
    with Origin(FIRST) as origin, tempfile.TemporaryDirectory() as directory:
        origin.script(*scripts)
        final = next((content for script, content in reversed(_changes(scripts))), FIRST)
        download = Download(
            origin.url(),
            cache_dir=Path(directory),
            expected_sha256=hashlib.sha256(final).hexdigest() if known_digest else None,
            refresh_url=origin.url,
            rules=THIS_HOST,
            options=DownloadOptions(fragment_bytes=1_000, retries=20, progress_bytes=100),
            clock=FakeClock(),
        )
        with download:
            seen = _read_all(download, reads)
        if seen is not None:
            assert seen in {FIRST, SECOND, SHORTER}
            assert not known_digest or seen == final
        served = Path(directory).glob("*.image")
        assert all(path.read_bytes() in {FIRST, SECOND, SHORTER} for path in served)


def _changes(scripts: list[Script]) -> list[tuple[Script, bytes]]:
    contents = dict(zip(CHANGES, (SECOND, SHORTER, FIRST), strict=True))
    return [(script, contents[script]) for script in scripts if script in contents]


def _read_all(download: Download, reads: list[int]) -> bytes | None:
    """Collect the image piece by piece, from the start again when told so; None if the download fails."""
    for _ in range(20):
        got = bytearray()
        try:
            for size in (*reads, 5_000, 5_000):
                got += download.read(len(got), size)
            download.wait_complete()
            got += download.read(len(got), 5_000)
        except SourceRestartedError:
            continue
        except CloudError:
            return None
        return bytes(got)
    pytest.fail("the source restarts for ever")

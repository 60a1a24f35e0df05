"""Downloads that go well, and those that must go on."""

import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge.errors import BenchError, CloudError, ImageRefusedError, UsageError
from bridge.fetch import Download, DownloadOptions, SourceRestartedError
from bridge.fetch.part_file import PartFile
from hil_tests.unit.fetch.conftest import CONTENT, FakeClock, Fetch, everything
from hil_tests.unit.fetch.origin import (
    Origin,
    Reply,
    Request,
    Script,
    altered,
    becomes,
    chunked,
    cut,
    status,
    whole,
)

SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[:50_000] + b"other" + CONTENT[50_005:]


def ranges(origin: Origin) -> list[tuple[int, int] | None]:
    return [request.range for request in origin.requests]


def reason_of(download: Download) -> str:
    with pytest.raises((CloudError, ImageRefusedError)) as caught:
        download.wait_complete()
    return str(caught.value.reason)


def test_fragments_on_one_kept_connection_make_the_image(origin: Origin, fetch: Fetch) -> None:
    download = fetch()
    assert everything(download) == CONTENT
    assert ranges(origin) == [(0, 32767), (32768, 65535), (65536, 98303), (98304, 131071)]
    assert origin.connections == 1
    assert (
        download.progress.received_bytes == download.progress.total_bytes == download.wait_size() == 100_000
    )
    assert download.progress.retries == 0


def test_requests_say_what_they_must_and_no_more(origin: Origin, fetch: Fetch) -> None:
    everything(fetch(origin.url(query="?X-Amz-Signature=abc%2Fd")))
    for request in origin.requests:
        assert request.target == "/app.bin?X-Amz-Signature=abc%2Fd"
        assert request.headers["host"] == origin.host  # with its port
        assert request.headers["accept-encoding"] == "identity"
        assert not request.headers.keys() & {"referer", "cookie", "authorization"}
    assert "if-match" not in origin.requests[0].headers
    assert {request.headers["if-match"] for request in origin.requests[1:]} == {origin.etag}


def test_a_presigned_url_of_any_length_works(origin: Origin, fetch: Fetch) -> None:
    query = "?X-Amz-Security-Token=" + "a" * 8000
    assert everything(fetch(origin.url(query=query))) == CONTENT
    assert origin.requests[0].target.endswith(query)


def test_name_is_the_last_part_of_the_path(origin: Origin, fetch: Fetch) -> None:
    assert fetch(origin.url("/a/my%20app.bin", "?x=/y")).name == "my app.bin"


def test_readers_get_bytes_while_the_rest_is_missing(origin: Origin, fetch: Fetch) -> None:
    origin.script(cut(20_000, "stall"))
    download = fetch()
    assert download.read(5, 100) == CONTENT[5:105]
    assert download.wait_size() == 100_000


def test_reads_end_where_the_image_ends(fetch: Fetch) -> None:
    download = fetch()
    assert download.read(99_990, 100) == CONTENT[99_990:]
    assert download.read(100_000, 10) == b""
    assert download.read(200_000, 10) == b""
    assert download.read(0, 0) == b""


def test_many_readers_at_once(fetch: Fetch) -> None:
    download, found = fetch(), dict[int, bytes]()

    def read(index: int) -> None:
        found[index] = b"".join(download.read(at, 1000) for at in range(index * 1000, 100_000, 4000))

    threads = [threading.Thread(target=read, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        assert found[index] == b"".join(CONTENT[at : at + 1000] for at in range(index * 1000, 100_000, 4000))


@pytest.mark.parametrize("content", [b"", b"x"])
def test_tiny_images(origin: Origin, fetch: Fetch, content: bytes) -> None:
    origin.content = content
    download = fetch()
    assert everything(download) == content
    assert download.wait_size() == len(content)


# Servers without ranges.


@pytest.mark.parametrize("answer", [whole(), whole(ETag=None), chunked(), chunked(etag=False)])
def test_a_plain_200_is_accepted(origin: Origin, fetch: Fetch, answer: Script) -> None:
    origin.always = answer
    download = fetch()
    assert everything(download) == CONTENT
    assert len(origin.requests) == 1
    assert download.wait_size() == 100_000


@pytest.mark.parametrize("etag", [True, False])
def test_a_200_to_a_resumed_range_starts_at_0_and_goes_on(
    origin: Origin, fetch: Fetch, *, etag: bool
) -> None:
    headers = {} if etag else {"ETag": None}
    origin.script(lambda o, r: cut(60_000)(o, Request(r.target, {})).changed(**headers), whole(**headers))
    download = fetch()
    first = download.read(0, 60_000)
    assert first + download.read(60_000, 40_000) == CONTENT
    download.wait_complete()
    assert download.generation == 0


def test_the_end_of_chunks_must_be_seen(origin: Origin, fetch: Fetch) -> None:
    origin.script(chunked(end=False), chunked())
    download = fetch()
    assert everything(download) == CONTENT
    assert download.progress.retries == 1


def test_a_body_that_only_the_connection_ends_needs_a_size_or_digest(
    origin: Origin, fetch: Fetch, tmp_path: Path
) -> None:
    def endless(origin: Origin, _request: Request) -> Reply:
        return Reply(200, {"Content-Length": "none"}, origin.content, "close")

    origin.always = endless
    assert reason_of(fetch()) == "no-length"
    assert everything(fetch(expected_size=100_000)) == CONTENT
    assert everything(fetch(expected_sha256=SHA256, cache_dir=tmp_path / "other")) == CONTENT


def test_without_an_etag_ranges_are_not_put_together(origin: Origin, fetch: Fetch) -> None:
    origin.script(altered(ETag=None), whole(ETag=None))
    assert everything(fetch()) == CONTENT
    assert ranges(origin) == [(0, 32767), None]


def test_without_an_etag_a_digest_makes_ranges_safe(origin: Origin, fetch: Fetch) -> None:
    origin.always = altered(ETag=None)
    assert everything(fetch(expected_sha256=SHA256)) == CONTENT
    assert len(origin.requests) == 4
    assert not any("if-match" in request.headers for request in origin.requests)


@pytest.mark.parametrize(
    "lie",
    [
        altered(Content_Range=None),
        altered(Content_Range="bytes 5-32772/100000"),
        altered(Content_Range="bytes 0-32767/*"),
        altered(Content_Range="bytes 0-99/100000"),
        status(416, Content_Range="bytes */100000"),
        status(416),
    ],
)
def test_ranges_that_cannot_be_believed_make_us_ask_for_the_whole(
    origin: Origin, fetch: Fetch, lie: Script
) -> None:
    origin.script(lie)
    assert everything(fetch()) == CONTENT
    assert ranges(origin) == [(0, 32767), None]


def test_a_server_that_makes_no_sense_at_all_is_given_up(origin: Origin, fetch: Fetch) -> None:
    origin.always = lambda o, r: Reply(206, {"Content-Range": "bytes 7-8/9"}, b"xx")
    assert reason_of(fetch()) == "bad-range"


def test_chunks_of_a_file_that_became_shorter(origin: Origin, fetch: Fetch) -> None:
    origin.script(chunked(end=False, etag=False))
    origin.always = becomes(CONTENT[:70_000], chunked(etag=False))
    assert everything(fetch()) == CONTENT[:70_000]


# What is resumed rather than failed.


@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_broken_body_goes_on_where_it_broke(origin: Origin, fetch: Fetch, then: str) -> None:
    origin.script(cut(10_000, then))
    download = fetch()
    assert everything(download) == CONTENT
    again = origin.requests[1]
    assert again.range is not None
    # After a reset the kernel may drop what was not read yet.
    assert again.range[0] == 10_000 or (then == "reset" and again.range[0] <= 10_000)
    assert download.progress.retries == 1


def test_a_stall_is_ended_by_the_read_timeout_and_resumed(origin: Origin, fetch: Fetch) -> None:
    origin.script(cut(10_000, "stall"))
    options = DownloadOptions(fragment_bytes=32_768, read_timeout_s=0.1)
    assert everything(fetch(options=options)) == CONTENT
    assert ranges(origin)[1] == (10_000, 42_767)


def test_a_server_that_drips_counts_as_stalled(origin: Origin, fetch: Fetch, clock: FakeClock) -> None:
    clock.now_s = lambda: _ticking(clock)  # type: ignore[method-assign]
    origin.script(cut(100, "close"))
    options = DownloadOptions(fragment_bytes=32_768, drip_window_s=0.5, progress_bytes=1000)
    download = fetch(options=options)
    assert everything(download) == CONTENT
    assert download.progress.retries == 1


def _ticking(clock: FakeClock) -> float:
    clock.time_s += 1.0
    return clock.time_s


def test_progress_refills_the_retry_budget(origin: Origin, fetch: Fetch, clock: FakeClock) -> None:
    origin.script(*[cut(5_000)] * 15)
    download = fetch(options=DownloadOptions(fragment_bytes=32_768, retries=2))
    assert everything(download) == CONTENT
    assert download.progress.retries == 15
    assert max(clock.waits) <= 0.5  # each pause is a first one


def test_without_progress_the_budget_ends(origin: Origin, fetch: Fetch, clock: FakeClock) -> None:
    origin.always = cut(0)
    assert reason_of(fetch(options=DownloadOptions(retries=3))) == "truncated"
    assert len(origin.requests) == 4
    assert len(clock.waits) == 3
    assert all(0.25 * 2**at <= wait <= 0.5 * 2**at for at, wait in enumerate(clock.waits))


def test_too_little_progress_is_none(origin: Origin, fetch: Fetch) -> None:
    origin.always = cut(1)
    assert reason_of(fetch(options=DownloadOptions(retries=3))) == "truncated"
    assert len(origin.requests) == 4


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_an_overloaded_server_is_asked_again(
    origin: Origin, fetch: Fetch, clock: FakeClock, code: int
) -> None:
    origin.script(status(code, Retry_After="17"))
    assert everything(fetch()) == CONTENT
    assert clock.waits == [17.0]


def test_a_very_long_retry_after_is_cut(origin: Origin, fetch: Fetch, clock: FakeClock) -> None:
    origin.script(status(503, Retry_After="86400"))
    assert everything(fetch()) == CONTENT
    assert clock.waits == [300.0]


def test_a_retry_after_beyond_the_deadline_ends_it_at_once(
    origin: Origin, fetch: Fetch, clock: FakeClock
) -> None:
    origin.script(status(503, Retry_After="120"))
    assert reason_of(fetch(options=DownloadOptions(total_timeout_s=100.0))) == "http-503"
    assert clock.waits == []


def test_the_deadline_ends_a_download_that_goes_well_but_slowly(
    origin: Origin, fetch: Fetch, clock: FakeClock
) -> None:
    def slow(origin: Origin, request: Request) -> Reply:
        clock.time_s += 40.0
        return origin.honest(request)

    origin.always = slow
    options = DownloadOptions(fragment_bytes=32_768, total_timeout_s=100.0)
    assert reason_of(fetch(options=options)) == "timeout"


def test_nobody_listening_is_tried_again_and_then_given_up(fetch: Fetch, clock: FakeClock) -> None:
    with Origin(b"") as gone:
        url = gone.url()
    assert reason_of(fetch(url, options=DownloadOptions(retries=2))) == "unreachable"
    assert len(clock.waits) == 2


# What is final.


@pytest.mark.parametrize(
    ("code", "reason"), [(404, "http-404"), (410, "http-410"), (403, "http-403"), (401, "http-401")]
)
def test_refusals_are_final(origin: Origin, fetch: Fetch, code: int, reason: str) -> None:
    origin.always = status(code)
    assert reason_of(fetch()) == reason
    assert len(origin.requests) == 1


def test_a_wrong_size_is_noticed_before_any_byte_is_given_out(origin: Origin, fetch: Fetch) -> None:
    with pytest.raises(CloudError) as caught:
        fetch(expected_size=99_999).read(0, 1)
    assert caught.value.reason == "wrong-size"
    assert len(origin.requests) == 1


@pytest.mark.parametrize("size", [99_999, 100_001])
def test_chunks_of_a_wrong_size(origin: Origin, fetch: Fetch, size: int) -> None:
    origin.always = chunked()
    assert reason_of(fetch(expected_size=size)) == "wrong-size"


def test_a_size_that_is_too_large_as_ordered_costs_no_request(origin: Origin, fetch: Fetch) -> None:
    options = DownloadOptions(max_size_bytes=50_000)
    assert reason_of(fetch(expected_size=50_001, options=options)) == "too-large"
    assert origin.requests == []


def test_endless_chunks_end(origin: Origin, fetch: Fetch) -> None:
    origin.always = chunked()
    assert reason_of(fetch(options=DownloadOptions(max_size_bytes=50_000))) == "too-large"


def test_a_wrong_digest(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    download = fetch(expected_sha256="0" * 64, options=DownloadOptions())
    assert reason_of(download) == "wrong-sha256"
    with pytest.raises(CloudError):
        download.read(0, 1)
    download.close()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wrong_digest_of_ranges_is_checked_once_more_in_one_piece(origin: Origin, fetch: Fetch) -> None:
    assert reason_of(fetch(expected_sha256="0" * 64)) == "wrong-sha256"
    assert ranges(origin)[-1] is None
    assert len(origin.requests) == 5


def test_no_reader_sees_an_image_with_a_wrong_digest_as_an_empty_file(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    readers: list[threading.Thread] = []
    truncate = PartFile.truncate

    def look() -> None:
        try:
            seen.append(download.read(0, 100))
        except CloudError as error:
            seen.append(error.reason)

    def truncate_and_let_read(part: PartFile, size_bytes: int) -> None:
        truncate(part, size_bytes)
        if threading.current_thread() is not threading.main_thread() and download.progress.received_bytes:
            readers.append(threading.Thread(target=look))
            readers[-1].start()
            readers[-1].join(0.3)  # long enough for whoever need not wait for us

    monkeypatch.setattr(PartFile, "truncate", truncate_and_let_read)
    download = fetch(expected_sha256="0" * 64, options=DownloadOptions())
    assert reason_of(download) == "wrong-sha256"
    for reader in readers:
        reader.join()
    assert seen == ["wrong-sha256"]


def test_content_encoding_is_refused(origin: Origin, fetch: Fetch) -> None:
    origin.always = altered(Content_Encoding="gzip")
    assert reason_of(fetch()) == "content-encoding"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "/etc/passwd",
        "http://",
        "http://127.0.0.1:99999/x",
        "http://[::1/x",
        "http://127.0.0.1:0/",
    ],
)
def test_what_is_no_web_address(fetch: Fetch, url: str) -> None:
    assert reason_of(fetch(url)) == "bad-url"


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "0" * 63, "g" * 64, "0" * 65])
def test_what_is_no_digest(origin: Origin, fetch: Fetch, sha256: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(expected_sha256=sha256).wait_complete()
    assert caught.value.reason == "bad-sha256"
    assert origin.requests == []


def test_the_error_stays(origin: Origin, fetch: Fetch) -> None:
    origin.always = status(404)
    download = fetch()
    for method in (download.wait_size, download.wait_complete, lambda: download.read(0, 1)):
        with pytest.raises(CloudError, match="HTTP 404"):
            method()


def test_a_bug_does_not_leave_readers_waiting(origin: Origin, fetch: Fetch) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    origin.always = status(403)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        fetch(refresh_url=broken).wait_complete()


# Fresh URLs.


def test_a_denied_url_is_replaced_and_the_download_goes_on(origin: Origin, fetch: Fetch) -> None:
    origin.script(Origin.honest, status(403))
    download = fetch(origin.url(query="?s=1"), refresh_url=lambda: origin.url(query="?s=2"))
    assert everything(download) == CONTENT
    assert [request.target[-1] for request in origin.requests] == ["1", "1", "2", "2", "2"]
    assert origin.requests[2].range == origin.requests[1].range


def test_fresh_urls_that_are_denied_too_end_it(origin: Origin, fetch: Fetch) -> None:
    origin.always = status(403)
    fresh = iter(range(10))
    assert reason_of(fetch(refresh_url=lambda: origin.url(query=f"?{next(fresh)}"))) == "http-403"
    assert len(origin.requests) == 3


def test_urls_may_expire_again_and_again_while_there_is_progress(origin: Origin, fetch: Fetch) -> None:
    origin.script(
        status(403), Origin.honest, status(403), status(403), Origin.honest, status(400), Origin.honest
    )
    assert everything(fetch(refresh_url=origin.url)) == CONTENT


def test_what_the_refresh_raises_ends_it(origin: Origin, fetch: Fetch) -> None:
    def gone() -> str:
        raise CloudError("the job was cancelled", reason="job-gone")

    origin.always = status(403)
    assert reason_of(fetch(refresh_url=gone)) == "job-gone"


# Files that change.


def test_a_change_that_nobody_has_seen_stays_unseen(origin: Origin, fetch: Fetch) -> None:
    origin.script(cut(10_000), becomes(OTHER))
    download = fetch()
    assert everything(download) == OTHER
    assert origin.requests[1].headers["if-match"] != origin.etag
    assert download.generation == 0


@pytest.mark.parametrize(
    "change",
    [
        becomes(OTHER),
        becomes(
            OTHER, lambda o, r: o.honest(Request(r.target, {"range": r.headers["range"]}))
        ),  # no If-Match
        becomes(OTHER, whole()),
        becomes(OTHER[:90_000], whole()),
        becomes(OTHER[:90_000] + OTHER, whole(ETag=None)),
    ],
    ids=["412", "206-with-other-etag", "200", "200-shorter", "200-without-etag"],
)
def test_a_change_that_readers_have_seen_is_told_once(origin: Origin, fetch: Fetch, change: Script) -> None:
    go_on = threading.Event()

    def waiting(origin: Origin, request: Request) -> Reply:
        go_on.wait(10)
        return change(origin, request)

    origin.script(Origin.honest, Origin.honest, waiting)
    download = fetch()
    assert download.read(0, 60_000) == CONTENT[:60_000]
    assert download.wait_size() == 100_000
    go_on.set()
    with pytest.raises(SourceRestartedError) as caught:
        download.read(60_000, 40_000)
    assert caught.value.reason == "changed-on-server"
    assert everything(download) == origin.content
    assert download.generation == 1


def test_a_reader_that_only_waits_is_told_too(origin: Origin, fetch: Fetch) -> None:
    origin.script(Origin.honest, Origin.honest, becomes(OTHER))
    download = fetch()
    try:
        seen = download.read(0, 60_000)
    except SourceRestartedError:
        seen = CONTENT[:60_000]
        assert download.generation == 1
    if download.generation == 0 and seen == CONTENT[:60_000]:
        with pytest.raises(SourceRestartedError):
            download.wait_complete()
    download.wait_complete()
    assert download.read(0, 100_000) == OTHER


def test_a_file_that_never_stays_the_same_is_given_up(origin: Origin, fetch: Fetch) -> None:
    def restless(origin: Origin, request: Request) -> Reply:
        origin.content = bytes([len(origin.requests)]) + CONTENT
        return origin.honest(request)

    origin.always = restless
    assert reason_of(fetch()) == "changed-on-server"


# Closing.


@pytest.mark.parametrize("sent", [0, 10_000])
def test_close_ends_a_stalled_read_and_its_readers(origin: Origin, fetch: Fetch, sent: int) -> None:
    origin.script(cut(sent, "stall"))
    download = fetch(options=DownloadOptions(read_timeout_s=100.0))
    caught: list[BaseException] = []

    def read() -> None:
        try:
            download.read(50_000, 1)
        except CloudError as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert origin.stalled.wait(10)
    download.close()
    reader.join(10)
    assert isinstance(caught[0], CloudError)
    assert not [thread for thread in threading.enumerate() if thread.name == "download"]
    download.close()


def test_close_ends_a_wait_for_headers(origin: Origin, fetch: Fetch) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def silent(origin: Origin, request: Request) -> Reply:
        asked.set()
        go_on.wait(10)
        return origin.honest(request)

    origin.script(silent)
    download = fetch(options=DownloadOptions(read_timeout_s=100.0))
    assert asked.wait(10)
    download.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "download"]
    go_on.set()


def test_close_ends_a_pause(origin: Origin, fetch: Fetch, clock: FakeClock) -> None:
    origin.always = status(503)
    download = fetch()
    clock.on_wait = download.close
    assert reason_of(download) in {"closed", "http-503"}


def test_close_without_start(tmp_path: Path, fetch: Fetch) -> None:
    Download("http://127.0.0.1/x", cache_dir=tmp_path).close()


# Disk.


def test_a_full_disk_is_the_bench(origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bridge.fetch.part_file.os.pwrite", full)
    with pytest.raises(BenchError) as caught:
        fetch().wait_complete()
    assert caught.value.reason == "no-space"


def test_a_disk_without_room_for_the_image_is_noticed_before_anybody_gets_a_byte(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_bytes = len(CONTENT) // 2
    monkeypatch.setattr(
        "bridge.fetch.part_file.os.fstatvfs", lambda _: SimpleNamespace(f_bavail=room_bytes, f_frsize=1)
    )
    download = fetch()
    with pytest.raises(BenchError) as caught:
        download.read(0, 1)
    assert caught.value.reason == "no-space"
    assert len(origin.requests) == 1


def test_a_cache_that_cannot_be_made(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError) as caught:
        fetch(cache_dir=tmp_path / "file").wait_complete()
    assert caught.value.reason == "cache-unusable"

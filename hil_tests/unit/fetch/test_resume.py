"""What the next download of the same image finds: in another process, with another URL, at the same time."""

import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from bridge.errors import CloudError
from bridge.fetch import Download, DownloadOptions
from bridge.fetch.cache import ImageCache, digest_key, object_key
from bridge.fetch.part_file import PartFacts
from hil_tests.unit.fetch.conftest import CONTENT, Fetch, everything
from hil_tests.unit.fetch.origin import Origin, Request, becomes, chunked, cut, status, whole

SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]
ONE_TRY = DownloadOptions(fragment_bytes=32_768, retries=0)


def broken_off(fetch: Fetch, origin: Origin, *, after: int = 40_000, **wanted: object) -> None:
    """A download that ends early and leaves its part."""
    origin.script(lambda o, r: cut(after)(o, Request(r.target, {})))
    download = fetch(options=ONE_TRY, **wanted)
    with pytest.raises(CloudError):
        download.wait_complete()
    download.close()
    origin.requests.clear()


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_part_is_continued_with_if_range_and_another_signature(
    origin: Origin, fetch: Fetch, sha256: str | None
) -> None:
    broken_off(fetch, origin, expected_sha256=sha256)
    assert everything(fetch(origin.url(query="?Signature=new"), expected_sha256=sha256)) == CONTENT
    first, *more = origin.requests
    assert first.range == (40_000, 72_767)
    assert first.headers["if-range"] == origin.etag
    assert "if-match" not in first.headers
    assert {request.headers["if-match"] for request in more} == {origin.etag}


def test_a_digest_continues_a_part_from_anywhere_even_without_an_etag(origin: Origin, fetch: Fetch) -> None:
    origin.script(lambda o, r: cut(40_000)(o, Request(r.target, {})).changed(ETag=None))
    with pytest.raises(CloudError):
        fetch(options=ONE_TRY, expected_sha256=SHA256).wait_complete()
    origin.requests.clear()
    assert everything(fetch(origin.url("/mirror.bin"), expected_sha256=SHA256)) == CONTENT
    assert origin.requests[0].range == (40_000, 72_767)


def test_without_etag_and_digest_a_part_is_not_trusted(origin: Origin, fetch: Fetch) -> None:
    origin.script(lambda o, r: cut(40_000)(o, Request(r.target, {})).changed(ETag=None))
    with pytest.raises(CloudError):
        fetch(options=ONE_TRY).wait_complete()
    origin.requests.clear()
    assert everything(fetch()) == CONTENT
    assert origin.requests[0].range == (0, 32_767)


def test_a_part_of_another_object_is_replaced_in_the_same_answer(origin: Origin, fetch: Fetch) -> None:
    broken_off(fetch, origin)
    origin.script(becomes(OTHER))
    download = fetch()
    assert everything(download) == OTHER
    assert len(origin.requests) == 1
    assert download.generation == 0


def test_a_server_that_ignores_if_range_is_caught_by_its_etag(origin: Origin, fetch: Fetch) -> None:
    broken_off(fetch, origin)
    origin.script(becomes(OTHER, lambda o, r: o.honest(Request(r.target, {"range": r.headers["range"]}))))
    download = fetch()
    assert everything(download) == OTHER
    assert download.generation == 0


def test_a_range_without_an_etag_does_not_continue_a_part(origin: Origin, fetch: Fetch) -> None:
    broken_off(fetch, origin)
    without_etag = lambda o, r: o.honest(Request(r.target, {"range": r.headers["range"]})).changed(ETag=None)  # noqa: E731
    origin.script(becomes(OTHER, without_etag))
    assert everything(fetch()) == OTHER


def test_bytes_of_a_part_are_not_given_out_before_the_server_confirmed_them(
    origin: Origin, fetch: Fetch
) -> None:
    broken_off(fetch, origin)
    origin.script(becomes(OTHER))
    assert fetch().read(0, 100) == OTHER[:100]


def test_a_part_of_another_size_than_ordered_is_dropped(origin: Origin, fetch: Fetch) -> None:
    broken_off(fetch, origin)
    origin.content = OTHER[:70_000]
    assert everything(fetch(expected_size=70_000)) == OTHER[:70_000]
    assert origin.requests[0].range == (0, 32_767)


def test_a_part_that_is_complete_is_asked_for_one_byte(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    broken_off(fetch, origin)
    (part,) = (tmp_path / "cache").glob("*.part")
    part.write_bytes(CONTENT)
    assert everything(fetch()) == CONTENT
    assert [request.range for request in origin.requests] == [(99_999, 132_766)]


def test_a_complete_part_of_unknown_size_ends_with_416(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    origin.script(chunked(end=False))
    with pytest.raises(CloudError):
        fetch(options=ONE_TRY, expected_sha256=SHA256).wait_complete()
    origin.requests.clear()
    assert everything(fetch(expected_sha256=SHA256)) == CONTENT
    assert [request.range for request in origin.requests] == [(100_000, 132_767)]


def test_416_for_a_file_that_shrank_starts_again(origin: Origin, fetch: Fetch) -> None:
    origin.script(cut(30_000, "close"), becomes(b"short", status(416, Content_Range="bytes */5")))
    download = fetch()
    assert everything(download) == b"short"


def test_a_rotten_part_costs_one_more_download(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    broken_off(fetch, origin, expected_sha256=SHA256)
    (part,) = (tmp_path / "cache").glob("*.part")
    part.write_bytes(b"rotten" + CONTENT[6:40_000])
    download = fetch(expected_sha256=SHA256)
    assert everything(download) == CONTENT


@pytest.mark.parametrize("facts", ["", "[]", "{", '{"etag": 5, "size_bytes": "x"}', '{"etag": "a"}'])
def test_facts_that_make_no_sense_are_none(origin: Origin, fetch: Fetch, tmp_path: Path, facts: str) -> None:
    broken_off(fetch, origin)
    (beside,) = (tmp_path / "cache").glob("*.json")
    beside.write_text(facts)
    assert everything(fetch()) == CONTENT
    assert origin.requests[0].range == (0, 32_767)


# Complete files.


def test_a_digest_that_is_in_the_cache_needs_no_request(origin: Origin, fetch: Fetch) -> None:
    everything(fetch(expected_sha256=SHA256))
    origin.requests.clear()
    download = fetch("http://127.0.0.1:9/gone", expected_sha256=SHA256.upper(), expected_size=100_000)
    assert everything(download) == CONTENT
    assert download.wait_size() == 100_000
    assert origin.requests == []


def test_a_cached_file_of_another_size_than_ordered_is_told(fetch: Fetch) -> None:
    everything(fetch(expected_sha256=SHA256))
    with pytest.raises(CloudError) as caught:
        fetch(expected_sha256=SHA256, expected_size=5).wait_complete()
    assert caught.value.reason == "wrong-size"


def test_a_cached_file_that_went_bad_is_fetched_again(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    everything(fetch(expected_sha256=SHA256))
    (file,) = (tmp_path / "cache").glob("*.image")
    file.write_bytes(b"rotten")
    assert everything(fetch(expected_sha256=SHA256)) == CONTENT
    assert hashlib.sha256(file.read_bytes()).hexdigest() == SHA256


def test_an_etag_that_is_in_the_cache_needs_one_request(origin: Origin, fetch: Fetch) -> None:
    everything(fetch())
    origin.requests.clear()
    assert everything(fetch(origin.url(query="?Signature=new"))) == CONTENT
    assert len(origin.requests) == 1
    assert everything(fetch(origin.url("/other.bin"))) == CONTENT
    assert len(origin.requests) == 5


def test_a_cut_short_file_in_the_cache_is_not_taken_for_the_object(
    origin: Origin, fetch: Fetch, tmp_path: Path
) -> None:
    everything(fetch())
    (file,) = (tmp_path / "cache").glob("*.image")
    file.write_bytes(CONTENT[:10])
    assert everything(fetch()) == CONTENT


def test_what_nothing_identifies_is_not_kept(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    origin.always = whole(ETag=None)
    download = fetch()
    everything(download)
    download.close()
    assert list((tmp_path / "cache").glob("*.image")) == []


def test_names_in_the_cache_hold_no_secret(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    url = origin.url(query="?X-Amz-Signature=SECRET")
    broken_off(fetch, origin, url=url)
    texts = [path.name + path.read_bytes().decode("latin-1") for path in (tmp_path / "cache").glob("*.json")]
    assert texts
    assert "SECRET" not in "".join(texts)


# Two at once.


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_two_downloads_of_the_same_image_at_once_do_not_mix(
    origin: Origin, fetch: Fetch, tmp_path: Path, sha256: str | None
) -> None:
    origin.script(cut(10_000, "stall"))
    first = fetch(expected_sha256=sha256, options=DownloadOptions(fragment_bytes=32_768, read_timeout_s=0.3))
    first.read(0, 10_000)
    second = fetch(expected_sha256=sha256)
    assert everything(second) == everything(first) == CONTENT
    first.close()
    second.close()
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.read_bytes() == CONTENT


def test_a_part_that_was_published_while_it_was_opened_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ImageCache(tmp_path)
    first = cache.open_part("key")
    first.write(0, CONTENT)
    lock = fcntl.flock

    def published_meanwhile(file: object, how: int) -> None:
        first.publish(cache.path("key"))
        first.close()
        monkeypatch.setattr(fcntl, "flock", lock)
        lock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", published_meanwhile)
    second = cache.open_part("key")
    second.write(0, b"other")
    assert cache.path("key").read_bytes() == CONTENT
    second.close()


# The cache itself.


def test_the_cache_gives_up_its_oldest_images(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    for age, name in enumerate(["new", "middle", "old"]):
        path = cache.path(name)
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    cache.prune(keep_bytes=200)
    assert {path.stem for path in tmp_path.iterdir()} == {"new", "middle"}


def test_parts_that_nobody_continued_for_a_week_are_removed(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    for name in ("old.part", "old.json", "new.part", "new.json"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("old.part", "old.json"):
        os.utime(tmp_path / name, (1_000_000, 1_000_000))
    cache.prune()
    assert {path.name for path in tmp_path.iterdir()} == {"new.part", "new.json"}


def test_the_cache_is_for_its_owner(origin: Origin, fetch: Fetch, tmp_path: Path) -> None:
    everything(fetch())
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_keys_differ_where_content_may() -> None:
    urls = ["http://a/x", "http://b/x", "http://a:81/x", "https://a/x", "http://a/y"]
    assert len({object_key(url, '"e"', 5) for url in urls}) == 5
    assert object_key("http://u:p@a/x?q#f", '"e"', 5) == object_key("http://a/x", '"e"', 5)
    assert (
        object_key("http://a/x", '"e"', 6)
        != object_key("http://a/x", '"e"', 5)
        != object_key("http://a/x", '"f"', 5)
    )
    assert digest_key("AB") == digest_key("ab")


def test_a_cached_file_that_cannot_be_read_is_an_error_of_the_bench(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    cache.path("key").mkdir()
    with pytest.raises(Exception, match="cannot keep downloads"):
        cache.open_complete("key")


def test_facts_are_written_once(tmp_path: Path) -> None:
    part = ImageCache(tmp_path).open_part("key")
    part.remember(PartFacts('"e"', 5))
    (tmp_path / "key.json").unlink()
    part.remember(PartFacts('"e"', 5))
    assert not (tmp_path / "key.json").exists()
    part.close()


def test_a_private_part_leaves_nothing(tmp_path: Path) -> None:
    part = ImageCache(tmp_path).open_part(None)
    part.write(0, b"x")
    part.remember(PartFacts('"e"', 5))
    part.close()
    part.close()
    assert list(tmp_path.iterdir()) == []


def test_download_closes_twice_without_a_request(tmp_path: Path) -> None:
    download = Download("http://127.0.0.1:9/x", cache_dir=tmp_path)
    download.close()
    download.close()

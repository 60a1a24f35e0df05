"""Images over HTTPS: ranges, preconditions, signatures, faults."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from bridge.errors import UsageError
from bridge.lab.https_server import HttpsServer
from bridge.lab.image_faults import ImageFault
from bridge.lab.image_server import ImageServer
from bridge.lab.pki import LabPki
from bridge.lab.presign import Presigner

DATA = bytes(range(256)) * 40


@dataclass
class Rig:
    """A running server with one image."""

    images: ImageServer
    url: str
    session: requests.Session
    now_s: list[float]

    def get(self, url: str | None = None, **headers: str) -> requests.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.get(url or self.url, headers=names, allow_redirects=False, timeout=10)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    pki = LabPki(tmp_path)
    cert_file, key_file = pki.issue_server()
    now_s = [1_000_000.0]
    ports: list[int] = []
    images = ImageServer(lambda: f"https://127.0.0.1:{ports[0]}", Presigner(lambda: now_s[0]))
    with (
        HttpsServer(images.routes, cert_file=cert_file, key_file=key_file) as server,
        requests.Session() as session,
    ):
        ports.append(server.port)
        session.verify = str(pki.ca_file)
        session.trust_env = False
        yield Rig(images, images.publish(DATA, "app.bin"), session, now_s)
    images.close()


def test_a_whole_image_comes_with_a_strong_etag(rig: Rig) -> None:
    answer = rig.get()
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["ETag"].startswith('"')


@pytest.mark.parametrize(
    ("asked", "content_range", "body"),
    [
        ("bytes=0-9", "bytes 0-9/10240", DATA[:10]),
        ("bytes=10000-", "bytes 10000-10239/10240", DATA[10000:]),
        ("bytes=-5", "bytes 10235-10239/10240", DATA[-5:]),
        ("bytes=10230-99999", "bytes 10230-10239/10240", DATA[10230:]),
    ],
)
def test_ranges(rig: Rig, asked: str, content_range: str, body: bytes) -> None:
    answer = rig.get(Range=asked)
    assert (answer.status_code, answer.headers["Content-Range"], answer.content) == (206, content_range, body)


def test_a_range_past_the_end_is_416_with_the_size(rig: Rig) -> None:
    answer = rig.get(Range="bytes=10240-")
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */10240"


def test_an_unknown_range_unit_is_ignored(rig: Rig) -> None:
    assert rig.get(Range="lines=1-2").status_code == 200


def test_preconditions_pin_the_content(rig: Rig) -> None:
    etag = rig.get().headers["ETag"]
    assert rig.get(If_Match=etag, Range="bytes=0-0").status_code == 206
    assert rig.get(If_Range=etag, Range="bytes=0-0").status_code == 206
    rig.images.publish(DATA[::-1], "app.bin")
    assert rig.get(If_Match=etag, Range="bytes=0-0").status_code == 412
    assert rig.get(If_Range=etag, Range="bytes=0-0").status_code == 200


@pytest.mark.parametrize("name", ["other.bin", "..%2Fapp.bin", "../pki.py"])
def test_what_was_not_published_is_not_there(rig: Rig, name: str) -> None:
    assert rig.get(rig.url.replace("app.bin", name)).status_code == 404


def test_a_presigned_url_works_until_it_expires(rig: Rig) -> None:
    rig.images.publish(DATA, "secret.bin", presigned_only=True)
    url = rig.images.presigned_url("secret.bin", 60)
    assert rig.get(url).content == DATA
    assert rig.get(rig.images.url("secret.bin")).status_code == 403
    assert rig.get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=99")).status_code == 403
    assert rig.session.head(url, timeout=10).status_code == 403
    rig.now_s[0] += 61
    answer = rig.get(url)
    assert (answer.status_code, b"AccessDenied" in answer.content) == (403, True)


def test_faults_are_for_a_number_of_requests(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(status=503, retry_after_s=7, times=2))
    assert [rig.get().status_code for _ in range(3)] == [503, 503, 200]
    assert [each.status for each in rig.images.requests] == [503, 503, 200]


def test_retry_after_is_sent(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(status=429, retry_after_s=7))
    assert rig.get().headers["Retry-After"] == "7"


def test_a_cut_body_is_shorter_than_promised(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(cut_after_bytes=100))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        rig.get()


def test_a_stalled_body_lasts_until_the_client_gives_up(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(stall_after_bytes=100))
    with (
        rig.session.get(rig.url, stream=True, timeout=(10, 0.2)) as answer,
        pytest.raises(requests.exceptions.ConnectionError),
    ):
        assert answer.content == b"never complete"


def test_other_faults(rig: Rig) -> None:
    for fault in (
        ImageFault(ignore_range=True),
        ImageFault(content_range="bytes 5-9/10240"),
        ImageFault(content_range=""),
        ImageFault(redirect_to="http://127.0.0.1/x"),
        ImageFault(chunked=True),
        ImageFault(page="<html>sorry</html>"),
    ):
        rig.images.faults.add("app.bin", fault)
    answers = [rig.get(Range="bytes=0-9") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 206, 206, 302, 200, 200]
    assert answers[1].headers["Content-Range"] == "bytes 5-9/10240"
    assert "Content-Range" not in answers[2].headers
    assert answers[3].headers["Location"] == "http://127.0.0.1/x"
    assert "Content-Length" not in answers[4].headers
    assert answers[5].text == "<html>sorry</html>"


def test_switched_off_faults_are_gone(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(status=404, times=None))
    assert rig.get().status_code == 404
    rig.images.faults.clear()
    assert rig.get().status_code == 200


def test_an_image_needs_a_name_and_must_be_readable(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be published"):
        rig.images.publish(DATA)
    with pytest.raises(UsageError, match="cannot publish"):
        rig.images.publish(tmp_path / "missing.bin")


def test_the_status_that_was_really_sent_is_counted(rig: Rig) -> None:
    rig.get(Range="bytes=0-9")
    rig.get(Range="bytes=99999-")
    rig.get(If_Match='"other"')
    assert [(each.range, each.status) for each in rig.images.requests] == [
        ("bytes=0-9", 206),
        ("bytes=99999-", 416),
        (None, 412),
    ]


def test_a_body_that_is_cut_keeps_its_true_head(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(cut_after_bytes=10))
    with rig.session.get(rig.url, headers={"Range": "bytes=100-199"}, timeout=10, stream=True) as answer:
        assert (answer.status_code, answer.headers["Content-Length"]) == (206, "100")
        assert answer.headers["Content-Range"] == "bytes 100-199/10240"
        with pytest.raises(requests.exceptions.RequestException):
            assert answer.content == b"never complete"
    assert rig.get().content == DATA


def test_a_reset_breaks_the_request_wherever_it_overtakes_the_bytes(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(reset_after_bytes=10))
    with pytest.raises(requests.exceptions.RequestException):  # the head may get lost with the rest
        rig.get(Range="bytes=100-199")
    assert rig.get().content == DATA


def test_a_body_shorter_than_its_fault_is_whole(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(cut_after_bytes=10))
    assert rig.get(Range="bytes=0-9").content == DATA[:10]


def test_a_slow_body_comes_whole(rig: Rig) -> None:
    rig.images.faults.add("app.bin", ImageFault(rate_bytes_per_s=100_000))
    assert rig.get().content == DATA


def test_a_name_with_spaces_and_signs(rig: Rig) -> None:
    rig.images.publish(DATA, "my app #1?.bin", presigned_only=True)
    url = rig.images.presigned_url("my app #1?.bin")
    assert " " not in url
    assert rig.get(url).content == DATA

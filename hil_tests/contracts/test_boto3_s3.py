"""boto3 as a judge of the local cloud's S3: uploads, ranges, preconditions, presigned URLs, errors."""

import io
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from bridge.lab import s3_body, s3_service
from bridge.lab.image_faults import ImageFault, ImageFaults
from bridge.lab.presign import Presigner
from bridge.lab.s3_service import S3Service
from bridge.lab.s3_store import BucketStore
from hil_tests.lab_rig import Certificates, https_server

pytestmark = pytest.mark.contract

DATA = bytes(range(256)) * 40
AWKWARD_KEYS = ["a", "images/äö ü/app update (1).bin", "a//b", "q?x=1&y=+%20#z", "~tilde_-.!*'()$,;:@"]


@dataclass
class Shop:
    """A running service and a client of it."""

    s3: Any
    url: str
    store: BucketStore
    presigner: Presigner
    faults: ImageFaults
    seen: list[tuple[str, str, str | None, int]]
    session: requests.Session

    def client(self, **options: Any) -> Any:
        config = Config(retries={"total_max_attempts": 1}, proxies={}, **options.pop("config", {}))
        arguments = {
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "aws_access_key_id": self.presigner.key.key_id,
            "aws_secret_access_key": self.presigner.key.secret,
            "verify": self.session.verify,
            "config": config,
        } | options
        return boto3.client("s3", **arguments)

    def link(self, key: str = "app.bin", expires_s: int = 60, **members: str) -> str:
        text = self.s3.generate_presigned_url(
            "get_object", {"Bucket": "firmware", "Key": key, **members}, ExpiresIn=expires_s
        )
        assert isinstance(text, str)
        return text


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("s3")
    certificates = Certificates(directory)
    store, presigner, faults = BucketStore(directory / "buckets"), Presigner(), ImageFaults()
    seen: list[tuple[str, str, str | None, int]] = []
    service = S3Service(store, presigner, faults=faults, note=lambda *each: seen.append(each))
    routes = [service.signed_route, service.rest_route]
    with https_server(certificates, routes) as url, requests.Session() as session:
        session.verify, session.trust_env = str(certificates.ca_file), False
        made = Shop(None, url.replace("localhost", "127.0.0.1"), store, presigner, faults, seen, session)
        made.s3 = made.client(config={"signature_version": "s3v4"})
        made.s3.create_bucket(Bucket="firmware")
        made.s3.put_object(Bucket="firmware", Key="app.bin", Body=DATA)
        yield made
        made.s3.close()


def refused(call: Any, **arguments: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("key", AWKWARD_KEYS)
@pytest.mark.parametrize("body", ["bytes", "stream", "empty"])
def test_an_upload_comes_back_as_it_went(shop: Shop, key: str, body: str) -> None:
    content = b"" if body == "empty" else DATA + key.encode()
    put = shop.s3.put_object(
        Bucket="firmware",
        Key=key,
        Body=io.BytesIO(content) if body == "stream" else content,
        Metadata={"sha256": "abc"},
        ContentType="application/x-firmware",
    )
    got = shop.s3.get_object(Bucket="firmware", Key=key, ChecksumMode="ENABLED")
    assert got["Body"].read() == content
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (
        put["ETag"],
        {"sha256": "abc"},
        "application/x-firmware",
    )
    head = shop.s3.head_object(Bucket="firmware", Key=key)
    assert (head["ContentLength"], head["ETag"]) == (len(content), put["ETag"])
    assert abs((datetime.now(UTC) - head["LastModified"]).total_seconds()) < 60
    link = shop.session.get(shop.link(key), timeout=10)
    assert (link.status_code, link.content) == (200, content)
    shop.s3.delete_object(Bucket="firmware", Key=key)
    assert refused(shop.s3.get_object, Bucket="firmware", Key=key) == ("NoSuchKey", 404)


def test_a_managed_upload_and_download_work(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(DATA)
    shop.s3.upload_file(str(tmp_path / "up"), "firmware", "managed.bin")
    shop.s3.download_file("firmware", "managed.bin", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == DATA


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_checked(shop: Shop, algorithm: str) -> None:
    put = {"Bucket": "firmware", "Key": "sum.bin", "Body": DATA}
    answer = shop.s3.put_object(**put, ChecksumAlgorithm=algorithm)
    got = shop.s3.get_object(Bucket="firmware", Key="sum.bin", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"] == answer[f"Checksum{algorithm}"]
    got["Body"].close()
    wrong = {f"Checksum{algorithm}": "AAAAAA=="}
    assert refused(shop.s3.put_object, **put, **wrong) == ("BadDigest", 400)


@pytest.mark.parametrize(
    ("asked", "content_range", "body"),
    [
        ("bytes=0-9", "bytes 0-9/10240", DATA[:10]),
        ("bytes=10000-", "bytes 10000-10239/10240", DATA[10000:]),
        ("bytes=-5", "bytes 10235-10239/10240", DATA[-5:]),
        ("bytes=-99999", "bytes 0-10239/10240", DATA),
        ("bytes=10230-99999", "bytes 10230-10239/10240", DATA[10230:]),
        ("bytes=0-1,4-5", None, DATA),
        ("bytes=5-2", None, DATA),
        ("lines=1-2", None, DATA),
    ],
)
def test_ranges(shop: Shop, asked: str, content_range: str | None, body: bytes) -> None:
    got = shop.s3.get_object(Bucket="firmware", Key="app.bin", Range=asked)
    assert (got.get("ContentRange"), got["Body"].read()) == (content_range, body)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == (200 if content_range is None else 206)
    assert got["ContentLength"] == len(body)


def test_a_range_past_the_end_is_416(shop: Shop) -> None:
    get = shop.s3.get_object
    assert refused(get, Bucket="firmware", Key="app.bin", Range="bytes=10240-") == ("InvalidRange", 416)


def test_preconditions(shop: Shop) -> None:
    etag = shop.s3.put_object(Bucket="firmware", Key="pin.bin", Body=DATA)["ETag"]
    at = {"Bucket": "firmware", "Key": "pin.bin"}
    shop.s3.get_object(**at, IfMatch=etag, Range="bytes=0-0")["Body"].read()
    assert refused(shop.s3.get_object, **at, IfNoneMatch=etag) == ("304", 304)
    assert refused(shop.s3.put_object, **at, Body=b"x", IfNoneMatch="*") == ("PreconditionFailed", 412)
    shop.s3.put_object(**at, Body=DATA[::-1])
    assert refused(shop.s3.get_object, **at, IfMatch=etag) == ("PreconditionFailed", 412)
    assert refused(shop.s3.head_object, **at, IfMatch=etag) == ("412", 412)
    whole = shop.session.get(
        shop.link("pin.bin"), headers={"If-Range": etag, "Range": "bytes=0-0"}, timeout=10
    )
    assert whole.status_code == 200


def test_lists_come_in_pages(shop: Shop) -> None:
    shop.s3.create_bucket(Bucket="many")
    for number in range(5):
        shop.s3.put_object(Bucket="many", Key=f"dir/ä & {number}", Body=b"x" * number)
    shop.s3.put_object(Bucket="many", Key="other", Body=b"")
    pages = shop.s3.get_paginator("list_objects_v2").paginate(
        Bucket="many", Prefix="dir/", PaginationConfig={"PageSize": 2}
    )
    found = [(each["Key"], each["Size"]) for page in pages for each in page.get("Contents", ())]
    assert found == [(f"dir/ä & {number}", number) for number in range(5)]
    assert [each["Name"] for each in shop.s3.list_buckets()["Buckets"]] == ["firmware", "many"]
    assert refused(shop.s3.delete_bucket, Bucket="many") == ("BucketNotEmpty", 409)
    for key in [*(key for key, _ in found), "other"]:
        shop.s3.delete_object(Bucket="many", Key=key)
    shop.s3.delete_bucket(Bucket="many")
    assert refused(shop.s3.head_bucket, Bucket="many") == ("404", 404)
    assert refused(shop.s3.list_objects_v2, Bucket="many") == ("NoSuchBucket", 404)
    assert refused(shop.s3.put_object, Bucket="many", Key="a", Body=b"") == ("NoSuchBucket", 404)
    assert refused(shop.s3.create_bucket, Bucket="No") == ("InvalidBucketName", 400)


def test_a_url_of_the_past_opens_nothing(shop: Shop) -> None:
    bare = f"{shop.url}/firmware/app.bin"
    answer = shop.session.get(shop.presigner.url(bare, 60, age_s=61), timeout=10)
    assert (answer.status_code, "<Message>Request has expired</Message>" in answer.text) == (403, True)
    assert "<Code>AccessDenied</Code>" in answer.text
    assert shop.session.get(shop.presigner.url(bare, 60, age_s=30), timeout=10).content == DATA
    assert shop.session.get(shop.presigner.url(bare, 60, age_s=-3600), timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("part", "becomes"),
    [
        ("app.bin", "pin.bin"),
        ("X-Amz-Expires=60", "X-Amz-Expires=61"),
        ("us-east-1", "eu-west-1"),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host%3Bx"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("?", "?versionId=1&"),
        ("AKIALOCAL", "AKIAOTHER"),
    ],
)
def test_a_url_that_was_tampered_with_opens_nothing(shop: Shop, part: str, becomes: str) -> None:
    link = shop.link()
    assert part in link
    answer = shop.session.get(link.replace(part, becomes, 1), timeout=10)
    assert answer.status_code in {400, 403}
    assert "<Error><Code>" in answer.text


def test_a_url_works_for_its_method_only(shop: Shop) -> None:
    assert shop.session.head(shop.link(), timeout=10).status_code == 403
    assert shop.session.delete(shop.link(), timeout=10).status_code == 403
    assert shop.session.put(shop.link(), data=b"x", timeout=10).status_code == 403
    upload = shop.s3.generate_presigned_url("put_object", {"Bucket": "firmware", "Key": "by-link.bin"})
    assert shop.session.put(upload, data=DATA, timeout=10).status_code == 200
    assert shop.session.get(shop.link("by-link.bin"), timeout=10).content == DATA
    head = shop.s3.generate_presigned_url("head_object", {"Bucket": "firmware", "Key": "by-link.bin"})
    assert shop.session.head(head, timeout=10).headers["Content-Length"] == str(len(DATA))


def test_our_urls_are_botocores(shop: Shop) -> None:
    ours = shop.presigner.url(f"{shop.url}/firmware/app.bin", 60)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(ours).query)
    theirs = urllib.parse.parse_qs(urllib.parse.urlsplit(shop.link()).query)
    assert query.keys() == theirs.keys()
    if query["X-Amz-Date"] == theirs["X-Amz-Date"]:  # both of the same second
        assert query == theirs


def test_strangers_and_old_signatures_are_refused(shop: Shop) -> None:
    bare = shop.session.get(f"{shop.url}/firmware/app.bin", timeout=10)
    assert (bare.status_code, "AccessDenied" in bare.text) == (403, True)
    old = shop.client(config={"signature_version": "s3"})
    assert refused(old.get_object, Bucket="firmware", Key="app.bin")[0] in {
        "AuthorizationHeaderMalformed",
        "InvalidRequest",
    }
    old_link = old.generate_presigned_url("get_object", {"Bucket": "firmware", "Key": "app.bin"})
    assert "Please use AWS4-HMAC-SHA256" in shop.session.get(old_link, timeout=10).text
    stranger = shop.client(aws_access_key_id="AKIASTRANGER")
    assert refused(stranger.get_object, Bucket="firmware", Key="app.bin") == ("InvalidAccessKeyId", 403)
    impostor = shop.client(aws_secret_access_key="guessed")
    assert refused(impostor.put_object, Bucket="firmware", Key="app.bin", Body=b"x") == (
        "SignatureDoesNotMatch",
        403,
    )
    elsewhere = shop.client(region_name="eu-west-1")
    assert (
        elsewhere.list_objects_v2(Bucket="firmware")["Name"] == "firmware"
    )  # the error told botocore the region
    for client in (old, stranger, impostor, elsewhere):
        client.close()


def test_what_is_not_emulated_says_so(shop: Shop) -> None:
    copy = {"CopySource": {"Bucket": "firmware", "Key": "app.bin"}}
    assert refused(shop.s3.copy_object, Bucket="firmware", Key="copy", **copy) == ("NotImplemented", 501)
    assert refused(shop.s3.get_bucket_acl, Bucket="firmware") == ("NotImplemented", 501)
    assert refused(shop.s3.create_multipart_upload, Bucket="firmware", Key="big") == ("NotImplemented", 501)


def test_a_body_larger_than_anything_that_is_kept_is_not_read_to_its_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_service, "MAX_BODY_BYTES", 100_000)
    monkeypatch.setattr(s3_body, "MAX_OBJECT_BYTES", 50_000)
    put = shop.s3.put_object
    assert refused(put, Bucket="firmware", Key="large", Body=b"x" * 50_001) == ("EntityTooLarge", 400)
    endless = shop.session.put(f"{shop.url}/firmware/large", data=iter([b"x" * 60_000] * 2), timeout=10)
    assert (endless.status_code, "EntityTooLarge" in endless.text) == (400, True)


def test_virtual_host_style(shop: Shop) -> None:
    """As botocore sends it, but to an address: a resolver need not know names below localhost."""
    named = shop.client(
        endpoint_url="https://localhost:1",
        config={"signature_version": "s3v4", "s3": {"addressing_style": "virtual"}},
    )
    link = named.generate_presigned_url("get_object", {"Bucket": "firmware", "Key": "app.bin"})
    named.close()
    split = urllib.parse.urlsplit(link)
    assert split.hostname == "firmware.localhost"
    to_address = f"{shop.url}{split.path}?{split.query}"
    answer = shop.session.get(to_address, headers={"Host": split.netloc}, timeout=10)
    assert (answer.status_code, answer.content) == (200, DATA)


def test_faults_apply_to_objects(shop: Shop) -> None:
    shop.faults.add("firmware/app.bin", ImageFault(status=503, retry_after_s=1))
    shop.faults.add("firmware/app.bin", ImageFault(cut_after_bytes=10))
    shop.faults.add("firmware/app.bin", ImageFault(reset_after_bytes=10))
    shop.faults.add("firmware/app.bin", ImageFault(content_range="bytes 5-9/10240"))
    start = len(shop.seen)
    assert shop.session.get(shop.link(), timeout=10).status_code == 503
    for _ in range(2):
        with pytest.raises(requests.exceptions.RequestException):
            shop.session.get(shop.link(), timeout=10)
    odd = shop.session.get(shop.link(), headers={"Range": "bytes=0-9"}, timeout=10)
    assert odd.headers["Content-Range"] == "bytes 5-9/10240"
    assert shop.session.get(shop.link(), timeout=10).content == DATA
    assert [status for _, _, _, status in shop.seen[start:]] == [503, 200, 200, 206, 200]


def test_an_object_that_changes_in_mid_download_keeps_its_old_content(shop: Shop) -> None:
    old, new = b"a" * 3_000_000, b"b" * 3_000_000
    shop.s3.put_object(Bucket="firmware", Key="changing.bin", Body=old)
    with shop.session.get(shop.link("changing.bin"), stream=True, timeout=10) as answer:
        body = answer.raw.read(1000)
        shop.s3.put_object(Bucket="firmware", Key="changing.bin", Body=new)
        body += answer.raw.read()
    assert body == old
    assert shop.session.get(shop.link("changing.bin"), timeout=10).content == new


def test_a_second_start_finds_everything_and_removes_what_nobody_refers_to(tmp_path: Path) -> None:
    first = BucketStore(tmp_path)
    first.create("bucket")
    old = first.put("bucket", "k", b"old", {})
    kept = first.put("bucket", "k", b"new", {"content-type": "x/y"})
    assert first.path(old).exists()
    second = BucketStore(tmp_path)
    assert second.get("bucket", "k") == kept
    assert second.path(kept).read_bytes() == b"new"
    assert not second.path(old).exists()
    (tmp_path / "index.json").unlink()
    assert BucketStore(tmp_path).names == []

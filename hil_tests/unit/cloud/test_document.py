"""Job documents: every documented shape is read, everything else is refused by member, without secrets."""

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cloud import DocumentError, JobDocument, parse_document
from bridge.cloud.requirements import Requirements

SIGNED_PATH = "fw/app.bin?X-Amz-Credential=AKIA%2F20260101%2Feu&X-Amz-Signature=5ec4e7"
URL = f"https://bucket.s3.eu-central-1.amazonaws.com/{SIGNED_PATH}"


def document(**members: object) -> dict[str, object]:
    """A valid document with members added, replaced, or (None) taken away."""
    full: dict[str, object] = {"operation": "app_fw_update", "location": {"url": URL}, **members}
    return {name: value for name, value in full.items() if value is not None}


def refused(obj: object) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        parse_document(obj)
    assert caught.value.exit_code == 5
    return caught.value


def outcome(obj: object) -> JobDocument | DocumentError:
    """What comes out; any other exception fails the test."""
    try:
        return parse_document(obj)
    except DocumentError as error:
        return error


def test_given_nordics_example_with_parts_when_parsed_then_all_members_are_read() -> None:
    # sdk-nrf, doc/nrf/libraries/networking/aws_fota.rst, with its placeholders filled in.
    parsed = parse_document(
        {
            "operation": "app_fw_update",
            "fwversion": "v1.0.2",
            "size": 181124,
            "location": {"protocol": "http:", "host": "bucket_name.amazonaws.com", "path": "file_name.bin"},
        }
    )

    assert parsed == JobDocument(
        operation="app_fw_update",
        fw_version="1.0.2",
        size_bytes=181124,
        url="http://bucket_name.amazonaws.com/file_name.bin",
    )


def test_given_nordics_example_with_a_single_url_when_parsed_then_the_url_is_kept_as_it_is() -> None:
    parsed = parse_document(document(fwversion="v1.0.2", size=181124))

    assert parsed.url == URL


def test_given_a_modem_update_with_our_own_members_when_parsed_then_they_are_read() -> None:
    parsed = parse_document(
        document(operation="modem_fw_update", sha256="AB" * 32, board="nrf9151dk/nrf9151/ns", image_index=1)
    )

    assert (parsed.operation, parsed.sha256, parsed.board, parsed.image_index) == (
        "modem_fw_update",
        "ab" * 32,
        "nrf9151dk/nrf9151/ns",
        1,
    )


def test_given_members_nobody_knows_when_parsed_then_they_are_ignored() -> None:
    # Seen in the field: a file name, a digest of another kind.
    parsed = parse_document(
        document(filename="1.0.1.hex", md5="0" * 32, url="ftp://elsewhere", fw_version="9")
    )

    assert parsed.url == URL
    assert parsed.fw_version is None


def test_given_no_operation_when_parsed_then_it_is_unspecified() -> None:
    # Nordic's library never reads the member, so such documents are in use.
    assert parse_document(document(operation=None)).operation is None
    assert parse_document({"operation": None, "location": {"url": URL}}).operation is None


@pytest.mark.parametrize("operation", ["bootloader_update", "APP_FW_UPDATE", "", "app_fw_update "])
def test_given_an_unknown_operation_when_parsed_then_it_is_refused_by_name(operation: str) -> None:
    error = refused(document(operation=operation))

    assert error.reason == "unknown-operation"
    assert "app_fw_update" in error.message


def test_given_an_unknown_operation_without_location_when_parsed_then_the_operation_is_the_reason() -> None:
    assert refused({"operation": "reboot"}).reason == "unknown-operation"


@pytest.mark.parametrize("protocol", ["https", "https:", "https:/", "https://", "HTTPS", "Https:", " https "])
def test_given_any_usual_way_to_write_the_protocol_when_parsed_then_the_url_is_the_same(
    protocol: str,
) -> None:
    parsed = parse_document(document(location={"protocol": protocol, "host": "example.com", "path": "a.bin"}))

    assert parsed.url == "https://example.com/a.bin"


@pytest.mark.parametrize(
    ("host", "path", "url"),
    [
        ("example.com", "/a.bin", "https://example.com/a.bin"),
        ("example.com:8443", "a.bin", "https://example.com:8443/a.bin"),
        ("example.com/", "dir/a.bin", "https://example.com/dir/a.bin"),
        ("https://example.com", "a.bin", "https://example.com/a.bin"),
        ("[::1]:8443", "a.bin", "https://[::1]:8443/a.bin"),
        ("example.com", SIGNED_PATH, f"https://example.com/{SIGNED_PATH}"),
        ("example.com", "a.bin#part", "https://example.com/a.bin"),
    ],
)
def test_given_parts_as_people_write_them_when_parsed_then_one_url_comes_out(
    host: str, path: str, url: str
) -> None:
    parsed = parse_document(document(location={"protocol": "https", "host": host, "path": path}))

    assert parsed.url == url


def test_given_url_and_parts_when_parsed_then_the_url_wins() -> None:
    location = {"url": URL, "protocol": "http", "host": "example.com", "path": "other.bin"}

    assert parse_document(document(location=location)).url == URL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Example.com:444/A.bin", "https://Example.com:444/A.bin"),
        ("http://127.0.0.1:8080/a?b=c%2Fd", "http://127.0.0.1:8080/a?b=c%2Fd"),
        ("https://user:secret@example.com/a", "https://user:secret@example.com/a"),
        ("https://example.com", "https://example.com"),
    ],
)
def test_given_a_valid_url_when_parsed_then_port_query_and_case_are_kept(url: str, expected: str) -> None:
    assert parse_document(document(location={"url": url})).url == expected


@pytest.mark.parametrize(
    ("version", "read"),
    [
        ("v1.2.3", "1.2.3"),
        ("V1.2.3+4", "1.2.3+4"),
        ("1.2.3", "1.2.3"),
        ("vanilla", "vanilla"),
        (293692, "293692"),
    ],
)
def test_given_a_version_when_parsed_then_a_leading_v_is_taken_off(version: object, read: str) -> None:
    assert parse_document(document(fwversion=version)).fw_version == read


@pytest.mark.parametrize("size", [181124, "181124", " 181124 "])
def test_given_a_size_as_number_or_text_when_parsed_then_it_is_a_number(size: object) -> None:
    assert parse_document(document(size=size)).size_bytes == 181124


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"operation": 1}, "operation"),
        ({"fwversion": ""}, "fwversion"),
        ({"fwversion": 1.1}, "fwversion"),
        ({"fwversion": True}, "fwversion"),
        ({"fwversion": ["1.0"]}, "fwversion"),
        ({"fwversion": "1" * 129}, "fwversion"),
        ({"fwversion": "1.0\n"}, "fwversion"),
        ({"fwversion": -1}, "fwversion"),
        ({"size": 0}, "size"),
        ({"size": -1}, "size"),
        ({"size": True}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": "12kB"}, "size"),
        ({"size": "9" * 5000}, "size"),
        ({"size": 2**32}, "size"),
        ({"sha256": "ab"}, "sha256"),
        ({"sha256": "g" * 64}, "sha256"),
        ({"sha256": 1}, "sha256"),
        ({"board": ""}, "board"),
        ({"board": 9151}, "board"),
        ({"image_index": -1}, "image_index"),
        ({"image_index": "0"}, "image_index"),
        ({"image_index": True}, "image_index"),
        ({"image_index": 16}, "image_index"),
        ({"location": {"url": URL, "mirrors": URL}, "sha256": "ab" * 32}, "location.mirrors"),
        ({"location": {"url": URL, "mirrors": [7]}, "sha256": "ab" * 32}, "location.mirrors"),
        ({"location": {"url": URL, "mirrors": ["ftp://h/a"]}, "sha256": "ab" * 32}, "location.mirrors"),
        ({"location": {"url": URL, "mirrors": [URL] * 9}, "sha256": "ab" * 32}, "location.mirrors"),
        ({"location": {"url": URL, "mirrors": [URL]}}, "location.mirrors"),
        ({"requires": "2.0.2"}, "requires"),
        ({"requires": {"sim": "yes"}}, "requires"),
        ({"requires": {"modem": 2}}, "requires.modem"),
        ({"requires": {"application": "newer"}}, "requires.application"),
        ({"requires": {"hardware": "B1A"}}, "requires.hardware"),
        ({"requires": {"bootloader": True}}, "requires.bootloader"),
        ({"requires": {"bootloader": 0}}, "requires.bootloader"),
        ({"location": None}, "location"),
        ({"location": []}, "location"),
        ({"location": {}}, "location"),
        ({"location": {"url": 1}}, "location.url"),
        ({"location": {"url": ""}}, "location.url"),
        ({"location": {"url": "app.bin"}}, "location.url"),
        ({"location": {"url": "ftp://example.com/a"}}, "location.url"),
        ({"location": {"url": "https:///a"}}, "location.url"),
        ({"location": {"url": "https://example.com:x/a"}}, "location.url"),
        ({"location": {"url": "https://example.com:0/a"}}, "location.url"),
        ({"location": {"url": "https://example.com:65536/a"}}, "location.url"),
        ({"location": {"url": "https://[::1/a"}}, "location.url"),
        ({"location": {"url": "https://exa\tmple.com/a"}}, "location.url"),
        ({"location": {"url": "https://example.com/a b c"}}, "location.url"),
        ({"location": {"url": "https://example.com/a?b=c d"}}, "location.url"),
        ({"location": {"url": "https://example.com/\ud800"}}, "location.url"),
        ({"location": {"url": f"https://{'a' * 70}.com/a"}}, "location.url"),
        ({"location": {"host": "example.com", "path": "a"}}, "location.protocol"),
        ({"location": {"protocol": "coap", "host": "example.com", "path": "a"}}, "location.protocol"),
        ({"location": {"protocol": "https", "path": "a"}}, "location.host"),
        ({"location": {"protocol": "https", "host": "example.com/dir", "path": "a"}}, "location.host"),
        ({"location": {"protocol": "https", "host": "http://example.com", "path": "a"}}, "location.host"),
        ({"location": {"protocol": "https", "host": "user@example.com", "path": "a"}}, "location.host"),
        ({"location": {"protocol": "https", "host": "example.com:port", "path": "a"}}, "location.host"),
        ({"location": {"protocol": "https", "host": "example.com"}}, "location.path"),
        ({"location": {"protocol": "https", "host": "example.com", "path": "/"}}, "location.path"),
    ],
)
def test_given_a_malformed_member_when_parsed_then_the_message_names_it(
    members: dict[str, Any], member: str
) -> None:
    error = refused({**document(), **members})

    assert error.reason == "bad-document"
    assert f" {member} " in error.message


@pytest.mark.parametrize("obj", [None, [], "text", 1, True])
def test_given_no_object_when_parsed_then_it_is_refused(obj: object) -> None:
    assert refused(obj).reason == "bad-document"


@pytest.mark.parametrize(
    "location",
    [
        {"protocol": "https", "host": "example.com", "path": "s0.bin s1.bin"},
        {"url": "https://example.com/s0.bin s1.bin"},
    ],
)
def test_given_a_file_for_each_bootloader_slot_when_parsed_then_that_is_said(location: object) -> None:
    assert refused(document(location=location)).reason == "dual-path-unsupported"


def test_given_a_placeholder_that_aws_did_not_replace_when_parsed_then_that_is_said() -> None:
    url = "${aws:iot:s3-presigned-url:https://s3.eu-central-1.amazonaws.com/bucket/key}"

    assert "presigned" in refused(document(location={"url": url})).message


def test_given_a_document_at_the_limit_when_parsed_then_it_passes_and_one_more_character_is_refused() -> None:
    def padded(length: int) -> dict[str, object]:
        spare = length - len(json.dumps(document(pad=""), separators=(",", ":")))
        return document(pad="x" * spare)

    assert parse_document(padded(32768)).url == URL
    assert "32769" in refused(padded(32769)).message


def test_given_something_that_is_no_json_when_parsed_then_it_is_refused() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]

    assert refused(document(pad={1, 2})).reason == "bad-document"
    assert refused(document(pad=nested)).reason == "bad-document"


SECRET = "s3cr3t5ignature"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["operation", "fwversion", "size", "location", "sha256", "board", "image_index", "requires"]
)
PARTS = st.sampled_from(["url", "protocol", "host", "path"])
URL_LIKE = st.text(alphabet=string.printable + "äß\u2028[]@:/?#%${} ", max_size=30).map(
    lambda text: f"https://{text}"
)
LOCATIONS = st.dictionaries(PARTS, URL_LIKE | JSON_VALUES)


@given(JSON_VALUES | st.dictionaries(NAMES, JSON_VALUES | LOCATIONS))
def test_given_any_json_when_parsed_then_nothing_but_a_document_error_comes_out(obj: object) -> None:
    parsed = outcome(obj)

    if isinstance(parsed, DocumentError):
        assert parsed.reason in {"bad-document", "unknown-operation", "dual-path-unsupported"}
        assert len(parsed.message) < 250
    else:
        assert parse_document(parsed.to_dict()) == parsed


@given(LOCATIONS, st.text(alphabet=string.printable, max_size=10))
def test_given_any_bad_location_when_refused_then_no_secret_of_it_is_repeated(
    location: dict[str, object], tail: str
) -> None:
    signed = {part: f"{value}{tail}?X-Amz-Signature={SECRET}" for part, value in location.items()}
    parsed = outcome(document(location=signed))

    assert isinstance(parsed, JobDocument) or SECRET not in parsed.message


@given(
    st.builds(
        JobDocument,
        operation=st.sampled_from(["app_fw_update", "modem_fw_update", None]),
        fw_version=st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,5}(\+[0-9]{1,9})?", fullmatch=True)
        | st.none(),
        size_bytes=st.integers(1, 2**32 - 1) | st.none(),
        url=st.from_regex(
            r"https?://[a-z]{1,20}\.com(:8443)?/[a-zA-Z0-9._~%/-]{1,50}(\?[a-z0-9=&%]{1,50})?", fullmatch=True
        ),
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True) | st.none(),
        board=st.sampled_from(["nrf9151dk", "thingy91x/nrf9151/ns", None]),
        image_index=st.integers(0, 15),
        requires=st.builds(
            Requirements,
            modem=st.none() | st.just("2.0.2"),
            application=st.none() | st.just("1.10.0"),
            hardware=st.none() | st.just("nRF9160 SICA B1A"),
            bootloader=st.none() | st.integers(1, 2**32 - 1),
        ),
    )
)
def test_given_any_valid_document_when_written_and_read_then_it_is_the_same(valid: JobDocument) -> None:
    assert parse_document(json.loads(json.dumps(valid.to_dict()))) == valid

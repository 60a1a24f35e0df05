"""What comes from the cloud: job documents, MQTT messages, and the heads of HTTP answers."""

import json

from requests.structures import CaseInsensitiveDict

from bridge.cloud.document import MAX_DOCUMENT_CHARS, parse_document
from bridge.cloud.job_messages import JobTopics, clean_text, read_execution, read_reply, read_state
from bridge.errors import BridgeError
from bridge.fetch.answer import Ask, Body, Known, Later, read_answer
from hil_tests.fuzz.choices import Choices
from hil_tests.fuzz.target import Target

_TOPICS = JobTopics("thing")
_REPLIES = (
    _TOPICS.get("$next") + "/accepted",
    _TOPICS.update("job-1") + "/accepted",
    _TOPICS.update("job-1") + "/rejected",
)
_HEADERS = (
    "Content-Range",
    "Content-Length",
    "ETag",
    "Retry-After",
    "Location",
    "Content-Encoding",
    "Transfer-Encoding",
)
_STATUSES = (200, 206, 301, 307, 304, 400, 403, 404, 412, 416, 429, 500, 503, 599)
_SIZE_BYTES = 10_000
_ODD_VALUES: tuple[object, ...] = (
    *(
        None,
        True,
        False,
        -1,
        1.5,
        1e300,
        float("inf"),
        float("nan"),
        2**64,
        16,
        [],
        {},
        [[]],
        {"url": "http://h"},
    ),
    *(
        "",
        " ",
        "\0",
        "\ud800",
        "1" * 5000,
        "0" * 64,
        "F" * 64,
        "app_fw_update",
        "modem_fw_update",
        "${aws:iot:x}",
    ),
)
_PIECES = (
    *(
        "",
        "http",
        "https",
        ":",
        "://",
        "/",
        "//",
        "h",
        "host.example",
        "[::1]",
        "[",
        "]",
        "@",
        ":0",
        ":65536",
        "?x=1",
        "#y",
    ),
    *(
        "%",
        "%zz",
        " ",
        "\\",
        "..",
        "\N{FULLWIDTH LATIN SMALL LETTER A}",
        "xn--",
        "\N{SNOWMAN}",
        "." * 70,
        "v1.2",
        "S3",
    ),
)


def fuzz_document(data: bytes) -> None:
    """Any JSON as a job document, or one with odd values; what is accepted can be written and read again."""
    choices = Choices(data)
    if choices.flag():
        _document(_built_document(choices))
        return
    try:
        decoded: object = json.loads(choices.rest())
    except (ValueError, RecursionError):
        return
    _document(decoded)


def _built_document(choices: Choices) -> dict[str, object]:
    location = {name: _value(choices) for name in ("url", "protocol", "host", "path") if choices.flag()}
    members = ("operation", "fwversion", "size", "sha256", "board", "image_index", "requires")
    return {"location": location, **{name: _value(choices) for name in members if choices.flag()}}


def _value(choices: Choices) -> object:
    match choices.byte() % 4:
        case 0:
            return choices.of(_ODD_VALUES)
        case 1:
            return choices.of(_PIECES) + choices.piece().decode("utf-8", "replace")
        case 2:
            return choices.of(_PIECES) + choices.of(_PIECES) + choices.of(_PIECES)
        case _:
            return choices.number(choices.byte() % 10)


def _document(decoded: object) -> None:
    try:
        document = parse_document(decoded)
    except BridgeError:
        return
    assert document.url.startswith(("http://", "https://"))
    assert len(document.url) <= MAX_DOCUMENT_CHARS
    json.dumps(document.to_dict(), ensure_ascii=False).encode()
    assert parse_document(document.to_dict()) == document


def fuzz_messages(data: bytes) -> None:
    """A reply of the Jobs service, down to the document in it."""
    choices = Choices(data)
    topic = choices.of(_REPLIES)
    try:
        reply = read_reply(topic, choices.rest())
    except BridgeError:
        return
    assert reply is not None
    assert len(clean_text(reply.message + reply.code, 300)) <= 300
    try:
        read_state(reply.body)
        execution = read_execution(reply.body)
    except BridgeError:
        return
    if execution is not None:
        numbers = (execution.execution_number, execution.version_number, execution.queued_at or 0)
        assert all(0 <= number < 2**63 for number in numbers), "more than the journal can hold"
        _document(execution.document)


def fuzz_answer(data: bytes) -> None:
    """Status and headers of a download's answer; a body that is believed is what was asked for."""
    choices = Choices(data)
    start = choices.number(2)
    ask = Ask(start, start + choices.number(2) if choices.flag() else None)
    known = Known('"tag"' if choices.flag() else None, None, None, _SIZE_BYTES if choices.flag() else None)
    status = choices.of(_STATUSES)
    lines = [line.partition(b":") for line in choices.rest().split(b"\n")]
    headers = CaseInsensitiveDict(
        {name.decode("latin-1"): value.decode("latin-1") for name, _, value in lines}
    )
    try:
        verdict = read_answer(status, headers, ask, known)
    except BridgeError:
        return
    if isinstance(verdict, Body):
        assert verdict.start == (ask.start if status == 206 else 0)
        assert verdict.length is None or verdict.length >= 0
        assert ask.end is None or status == 200 or verdict.start + (verdict.length or 0) <= ask.end + 1
    if isinstance(verdict, Later):
        assert verdict.retry_after_s is None or verdict.retry_after_s >= 0


def documents() -> list[dict[str, object]]:
    """Documents as Nordic shows them, and as people write them."""
    host = {"protocol": "https:", "host": "bucket.s3.eu-central-1.amazonaws.com", "path": "app.bin"}
    return [
        {"operation": "app_fw_update", "fwversion": "v1.0.2", "size": 181124, "location": host},
        {
            "operation": "modem_fw_update",
            "size": "88",
            "location": {"url": "https://h:8443/x.bin?X-Amz-Signature=1"},
        },
        {
            "location": {"url": "http://[::1]:80/a%20b#c"},
            "sha256": "0" * 64,
            "board": "nrf9151dk",
            "image_index": 1,
        },
        {"operation": "app_fw_update", "fwversion": 3, "location": {"url": "https://h/s0.bin s1.bin"}},
    ]


def document_seeds() -> list[bytes]:
    """Documents, and text that JSON readers take although it is odd."""
    odd = (
        '{"location":{"url":"http://h/a"},"board":"\\ud800"}',
        '{"location":{"url":"http://h/a"},"fwversion":"\\udfff"}',
        '{"location":{"url":"http://h/a"},"size":1e999}',
        '{"location":{"url":"http://h\\u2100/a"}}',
        '{"location":{"protocol":"http","host":"[::1","path":"a"}}',
        "[" * 900 + "]" * 900,
    )
    raw = [json.dumps(document).encode() for document in documents()] + [text.encode() for text in odd]
    url = bytes([1, 1, 2, 2, 4, 8])
    return [b"\0" + text for text in raw] + [
        url + bytes([0, 0, 0, 1, 0, number] * 6) for number in range(len(_ODD_VALUES))
    ]


def message_seeds() -> list[bytes]:
    """Replies as AWS sends them, and odd numbers in them."""
    bodies: list[str] = []
    for document in documents():
        execution = {
            "jobId": "job-1",
            "status": "QUEUED",
            "queuedAt": 1_700_000_000,
            "lastUpdatedAt": 1_700_000_000,
            "versionNumber": 1,
            "executionNumber": 1,
            "statusDetails": {"stage": "fetch"},
            "jobDocument": document,
        }
        bodies.append(json.dumps({"clientToken": "t-1", "timestamp": 1, "execution": execution}))
    state = {"status": "IN_PROGRESS", "statusDetails": {}, "versionNumber": 2}
    bodies += [
        json.dumps({"clientToken": "t-1", "executionState": state}),
        json.dumps(
            {"clientToken": "t-1", "code": "VersionMismatch", "message": "no", "executionState": state}
        ),
        bodies[0].replace("1700000000", "1e999"),
        bodies[0].replace("1700000000", "NaN"),
        bodies[0].replace("1700000000", "1e300"),
        bodies[0].replace('"versionNumber": 1', '"versionNumber": 1' + "0" * 30),
        bodies[0].replace('"fetch"', "[" * 400 + "]" * 400),
    ]
    return [bytes([number]) + body.encode() for number in range(3) for body in bodies]


def answer_seeds() -> list[bytes]:
    """Heads as servers send them."""
    heads = (
        'Content-Range: bytes 0-99/1000\nContent-Length: 100\nETag: "tag"',
        'Content-Length: 1000\nETag: W/"weak"',
        "Content-Range: bytes */1000",
        "Retry-After: 120",
        "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",
        "Retry-After: Mon, 31 Dec 9999 23:59:59 -2359",
        "Location: https://other/x",
        "Content-Encoding: gzip",
        "Transfer-Encoding: chunked",
    )
    return [
        bytes([0, 0, 99, 0, 1, 1, 1, number]) + head.encode()
        for number in range(len(_STATUSES))
        for head in heads
    ]


TARGETS = (
    Target("job-document", fuzz_document, document_seeds, __name__),
    Target("job-messages", fuzz_messages, message_seeds, __name__),
    Target("http-answer", fuzz_answer, answer_seeds, __name__, max_bytes=1024),
)

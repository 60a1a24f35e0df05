"""SMP messages: the header's bits, both forms of CBOR lengths, and refusals."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire.smp_message import (
    ImageCommand,
    OsCommand,
    SmpFormatError,
    SmpGroup,
    SmpHeader,
    SmpMessage,
    SmpOp,
)

leaves = st.one_of(st.integers(0, 2**32), st.binary(max_size=64), st.text(max_size=20), st.booleans())
bodies = st.dictionaries(
    st.text(max_size=10), st.recursive(leaves, lambda inner: st.lists(inner, max_size=3)), max_size=5
)


@pytest.mark.parametrize(
    ("op", "version", "first"), [(SmpOp.WRITE, 0, 0x02), (SmpOp.WRITE, 1, 0x0A), (SmpOp.READ, 1, 0x08)]
)
def test_given_op_and_version_then_they_share_the_first_byte(op: SmpOp, version: int, first: int) -> None:
    data = SmpMessage(op, SmpGroup.OS, OsCommand.RESET, sequence=7, version=version).encode()
    assert data == bytes([first, 0, 0, 1, 0, 0, 7, 5, 0xA0])


@given(bodies, st.booleans(), st.integers(0, 255), st.integers(0, 3), st.integers(0, 65535))
def test_given_any_message_then_it_survives_the_wire_in_both_forms_of_cbor(
    body: dict[str, Any], indefinite: bool, sequence: int, version: int, group: int
) -> None:
    message = SmpMessage(SmpOp.WRITE, group, 1, body, sequence, version)
    assert SmpMessage.decode(message.encode(indefinite=indefinite)) == message


def test_given_the_indefinite_form_then_maps_and_arrays_are_open_ended() -> None:
    body = SmpMessage(SmpOp.READ_RESPONSE, 1, 0, {"images": [{"slot": 0}]}).encode(indefinite=True)[8:]
    assert body == bytes.fromhex("bf66696d616765739fbf64736c6f7400ffffff")


def test_given_a_request_then_the_response_repeats_group_command_and_sequence() -> None:
    request = SmpMessage(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.UPLOAD, {"off": 0}, 200, 0)
    assert request.response({"off": 5}) == SmpMessage(3, 1, 1, {"off": 5}, 200, 0)
    assert request.response({}, version=1).version == 1


def test_given_no_body_then_it_is_an_empty_map() -> None:
    assert SmpMessage.decode(bytes([0, 0, 0, 0, 0, 0, 1, 6])).body == {}


def test_given_bytes_behind_the_body_then_they_are_ignored() -> None:
    message = SmpMessage(SmpOp.READ, 0, 6)
    assert SmpMessage.decode(message.encode() + b"more") == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        bytes([0, 0, 0, 4, 0, 0, 0, 0]) + b"\xa0",
        bytes([0, 0, 0, 1, 0, 0, 0, 0]) + b"\xff",
        bytes([0, 0, 0, 1, 0, 0, 0, 0]) + cbor2.dumps(5),
        bytes([0, 0, 0, 1, 0, 0, 0, 0]) + b"\x9f",
    ],
    ids=["empty", "short-header", "short-body", "no-cbor", "no-map", "endless"],
)
def test_given_bytes_that_are_no_message_then_that_is_said(data: bytes) -> None:
    with pytest.raises(SmpFormatError) as caught:
        SmpMessage.decode(data)
    assert caught.value.reason == "bad-smp"


@given(st.binary(max_size=200))
def test_given_any_bytes_then_they_are_a_message_or_refused(data: bytes) -> None:
    try:
        SmpMessage.decode(data)
    except SmpFormatError:
        return
    SmpHeader.decode(data)

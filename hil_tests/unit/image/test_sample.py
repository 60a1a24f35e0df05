"""The formats of sample images: behaviour block and delta look-alike."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ImageRefusedError
from bridge.image import inspect_bytes
from bridge.image.sample import (
    BEHAVIOUR_MAGIC,
    DELTA_HEADER_BYTES,
    decode_modem_delta,
    encode_behaviour,
    encode_modem_delta,
    find_behaviour,
)

BEHAVIOURS = st.fixed_dictionaries(
    {},
    optional={
        "confirm": st.booleans(),
        "crash_loop": st.booleans(),
        "ready_delay_ms": st.integers(0, 100_000),
        "registers": st.booleans(),
    },
)
UUID_A, UUID_B = "25c95751-efa4-40d4-8b4a-1dcaab81fac9", "504d5632-3739-42fb-80c8-1411df972166"


@given(BEHAVIOURS, st.binary(max_size=200), st.binary(max_size=200))
def test_given_a_block_anywhere_then_it_is_found(
    behaviour: dict[str, bool | int], before: bytes, after: bytes
) -> None:
    assert find_behaviour(before + encode_behaviour(behaviour) + after) == behaviour


def test_given_a_block_then_its_layout_is_as_documented() -> None:
    assert encode_behaviour({"confirm": False}) == b'NRF91-BRIDGE-BEHAVIOUR\0\x11\x00{"confirm":false}'


@given(st.binary(max_size=100))
def test_given_no_block_then_none_is_found(payload: bytes) -> None:
    assert find_behaviour(payload) is None


@pytest.mark.parametrize(
    "broken",
    [
        BEHAVIOUR_MAGIC,
        BEHAVIOUR_MAGIC + b"\x10",
        BEHAVIOUR_MAGIC + b"\x10\x00{}",
        BEHAVIOUR_MAGIC + b"\x02\x00[]",
        BEHAVIOUR_MAGIC + b"\x02\x00\xff\xff",
        BEHAVIOUR_MAGIC + b"\xff\xff" + b" " * 0xFFFD + b"{}",
    ],
)
def test_given_a_broken_block_then_the_search_goes_on(broken: bytes) -> None:
    assert find_behaviour(broken) is None
    assert find_behaviour(broken + b"pad" * 20 + encode_behaviour({"confirm": True})) == {"confirm": True}


def test_given_very_many_broken_blocks_then_the_search_ends() -> None:
    assert find_behaviour(BEHAVIOUR_MAGIC * 1000 + encode_behaviour({"confirm": True})) is None


def test_given_unknown_keys_or_wrong_types_then_they_are_left_out() -> None:
    text = json.dumps({"confirm": 1, "ready_delay_ms": True, "registers": False, "later": "x"}).encode()
    block = BEHAVIOUR_MAGIC + len(text).to_bytes(2, "little") + text
    assert find_behaviour(block) == {"registers": False}
    for wrong in ({"confirm": 1}, {"later": True}, {"ready_delay_ms": -1}):
        with pytest.raises(ValueError, match="behaviour"):
            encode_behaviour(wrong)


def test_given_a_look_alike_then_it_decodes_to_what_was_encoded() -> None:
    data = encode_modem_delta(
        base_uuid=UUID_A,
        target_uuid=UUID_B,
        base_version="2.0.1",
        target_version="2.0.2-FOTA-TEST",
        payload=b"patch",
        result=71_303_171,
    )
    delta = decode_modem_delta(data)
    assert delta is not None
    assert (delta.base_uuid, delta.target_uuid, delta.result) == (UUID_A, UUID_B, 71_303_171)
    assert (delta.base_version, delta.target_version) == ("2.0.1", "2.0.2-FOTA-TEST")
    assert (delta.payload, delta.payload_size_bytes) == (b"patch", 5)
    assert delta.payload_sha256 == hashlib.sha256(b"patch").hexdigest()
    assert len(data) == DELTA_HEADER_BYTES + 5
    assert data[4:8] == b"meDu"
    assert b"no Nordic file" in data[:80]


def test_given_a_look_alike_then_the_inspector_says_so_and_takes_versions_from_the_name_only() -> None:
    data = encode_modem_delta(
        base_uuid=UUID_A,
        target_uuid=UUID_B,
        base_version="9.9.9",
        target_version="9.9.10",
        payload=b"p" * 500,
    )
    image = inspect_bytes(data, "mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin")
    assert image.modem_delta is not None
    assert image.modem_delta.look_alike
    assert image.version == "2.0.2"


@given(st.binary(max_size=400))
def test_given_anything_else_then_it_is_no_look_alike(data: bytes) -> None:
    assert decode_modem_delta(data) is None
    assert decode_modem_delta(b"\0\0\0\0meDu\x01\x00\xd4\x00".ljust(300, b"\0")) is None


def test_given_a_version_that_does_not_fit_then_it_is_said() -> None:
    for version in ("1" * 32, "2.0.é"):
        with pytest.raises(ValueError, match="version"):
            encode_modem_delta(
                base_uuid=UUID_A, target_uuid=UUID_B, base_version=version, target_version="1", payload=b""
            )


def test_given_a_real_looking_delta_then_it_is_no_look_alike() -> None:
    image = inspect_bytes(b"\0\0\0\0meDu" + bytes(1000))
    assert image.modem_delta is not None
    assert not image.modem_delta.look_alike
    with pytest.raises(ImageRefusedError):
        inspect_bytes(b"\0\0\0\0meDx" + bytes(1000))

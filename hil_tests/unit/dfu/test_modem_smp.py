"""Full modem updates over SMP, message by message: what is sent, what is never sent twice, what is read back."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bridge.board.smp_board import SmpBoard
from bridge.dfu import TransferImage
from bridge.dfu.modem_smp import ModemSmpTarget
from bridge.dfu.modem_smp_client import ModemSmpClient, ModemSmpLimits
from bridge.dfu.transfer import TransferStep, transfer
from bridge.errors import BoardRefusedError, BridgeError, LinkError, UsageError, VerificationError
from bridge.image import BytesSource, ImageKind, inspect_bytes
from bridge.image.modem_full import ModemFullInfo
from bridge.image.package_info import DigestRange
from hil_tests.unit.dfu.fake_fmfu_server import FakeFmfuServer
from hil_tests.unit.image.build import modem_full

LOADER, FIRST, SECOND = (0x2000_0000, 3000), (0x6000, 9000), (0x5_0000, 500)
FILE = modem_full(3000, 9000, 500, segments=[*LOADER, *FIRST, *SECOND])
FULL = inspect_bytes(FILE, "mfw_nrf91x1_2.0.3.cbor").modem_full
assert FULL is not None
FILES = [(0x2000_0000, bytes(3000)), (0x6000, b"\1" * 9000), (0x5_0000, b"\2" * 500)]
FIRST_FIRMWARE_UPLOAD = 7  # the loader takes seven packets
LAST_OF_FIRST = FIRST_FIRMWARE_UPLOAD + 19


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.dfu.modem_smp_client._WRITE_TIMEOUT_S", 0.2)
    monkeypatch.setattr("bridge.dfu.modem_smp_client._LAST_WRITE_TIMEOUT_S", 0.2)
    monkeypatch.setattr("bridge.board.smp_board._RESET_DELAY_S", 0.05)


@contextmanager
def bench() -> Iterator[tuple[FakeFmfuServer, SmpBoard, ModemSmpTarget]]:
    with FakeFmfuServer() as server, SmpBoard.open(server.path, baud=1_000_000) as board:
        yield server, board, ModemSmpTarget(board)


def image(info: ModemFullInfo | None = FULL) -> TransferImage:
    return TransferImage(ImageKind.MODEM_FULL, len(FILE), modem_full=info)


def run_all(target: ModemSmpTarget, info: ModemFullInfo | None = FULL) -> list[TransferStep]:
    return list(transfer(target, BytesSource(FILE, "mfw.cbor"), image(info)))


def released(server: FakeFmfuServer, *, wrong: bool = False) -> ModemFullInfo:
    """What a release says that the modem holds in the end."""
    salt = b"!" if wrong else b""
    ranges = tuple(
        DigestRange(address, address + len(data) - 1, server.digest_of(data + salt).hex())
        for address, data in FILES[1:]
    )
    assert FULL is not None
    return replace(FULL, ranges=ranges)


# --- the sequence ------------------------------------------------------------------------------------------


def test_each_segment_is_a_file_of_its_own_with_size_offsets_and_addresses() -> None:
    with bench() as (server, _, target):
        steps = run_all(target)
        target.schedule()
        assert server.files == FILES
        assert server.starts == 1  # a loader is taken once only
        firsts = [body for body in server.uploads if body["off"] == 0]
        assert [(body["len"], body["addr"]) for body in firsts] == [
            (size, address) for address, size in (LOADER, FIRST, SECOND)
        ]
        assert all("len" not in body for body in server.uploads if body["off"])
        assert all(body["addr"] == firsts[1]["addr"] + body["off"] for body in server.uploads[7:26])
    assert steps[-1].done_bytes == len(FILE)
    assert target.in_place
    assert target.read_back is not None
    assert (target.read_back.matched, target.read_back.proven, target.read_back.from_release) == (
        2,
        True,
        False,
    )


def test_lines_and_packets_are_as_large_as_the_server_says() -> None:
    with bench() as (server, _, target):
        run_all(target)
        assert server.longest_line <= 512
        assert 500 <= server.longest_message <= 504
        assert len(server.uploads) == LAST_OF_FIRST + 3


@pytest.mark.parametrize("limits", [None, {}, {"frame_max": 127, "pack_max": 252}])
def test_a_server_that_does_not_say_gets_lines_of_the_standard(limits: dict[str, int] | None) -> None:
    with bench() as (server, _, target):
        server.limits = limits
        run_all(target)
        assert server.files == FILES
        assert server.longest_line <= 126
        assert server.longest_message <= 252


def test_the_client_knows_the_limits_and_whether_the_commands_are_there() -> None:
    with bench() as (server, board, _):
        client = ModemSmpClient(board.client)
        assert client.limits() == ModemSmpLimits(504, 504)
        assert client.is_offered()
        server.groups.discard(65)
        assert not client.is_offered()


@pytest.mark.parametrize("info", [None, inspect_bytes(modem_full(3000), "x.cbor").modem_full])
def test_what_is_no_whole_modem_image_is_a_usage_error(info: ModemFullInfo | None) -> None:
    with bench() as (server, _, target):
        with pytest.raises(UsageError):
            target.begin(image(info))
        assert server.starts == 0


# --- nothing is sent twice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 3, FIRST_FIRMWARE_UPLOAD, FIRST_FIRMWARE_UPLOAD + 5, LAST_OF_FIRST])
def test_a_request_that_is_lost_means_a_new_start_of_the_board_and_the_loader(number: int) -> None:
    with bench() as (server, _, target):
        server.lost_requests = {number}
        steps = run_all(target)
        target.schedule()
        assert server.starts == 2
        assert server.files == FILES
        assert {step.attempt for step in steps} == {1, 2}


@pytest.mark.parametrize("number", [0, 6, FIRST_FIRMWARE_UPLOAD, FIRST_FIRMWARE_UPLOAD + 5])
def test_an_answer_that_is_lost_means_the_same_and_no_packet_comes_twice(number: int) -> None:
    with bench() as (server, _, target):
        server.lost_answers = {number}
        run_all(target)
        assert server.starts == 2
        offsets = [(body["addr"], body["off"]) for body in server.uploads]
        assert len(set(offsets)) == len(offsets)
        assert server.files == FILES


def test_behind_the_last_packet_of_a_run_its_digest_tells_that_only_the_answer_was_lost() -> None:
    with bench() as (server, _, target):
        server.lost_answers = {LAST_OF_FIRST}
        run_all(target)
        assert server.starts == 1
        assert server.files == FILES


def test_that_digest_is_the_release_s_where_the_file_is_encrypted() -> None:
    with bench() as (server, _, target):
        server.encrypted, server.lost_answers = True, {LAST_OF_FIRST}
        run_all(target, released(server))
        assert server.starts == 1
    with bench() as (server, _, target):
        server.encrypted, server.lost_answers = True, {LAST_OF_FIRST}
        run_all(target)
        assert server.starts == 2  # nobody can tell


@pytest.mark.parametrize("answer", [{"rc": 6}, {"rc": 200}, {"rc": 0, "off": 3}, {"rc": 0}])
def test_a_refusal_means_a_new_start_and_in_the_end_a_failure(answer: dict[str, int]) -> None:
    with bench() as (server, _, target):
        server.bad_uploads = {FIRST_FIRMWARE_UPLOAD: answer}
        run_all(target)
        assert (server.starts, server.files) == (2, FILES)
    with bench() as (server, _, target):
        server.bad_uploads = dict.fromkeys(range(100), answer)
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target)
        assert caught.value.reason == "write-failed"
        assert server.starts == 3


def test_a_server_that_falls_silent_is_given_up() -> None:
    with bench() as (server, _, target):
        server.lost_requests = set(range(100))
        with pytest.raises(LinkError) as caught:
            run_all(target)
        assert caught.value.reason == "bytes-lost"


# --- reading back ------------------------------------------------------------------------------------------


def test_the_release_s_digests_are_what_counts() -> None:
    with bench() as (server, _, target):
        server.encrypted = True
        run_all(target, released(server))
        assert target.read_back is not None
        assert (target.read_back.matched, target.read_back.proven, target.read_back.from_release) == (
            2,
            True,
            True,
        )


def test_another_digest_than_the_release_s_is_a_failure() -> None:
    with bench() as (server, _, target):
        with pytest.raises(VerificationError) as caught:
            run_all(target, released(server, wrong=True))
        assert caught.value.reason == "digest-mismatch"


def test_encrypted_firmware_without_a_release_proves_nothing() -> None:
    with bench() as (server, _, target):
        server.encrypted = True
        run_all(target)
        assert target.read_back is not None
        assert (target.read_back.unknown, target.read_back.proven) == (2, False)


def test_one_range_that_differs_where_the_other_agrees_is_a_failure_without_a_release_too() -> None:
    with bench() as (server, _, target):

        def other_second(data: bytes) -> bytes:
            return hashlib.sha256(data if len(data) == 9000 else data + b"!").digest()

        server.digest_of = other_second  # type: ignore[method-assign]
        with pytest.raises(VerificationError):
            run_all(target)


def test_a_digest_that_the_server_cuts_off_is_compared_as_far_as_it_goes() -> None:
    with bench() as (server, _, target):
        server.digest_bytes = 8
        run_all(target)
        assert target.read_back is not None
        assert (target.read_back.proven, target.read_back.shortest_bytes) == (True, 8)
    with bench() as (server, _, target):
        server.digest_bytes = 4
        with pytest.raises(LinkError) as caught:
            run_all(target)
        assert caught.value.reason == "bad-answer"


def test_ranges_without_a_digest_are_counted_and_prove_nothing() -> None:
    assert FULL is not None
    ranges = (DigestRange(0x5960_2000, 0x5960_2937, "00" * 32),)
    with bench() as (_, _, target):
        run_all(target, replace(FULL, ranges=ranges))
        assert target.read_back is not None
        assert (target.read_back.unreadable, target.read_back.proven) == (1, False)


# --- stopping ----------------------------------------------------------------------------------------------


def stopped_in(target: ModemSmpTarget, done_bytes: int) -> None:
    for step in transfer(target, BytesSource(FILE, "mfw.cbor"), image()):
        if step.done_bytes >= done_bytes:
            return


def test_a_stop_before_the_firmware_restarts_the_board() -> None:
    with bench() as (server, board, target):
        stopped_in(target, FULL.wrapper_size_bytes + 3000 if FULL else 0)
        target.abort()
        target.abort()
        board.client.image_states()
        assert server.starts == 2


def test_a_stop_in_the_firmware_says_what_the_modem_needs() -> None:
    with bench() as (server, _, target):
        stopped_in(target, 8000)
        with pytest.raises(BoardRefusedError) as caught:
            target.abort()
        assert (caught.value.reason, server.starts) == ("modem-incomplete", 1)
        with pytest.raises(BridgeError):
            target.finish()

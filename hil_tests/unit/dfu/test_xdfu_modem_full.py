"""``#XDFU`` type 2 byte by byte: the sequence, and what happens when bytes are lost or the modem refuses."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bridge.board import Board
from bridge.dfu import TransferImage, XdfuModemFullTarget, XdfuTiming
from bridge.dfu.transfer import TransferStep, transfer
from bridge.errors import BoardRefusedError, LinkError, UsageError
from bridge.image import BytesSource, ImageKind, inspect_bytes
from hil_tests.unit.dfu.fake_modem_bootloader import FakeModemBootloader
from hil_tests.unit.dfu.xdfu_bench import LoseBytes
from hil_tests.unit.image.build import modem_full

QUICK = XdfuTiming(command_s=0.3, flash_bytes_per_s=1_000_000, margin_s=0.3, schedule_s=1.5, recovery_s=30)
CHUNK = 32 * 1024
LOADER, FIRST, SECOND = (0x2000_0000, 3000), (0x6000, 40_000), (0x5_0000, 500)
NUMBERS = [*LOADER, *FIRST, *SECOND]
FILE = modem_full(3000, 40_000, 500, segments=NUMBERS)
IMAGE = inspect_bytes(FILE, "mfw_nrf91x1_2.0.3.cbor")
assert IMAGE.modem_full is not None
WRAPPER = IMAGE.modem_full.wrapper_size_bytes
LOADER_BYTES, FIRST_BYTES, SECOND_BYTES = bytes(3000), b"\1" * 40_000, b"\2" * 500
WRITES = [
    (0x2000_0000, LOADER_BYTES),
    (0x6000, FIRST_BYTES[:CHUNK]),
    (0x6000 + CHUNK, FIRST_BYTES[CHUNK:]),
    (0x5_0000, SECOND_BYTES),
]


@pytest.fixture(autouse=True)
def quick_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.bootloader_mode._REFUSAL_S", 0.1)
    monkeypatch.setattr("bridge.board.boot._PROBE_EVERY_S", 0.3)
    monkeypatch.setattr("bridge.dfu.xdfu_modem_full._POLL_S", 0.1)


@contextmanager
def bench(
    *, talkative: bool = False, supported: bool = True
) -> Iterator[tuple[FakeModemBootloader, Board, XdfuModemFullTarget]]:
    with (
        FakeModemBootloader(talkative=talkative, supported=supported) as modem,
        Board.open(modem.path, baud=1_000_000) as board,
    ):
        modem.received.clear()
        modem.commands.clear()
        yield modem, board, XdfuModemFullTarget(board, timing=QUICK)


def run_all(target: XdfuModemFullTarget) -> list[TransferStep]:
    image = TransferImage(ImageKind.MODEM_FULL, len(FILE), modem_full=IMAGE.modem_full)
    return list(transfer(target, BytesSource(FILE, "mfw.cbor"), image))


def mode_of(modem: FakeModemBootloader) -> str:
    """As a function, because a checked attribute is taken to stay as it is."""
    return "data" if modem.in_data_mode else "bootloader" if modem.bootloader_mode else "normal"


def xdfu_commands(modem: FakeModemBootloader) -> list[str]:
    return [command for command in modem.commands if "#X" in command]


# --- the sequence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("talkative", [False, True])
def test_loader_and_firmware_go_where_they_belong_with_exactly_these_commands(talkative: bool) -> None:
    with bench(talkative=talkative) as (modem, board, target):
        steps = run_all(target)
        target.schedule()
        assert xdfu_commands(modem) == [
            "AT#XDFUINIT=2",
            "AT#XDFUWRITE=2,536870912,3000",
            "AT#XDFUAPPLY=2",
            "AT#XDFUWRITE=2,24576,32768",
            "AT#XDFUWRITE=2,57344,7232",
            "AT#XDFUWRITE=2,327680,500",
            "AT#XDFUAPPLY=2",
        ]
        assert modem.writes == WRITES
        # Right behind the data an AT, answered ERROR here, makes the status come; and never a LF.
        assert LOADER_BYTES + b"AT\r" in bytes(modem.received)
        assert b"\n" not in bytes(modem.received)
        assert not modem.bootloader_mode
        assert board.identify().modem_version == "mfw_nrf91x1_2.0.2"
    assert steps[-1].done_bytes == len(FILE)
    assert target.in_place


def test_a_chunk_is_never_offered_past_the_end_of_a_segment() -> None:
    with bench() as (_, _, target):
        target.begin(TransferImage(ImageKind.MODEM_FULL, len(FILE), modem_full=IMAGE.modem_full))
        assert target.chunk_size_bytes == 3000


def test_a_writer_that_ignores_segments_is_cut_at_them() -> None:
    with bench() as (modem, _, target):
        start = target.begin(TransferImage(ImageKind.MODEM_FULL, len(FILE), modem_full=IMAGE.modem_full))
        assert start == WRAPPER
        target.write(FILE[start:])
        target.finish()
        assert modem.writes == WRITES


def test_a_firmware_that_was_built_without_it_refuses_before_anything_changes() -> None:
    with bench(supported=False) as (modem, _, target):
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target)
        assert caught.value.reason == "not-supported"
        assert "CONFIG_SM_DFU_MODEM_FULL" in (caught.value.hint or "")
        assert modem.starts == 0
        target.abort()


@pytest.mark.parametrize(
    "image",
    [
        TransferImage(ImageKind.MODEM_FULL, 100),
        TransferImage(ImageKind.APPLICATION, 100, modem_full=IMAGE.modem_full),
        TransferImage(
            ImageKind.MODEM_FULL, 4000, modem_full=inspect_bytes(modem_full(3000), "x.cbor").modem_full
        ),
    ],
)
def test_what_is_no_whole_modem_image_is_a_usage_error(image: TransferImage) -> None:
    with bench() as (modem, _, target):
        with pytest.raises(UsageError):
            target.begin(image)
        assert modem.commands == []


def test_a_board_that_waits_in_bootloader_mode_is_taken_up_from_the_loader_on() -> None:
    with FakeModemBootloader() as modem:
        modem.alive, modem.bootloader_mode, modem.firmware_is_next = False, True, True
        with Board.open(modem.path, baud=1_000_000) as board:
            identity = board.identify()
            assert (identity.firmware, identity.modem_bootloader) == ("serial-modem", True)
            assert identity.modem_version is None
            target = XdfuModemFullTarget(board, timing=QUICK)
            run_all(target)
            target.schedule()
            assert modem.writes == WRITES
            assert board.identify().modem_version == "mfw_nrf91x1_2.0.2"


def test_a_start_message_that_noise_spoilt_is_made_up_for_by_asking() -> None:
    with bench() as (modem, _, target):
        modem.silent_starts = {0, 1}
        run_all(target)
        target.schedule()
        assert modem.writes == WRITES
        assert not modem.bootloader_mode


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "start", "count"),
    [(0, 0, 1), (0, 2000, 64), (1, 100, 1), (1, CHUNK - 2, 2), (3, 0, 3), (3, 499, 1)],
)
def test_bytes_lost_anywhere_mean_a_new_start_from_the_loader(number: int, start: int, count: int) -> None:
    with bench() as (modem, board, target):
        board.link.outgoing_hook = LoseBytes(number, start, count)
        steps = run_all(target)
        target.schedule()
        assert modem.starts == 2
        assert b"".join(data for _, data in modem.writes) == LOADER_BYTES + FIRST_BYTES + SECOND_BYTES
        assert {step.attempt for step in steps} == {1, 2}
        assert not modem.in_data_mode


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_write_that_the_modem_refuses_means_a_new_start(number: int) -> None:
    with bench() as (modem, _, target):
        modem.failing_writes = {number}
        run_all(target)
        target.schedule()
        assert modem.starts == 2
        assert b"".join(data for _, data in modem.writes) == LOADER_BYTES + FIRST_BYTES + SECOND_BYTES


def test_a_loader_that_the_modem_never_starts_is_given_up_and_the_board_works_as_before() -> None:
    with bench() as (modem, board, target):
        modem.failing_applies = {0, 1, 2}
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target)
        assert caught.value.reason == "write-failed"
        assert (modem.starts, len(modem.writes)) == (3, 1)
        target.abort()
        assert not modem.bootloader_mode
        assert board.identify().modem_version == "mfw_nrf91x1_2.0.2"


def test_last_bytes_that_the_modem_refuses_are_a_failure_and_not_an_end() -> None:
    with bench() as (modem, _, target):
        modem.failing_applies = {1}
        run_all(target)
        with pytest.raises(BoardRefusedError) as caught:
            target.schedule()
        assert caught.value.reason == "write-failed"


def test_a_last_apply_that_was_not_heard_is_said_again() -> None:
    with bench() as (modem, _, target):
        modem.deaf_applies = {1}
        run_all(target)
        target.schedule()
        assert xdfu_commands(modem).count("AT#XDFUAPPLY=2") == 3
        assert not modem.bootloader_mode


def test_a_board_that_never_hears_the_last_apply_is_given_up() -> None:
    with bench() as (modem, _, target):
        modem.deaf_applies = {1, 2}
        run_all(target)
        with pytest.raises(LinkError) as caught:
            target.schedule()
        assert caught.value.reason == "no-answer"
        with pytest.raises(BoardRefusedError) as left:
            target.abort()
        assert left.value.reason == "modem-incomplete"


# --- stopping ----------------------------------------------------------------------------------------------


def stopped_in(target: XdfuModemFullTarget, done_bytes: int) -> None:
    image = TransferImage(ImageKind.MODEM_FULL, len(FILE), modem_full=IMAGE.modem_full)
    for step in transfer(target, BytesSource(FILE, "mfw.cbor"), image):
        if step.done_bytes >= done_bytes:
            return


def test_a_stop_before_the_first_firmware_byte_leaves_the_modem_as_it_was() -> None:
    with bench() as (modem, board, target):
        stopped_in(target, WRAPPER + 3000)
        assert mode_of(modem) == "bootloader"
        target.abort()
        assert mode_of(modem) == "normal"
        assert board.identify().modem_version == "mfw_nrf91x1_2.0.2"


def test_a_stop_after_it_says_that_the_modem_needs_its_firmware_and_leaves_the_board_ready_for_it() -> None:
    with bench() as (modem, _, target):
        stopped_in(target, WRAPPER + 3000 + CHUNK)
        with pytest.raises(BoardRefusedError) as caught:
            target.abort()
        assert caught.value.reason == "modem-incomplete"
        assert "again" in (caught.value.hint or "")
        # A reset with half a firmware could leave a board that does not even come up in bootloader mode.
        assert "AT#XRESET" not in modem.commands
        assert modem.bootloader_mode


def test_a_stop_in_the_middle_of_a_chunk_leads_out_of_data_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bench() as (modem, board, target):
        board.link.outgoing_hook = LoseBytes(1, 5, 1000)
        stopped_in(target, WRAPPER + 3000)
        original: Callable[..., None] = board.at.send_then_command

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(board.at, "send_then_command", killed)
        with pytest.raises(KeyboardInterrupt):
            target.write(FIRST_BYTES[:CHUNK])
        monkeypatch.setattr(board.at, "send_then_command", original)
        assert mode_of(modem) == "data"
        with pytest.raises(BoardRefusedError):
            target.abort()
        assert mode_of(modem) == "bootloader"
        assert re.search(r"AT\r$", bytes(modem.received).decode("latin-1"))


def test_a_target_that_did_nothing_has_nothing_to_undo() -> None:
    with bench() as (modem, _, target):
        target.abort()
        assert modem.commands == []

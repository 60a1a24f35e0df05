"""``#XDFU`` byte by byte: the sequence, and what happens when bytes are lost or writes fail."""

import re

import pytest

from bridge.dfu import DfuTarget, TransferImage, TransferRestartError
from bridge.dfu.transfer import transfer
from bridge.dfu.xdfu_tuning import CHUNK_WITH_FLOW_CONTROL_BYTES
from bridge.errors import BoardRefusedError, LinkError, UsageError
from bridge.image import BytesSource, ImageKind
from hil_tests.unit.board.scripted_peer import OK
from hil_tests.unit.dfu.xdfu_bench import CHUNK, IMAGE, LoseBytes, bench, run_all

# --- the sequence ------------------------------------------------------------------------------------------


def test_an_image_is_written_and_scheduled_with_exactly_these_bytes() -> None:
    with bench() as (modem, _, target):
        steps = run_all(target)
        target.schedule()
        # First with a page more, to see whether the trailer has room.
        expected = b"AT#XDFUINIT=0,80896\rAT#XDFUINIT=0,76800\r"
        for offset in range(0, len(IMAGE), CHUNK):
            chunk = IMAGE[offset : offset + CHUNK]
            # A bare CR: a LF behind it would be the first byte of the image.
            expected += f"AT#XDFUWRITE=0,{offset},{len(chunk)}\r".encode() + chunk + b"AT\r"
        expected += b"AT#XDFUAPPLY=0\r"
        assert bytes(modem.received) == expected
        assert modem.sessions == [IMAGE]
        assert modem.scheduled == [0]
    assert [step.done_bytes for step in steps] == [0, CHUNK, 2 * CHUNK, len(IMAGE)]
    assert {(step.attempt, step.total_bytes) for step in steps} == {(1, len(IMAGE))}
    assert steps[-1].rate_bytes_per_s > 0


@pytest.mark.parametrize("size", [1, 3, CHUNK - 1, CHUNK, CHUNK + 1])
def test_images_of_every_size_around_a_chunk_arrive_whole(size: int) -> None:
    with bench() as (modem, _, target):
        run_all(target, IMAGE[:size])
        assert modem.sessions == [IMAGE[:size]]


def test_without_flow_control_a_chunk_fits_what_data_mode_collects_and_after_a_loss_the_uarts_buffers() -> (
    None
):
    with bench(flow_control=False) as (modem, board, target):
        lost = iter([True])

        def lose_once(data: bytes) -> bytes:
            return data[:-100] if len(data) > 1000 and next(lost, False) else data

        board.link.outgoing_hook = lose_once
        run_all(target, IMAGE[:9000])
        assert modem.sessions[-1] == IMAGE[:9000]
        sizes = [int(size) for size in re.findall(rb"AT#XDFUWRITE=0,\d+,(\d+)\r", bytes(modem.received))]
        assert sizes[0] == 4096
        assert max(sizes[1:]) + len(b"AT\r") <= 2 * 256


def test_urcs_in_between_change_nothing() -> None:
    with bench() as (modem, board, target):
        modem.answers["AT"] = (
            '\r\n+CEREG: 2,"084D"\r\nOK is not a result here\r\n' + OK + "#XMODEM: FAULT,0x1,0x2\r\n"
        )
        run_all(target)
        assert modem.sessions == [IMAGE]
        assert board.at.take_urcs("+CEREG")


def test_a_stale_status_is_not_taken_for_the_new_one() -> None:
    with bench() as (modem, board, target):
        target.begin(TransferImage(ImageKind.APPLICATION, 10))
        modem.send("#XDFU: 0,1,-1\r\n#XDATAMODE: 0\r\n")
        board.at.flush_urcs()
        target.write(b"0123456789")
        assert modem.sessions == [b"0123456789"]


def test_a_doubled_ok_is_not_taken_for_the_end_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench() as (modem, _, target):
        original = modem._xdfuwrite
        monkeypatch.setattr(modem, "_xdfuwrite", lambda *numbers: original(*numbers) + OK)
        run_all(target)
        assert modem.sessions == [IMAGE]


# --- lost bytes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "count"), [(0, 1), (CHUNK - 3, 3), (CHUNK, 3), (7, 4), (5, 700)])
def test_when_bytes_are_lost_the_board_is_filled_up_and_everything_starts_again(
    start: int, count: int
) -> None:
    with bench() as (modem, board, target):
        board.link.outgoing_hook = LoseBytes(1, start, count)
        steps = run_all(target)
        assert len(modem.sessions) == 2
        assert modem.sessions[-1] == IMAGE
        assert not modem.in_data_mode
        assert [step.attempt for step in steps if step.done_bytes == 0] == [1, 2]
        assert "again" in str(next(step.notice for step in steps if step.attempt == 2))
        assert target.chunk_size_bytes < CHUNK


def test_a_chunk_is_never_sent_twice_within_a_session() -> None:
    with bench() as (modem, board, target):
        board.link.outgoing_hook = LoseBytes(1, 10, 5)
        run_all(target)
        offsets: list[int] = []
        for command in modem.commands:
            if command.startswith("AT#XDFUINIT"):
                offsets.clear()
            if match := re.match(r"AT#XDFUWRITE=0,(\d+),", command):
                assert int(match[1]) not in offsets
                offsets.append(int(match[1]))


def test_when_the_ok_of_a_write_is_lost_the_board_is_led_out_of_data_mode() -> None:
    with bench() as (modem, _, target):
        modem.lose_ok_of_write = {0}
        run_all(target, IMAGE[:3000])
        assert len(modem.sessions) == 2
        assert modem.sessions[-1] == IMAGE[:3000]


def test_when_a_whole_chunk_is_lost_the_board_is_filled_up() -> None:
    with bench() as (modem, board, target):
        board.link.outgoing_hook = LoseBytes(0, 0, 3003)
        run_all(target, IMAGE[:3000])
        assert modem.sessions[-1] == IMAGE[:3000]
        assert len(modem.sessions[0]) == 3000


def test_when_the_write_command_itself_is_lost_everything_starts_again() -> None:
    with bench() as (modem, board, target):
        lost = iter([True])
        board.link.outgoing_hook = lambda data: b"" if b"XDFUWRITE" in data and next(lost, False) else data
        run_all(target)
        assert modem.sessions[-1] == IMAGE


def test_when_the_status_is_lost_everything_starts_again() -> None:
    with bench() as (modem, _, target):
        modem.lose_status = True
        target.begin(TransferImage(ImageKind.APPLICATION, 10))
        with pytest.raises(TransferRestartError) as caught:
            target.write(b"0123456789")
        assert (caught.value.reason, caught.value.offset, caught.value.exit_code) == ("bytes-lost", 0, 4)


def test_when_bytes_are_lost_every_time_the_transfer_gives_up_and_the_board_is_usable() -> None:
    with bench() as (modem, board, target):
        board.link.outgoing_hook = lambda data: data[:-10] if len(data) > 300 and data[0] != 0xFF else data
        with pytest.raises(LinkError) as caught:
            run_all(target, IMAGE[:3000])
        assert type(caught.value) is LinkError
        assert (caught.value.reason, len(modem.sessions)) == ("bytes-lost", 3)
        assert board.at.command("AT") == []


def test_when_the_board_never_comes_out_of_data_mode_it_is_told() -> None:
    with bench() as (modem, board, target):
        target.begin(TransferImage(ImageKind.APPLICATION, 1000))
        board.link.outgoing_hook = lambda data: b"" if b"XDFU" not in data else data
        with pytest.raises(LinkError) as caught:
            target.write(b"x" * 1000)
        assert caught.value.reason == "wedged"
        assert modem.in_data_mode


def test_when_the_port_is_lost_the_transfer_ends_at_once() -> None:
    with bench() as (modem, _, target):
        steps = transfer(
            target, BytesSource(IMAGE, "image.bin"), TransferImage(ImageKind.APPLICATION, len(IMAGE))
        )
        next(steps)
        next(steps)
        modem.stop()
        with pytest.raises(LinkError) as caught:
            next(steps)
        assert caught.value.reason == "link-lost"


def test_when_the_board_takes_nothing_for_long_the_write_ends_and_everything_starts_again() -> None:
    with bench() as (modem, board, target):
        target.begin(TransferImage(ImageKind.APPLICATION, len(IMAGE)))

        def stall(data: bytes) -> bytes:
            if len(data) > 300:
                board.link.outgoing_hook = None
                raise LinkError("the board took only 5 of 10 bytes", reason="write-timeout", offset=5)
            return data

        board.link.outgoing_hook = stall
        with pytest.raises(TransferRestartError) as caught:
            target.write(IMAGE[:1000])
        assert caught.value.reason == "bytes-lost"
        assert not modem.in_data_mode


# --- reported failures -------------------------------------------------------------------------------------


def test_a_reported_failure_starts_everything_again() -> None:
    with bench() as (modem, _, target):
        modem.failing_writes = {1}
        run_all(target)
        assert len(modem.sessions) == 2
        assert modem.sessions[-1] == IMAGE


def test_a_failure_reported_every_time_is_the_boards_refusal() -> None:
    with bench() as (modem, _, target):
        modem.failing_writes = set(range(100))
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target)
        assert (caught.value.reason, caught.value.exit_code, caught.value.offset) == ("write-failed", 6, 0)


def test_an_image_that_does_not_fit_is_refused_as_too_large() -> None:
    with bench() as (modem, _, target):
        modem.slot_bytes = 50_000
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target)
        assert caught.value.reason == "too-large"


def test_firmware_without_xdfu_is_not_supported() -> None:
    with bench() as (modem, _, target):
        modem.slot_bytes = -1
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target)
        assert caught.value.reason == "not-supported"


def test_other_kinds_are_a_usage_error() -> None:
    with bench() as (_, _, target), pytest.raises(UsageError):
        target.begin(TransferImage(ImageKind.MODEM_FULL, 10))


def test_an_incomplete_image_is_not_scheduled() -> None:
    with bench() as (modem, _, target):
        target.begin(TransferImage(ImageKind.APPLICATION, 20))
        target.write(b"0123456789")
        for step in (target.finish, target.schedule):
            with pytest.raises(LinkError) as caught:
                step()
            assert (caught.value.reason, caught.value.offset) == ("incomplete", 10)
        assert modem.scheduled == []


def test_a_refused_schedule_is_the_boards_refusal() -> None:
    with bench() as (modem, _, target):
        modem.refuse_apply = True
        run_all(target)
        with pytest.raises(BoardRefusedError) as caught:
            target.schedule()
        assert caught.value.reason == "schedule-refused"


def test_a_schedule_without_a_result_is_a_link_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench() as (modem, _, target):
        run_all(target)
        monkeypatch.setattr(modem, "_xdfuapply", lambda kind: OK)
        with pytest.raises(LinkError) as caught:
            target.schedule()
        assert caught.value.reason == "no-answer"


def test_a_schedule_whose_ok_is_lost_counts_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench() as (modem, _, target):
        run_all(target)
        apply = modem._xdfuapply
        monkeypatch.setattr(modem, "_xdfuapply", lambda kind: apply(kind).replace("OK", "O"))
        target.schedule()
        assert modem.scheduled == [0]


def test_a_session_whose_ok_is_lost_is_opened_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench() as (modem, _, target):
        init, answers = modem._xdfuinit, iter([""])
        monkeypatch.setattr(modem, "_xdfuinit", lambda *numbers: next(answers, init(*numbers)))
        run_all(target)
        assert modem.sessions[-1] == IMAGE


def test_a_source_that_ends_early_is_told() -> None:
    with bench() as (_, _, target), pytest.raises(LinkError) as caught:
        list(transfer(target, BytesSource(b"short", "image.bin"), TransferImage(ImageKind.APPLICATION, 10)))
    assert (caught.value.reason, caught.value.offset) == ("source-too-short", 5)


@pytest.mark.parametrize(("size", "fits"), [(4096 * 10, True), (4096 * 10 + 1, False), (4096 * 11, False)])
def test_an_image_must_end_before_the_page_of_the_trailer(size: int, fits: bool) -> None:
    with bench() as (modem, _, target):
        modem.slot_bytes = 4096 * 11
        if fits:
            assert target.begin(TransferImage(ImageKind.APPLICATION, size)) == 0
            return
        with pytest.raises(BoardRefusedError, match="trailer") as caught:
            target.begin(TransferImage(ImageKind.APPLICATION, size))
        assert caught.value.reason == "too-large"
        assert b"XDFUWRITE" not in modem.received


# --- small things ------------------------------------------------------------------------------------------


def test_chunks_shrink_to_what_is_safe_without_flow_control_and_not_below() -> None:
    with bench() as (_, _, target):
        sizes = []
        for _ in range(6):
            target._shrink()
            sizes.append(target.chunk_size_bytes)
        assert sizes == [8192, 508, 508, 508, 508, 508]


def test_the_target_is_one_by_the_protocol() -> None:
    with bench() as (_, _, target):
        as_protocol: DfuTarget = target
        assert as_protocol.route == "xdfu"
        assert as_protocol.chunk_size_bytes == CHUNK_WITH_FLOW_CONTROL_BYTES

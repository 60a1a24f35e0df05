"""``#XDFU``: what an aborted transfer leaves behind."""

from collections.abc import Callable

import pytest

from bridge.dfu import TransferImage, TransferRestartError, XdfuTarget
from bridge.image import ImageKind
from hil_tests.unit.dfu.xdfu_bench import IMAGE, LoseBytes, bench, finish_and_schedule, run_all


@pytest.mark.parametrize("progress", [run_all, finish_and_schedule])
def test_an_aborted_application_loses_its_first_page(progress: Callable[[XdfuTarget], object]) -> None:
    with bench() as (modem, board, target):
        progress(target)
        scheduled = list(modem.scheduled)
        target.abort()
        assert modem.sessions[-1] == b"\xff" * 4096
        assert modem.scheduled == scheduled
        assert board.at.command("AT") == []
        sessions = len(modem.sessions)
        target.abort()
        assert len(modem.sessions) == sessions


def test_aborting_before_the_first_byte_writes_nothing() -> None:
    with bench() as (modem, _, target):
        target.begin(TransferImage(ImageKind.APPLICATION, 10))
        target.abort()
        assert modem.writes == 0


def test_an_abort_in_the_middle_of_a_chunk_leads_out_of_data_mode_first() -> None:
    with bench() as (modem, board, target):
        target.begin(TransferImage(ImageKind.APPLICATION, len(IMAGE)))

        def interrupt(data: bytes) -> bytes:
            if len(data) > 300:
                board.link.outgoing_hook = None
                raise KeyboardInterrupt
            return data

        board.link.outgoing_hook = interrupt
        with pytest.raises(KeyboardInterrupt):
            target.write(IMAGE[:3000])
        target.abort()
        assert len(modem.sessions[0]) == 3000  # filled up
        assert modem.sessions[-1] == b"\xff" * 4096


def test_bytes_lost_while_aborting_do_not_matter() -> None:
    with bench() as (modem, board, target):
        run_all(target)
        board.link.outgoing_hook = LoseBytes(0, 5, 10)
        target.abort()
        assert len(modem.sessions[-1]) == 4096


def test_an_abort_that_the_board_cannot_follow_is_an_error() -> None:
    with bench() as (modem, _, target):
        run_all(target)
        modem.failing_writes = set(range(100))
        with pytest.raises(TransferRestartError):
            target.abort()

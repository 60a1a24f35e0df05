"""``#XDFU``: modem deltas, and the area in the modem's flash that they go through."""

import threading

import pytest

from bridge.dfu import TransferImage, XdfuTarget, XdfuTiming
from bridge.errors import BoardRefusedError, LinkError
from bridge.image import ImageKind
from hil_tests.unit.board.scripted_peer import ERROR
from hil_tests.unit.dfu.fake_serial_modem import AREA_BYTES, DIRTY
from hil_tests.unit.dfu.xdfu_bench import IMAGE, QUICK, LoseBytes, bench, run_all


def test_a_delta_is_written_off_the_network_and_scheduled() -> None:
    with bench() as (modem, _, target):
        modem.online = True
        steps = run_all(target, kind=ImageKind.MODEM_DELTA)
        target.schedule()
        assert not modem.online  # until the reset
        assert modem.area == IMAGE
        assert modem.scheduled == [1]
        assert "erases" in str(steps[0].notice)


def test_a_dirty_area_is_erased_first_and_that_is_told_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.board.at_client._SLOW_S", 0.05)
    notices: list[str] = []
    erasing = threading.Event()
    with bench() as (modem, board, _):
        modem.area_dirty = True
        modem.area += b"old"
        original = modem._xdfuinit

        def slow(kind: int, size: int) -> str:
            erasing.wait(10)
            return original(kind, size)

        def notice(text: str) -> None:
            notices.append(text)
            erasing.set()

        monkeypatch.setattr(modem, "_xdfuinit", slow)
        run_all(XdfuTarget(board, on_notice=notice, timing=QUICK, streams=False), kind=ImageKind.MODEM_DELTA)
        assert modem.area == IMAGE
    assert len(notices) == 1
    assert "erasing" in notices[0]


def test_after_a_reported_failure_a_delta_goes_on_where_the_area_is_known_to_be_right() -> None:
    with bench() as (_, _, target):
        target.begin(TransferImage(ImageKind.MODEM_DELTA, len(IMAGE)))
        target.write(IMAGE[:1000])
        assert target.begin(TransferImage(ImageKind.MODEM_DELTA, len(IMAGE))) == 1000


def test_after_lost_bytes_the_modem_is_made_to_drop_what_it_got() -> None:
    with bench() as (modem, board, target):
        board.link.outgoing_hook = LoseBytes(1, 100, 5)
        modem.online = True
        run_all(target, kind=ImageKind.MODEM_DELTA)
        assert modem.area == IMAGE
        assert modem.commands.count("AT#XMODEMRESET") == 1
        assert not modem.online


def test_what_an_earlier_run_left_in_the_area_is_poisoned_before_the_modem_is_asked_to_drop_it() -> None:
    with bench() as (modem, _, target):
        modem.area += IMAGE[:500]
        run_all(target, kind=ImageKind.MODEM_DELTA)
        assert modem.area == IMAGE
        assert modem.sessions[0] == b"\xff" * 4096


def test_an_area_that_does_not_get_empty_is_told() -> None:
    with bench() as (modem, _, target):
        modem.area += b"x"
        modem.erasable = False
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target, kind=ImageKind.MODEM_DELTA)
        assert caught.value.reason == "area-not-erased"


def test_a_delta_that_does_not_fit_is_refused_before_anything_is_changed() -> None:
    with bench() as (modem, _, target):
        with pytest.raises(BoardRefusedError) as caught:
            target.begin(TransferImage(ImageKind.MODEM_DELTA, AREA_BYTES + 1))
        assert caught.value.reason == "too-large"
        assert modem.sessions == []


def test_firmware_that_cannot_tell_about_its_area_is_trusted() -> None:
    with bench() as (modem, _, target):
        modem.answers["AT#XFOTA=7"] = ERROR
        run_all(target, kind=ImageKind.MODEM_DELTA)
        assert modem.area == IMAGE


def test_firmware_without_deltas_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench() as (modem, _, target):
        monkeypatch.setattr(modem, "_xdfuinit", lambda kind, size: ERROR)
        with pytest.raises(BoardRefusedError) as caught:
            run_all(target, kind=ImageKind.MODEM_DELTA)
        assert caught.value.reason == "not-supported"


def test_an_unscheduled_delta_needs_no_undoing_but_the_modem_goes_back_online() -> None:
    with bench() as (modem, _, target):
        modem.online = True
        run_all(target, kind=ImageKind.MODEM_DELTA)
        target.abort()
        assert modem.online
        assert modem.area == IMAGE


def test_a_scheduled_delta_is_poisoned() -> None:
    with bench() as (modem, _, target):
        run_all(target, kind=ImageKind.MODEM_DELTA)
        target.schedule()
        target.abort()
        assert modem.area == IMAGE + b"\xff" * 4096


def test_a_scheduled_delta_in_an_area_that_can_be_erased_is_erased() -> None:
    with bench() as (modem, _, target):
        run_all(target, kind=ImageKind.MODEM_DELTA)
        target.schedule()
        modem.area_dirty = True
        target.abort()
        assert modem.area == b""


@pytest.mark.parametrize("why", ["write fails", "nobody knows"])
def test_a_scheduled_delta_that_cannot_be_undone_is_told(why: str) -> None:
    with bench() as (modem, _, target):
        run_all(target, kind=ImageKind.MODEM_DELTA)
        target.schedule()
        if why == "write fails":
            modem.failing_writes = set(range(100))
        else:
            modem.answers["AT#XFOTA=7"] = modem.answers["AT#XFOTA=9"] = ERROR
        with pytest.raises(BoardRefusedError) as caught:
            target.abort()
        assert caught.value.reason == "not-invalidated"


# --- bounded erase, back online ------------------------------------------------------

HASTY = XdfuTiming(command_s=0.3, erase_s=0.2, flash_bytes_per_s=1_000_000, margin_s=0.3, schedule_s=0.3)
DELTA = TransferImage(ImageKind.MODEM_DELTA, len(IMAGE))


def test_an_erase_that_does_not_end_is_given_up_once_and_the_modem_goes_back_online() -> None:
    with bench() as (modem, board, _):
        target = XdfuTarget(board, timing=HASTY)
        modem.online = modem.area_dirty = True
        modem.answers["AT#XFOTA=7"] = lambda _: f"\r\n#XFOTA: {AREA_BYTES},{DIRTY}\r\n\r\nOK\r\n"
        modem._xdfuinit = lambda *_: ""  # type: ignore[method-assign]
        with pytest.raises(LinkError) as caught:
            target.begin(DELTA)
        assert caught.value.reason == "erase-timeout"
        assert [command for command in modem.commands if "XDFUINIT" in command] == [
            f"AT#XDFUINIT=1,{len(IMAGE)}"
        ]
        assert modem.online is False
        target.abort()
        assert modem.online is True


def test_an_erase_whose_answer_is_lost_is_not_repeated() -> None:
    with bench() as (modem, board, _):
        target = XdfuTarget(board, timing=HASTY)
        modem.area_dirty = True
        init = modem._xdfuinit

        def erase_without_a_word(kind: int, size: int) -> str:
            was_dirty = modem.area_dirty
            answer = init(kind, size)
            return "" if was_dirty else answer

        modem._xdfuinit = erase_without_a_word  # type: ignore[method-assign]
        assert target.begin(DELTA) == 0
        assert modem.area_offset == 0


def test_a_modem_goes_back_online_even_if_the_delta_cannot_be_invalidated() -> None:
    with bench() as (modem, _, target):
        modem.online = True
        run_all(target, kind=ImageKind.MODEM_DELTA)
        target.schedule()
        assert modem.online is False
        modem.answers["AT#XFOTA=7"] = modem.answers["AT#XFOTA=9"] = ERROR
        with pytest.raises(BoardRefusedError):
            target.abort()
        assert modem.online is True

"""A board opened, identified, restarted and found again."""

import os
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.board import Board, boot, rescue
from bridge.board.identity import BoardIdentity
from bridge.errors import BoardNotFoundError, BoardRefusedError, LinkError
from hil_tests.unit.board.scripted_peer import ERROR, IDENTITY, OK, ScriptedPeer

SPEEDS = {
    termios.B9600: 9_600,
    termios.B115200: 115_200,
    termios.B1000000: 1_000_000,
    termios.B460800: 460_800,
}


class RateAwarePeer(ScriptedPeer):
    """Hears and is heard only at its own rate, as a UART; learns ``AT+IPR``."""

    def __init__(
        self, baud: int = 115_200, works_at: tuple[int, ...] = (115_200, 460_800, 1_000_000)
    ) -> None:
        self.baud = baud
        super().__init__(IDENTITY)
        for rate in works_at:
            self.answers[f"AT+IPR={rate}"] = self._switch

    def _switch(self, command: str) -> str:
        self.send(OK)
        self.baud = int(command.rpartition("=")[2])
        return ""

    def _take(self, byte: bytes) -> None:
        host_rate = SPEEDS.get(termios.tcgetattr(self._master)[5])
        if host_rate == self.baud:
            super()._take(byte)


def boots(peer: ScriptedPeer, *messages: str) -> Callable[[str], str]:
    return lambda _: OK + "".join(messages)


# --- opening -----------------------------------------------------------------------------------------------


def test_given_a_board_that_answers_it_is_opened_and_identified() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        assert board.identify() == BoardIdentity(
            port=peer.path,
            firmware="serial-modem",
            manufacturer="Nordic Semiconductor ASA",
            model="nRF9151-LACA",
            hardware_version="nRF9151 LACA ADA",
            imei="352656100367872",
            modem_version="mfw_nrf91x1_2.0.2",
            short_modem_version="nrf91x1_2.0.2",
            modem_uuid="25c95751-efa4-40d4-8b4a-1dcaab81fac9",
            device_uuid="504d5632-3739-42fb-80c8-1411df972166",
            application_version="v1.2.3-7-gdf00f46",
            libmodem_version="3.3.0-rc1",
        )


@pytest.mark.parametrize(
    ("answers", "firmware"),
    [
        ({"AT#XSLMVER": '\r\n#XSLMVER: "2.9.0"\r\n\r\nOK\r\n'}, "slm"),
        ({"AT+CGMI": "Nordic Semiconductor ASA\r\nOK\r\n"}, "at_client"),
        ({}, "unknown"),
    ],
)
def test_given_other_firmware_what_it_refuses_is_none(answers: dict[str, str], firmware: str) -> None:
    with ScriptedPeer(dict(answers)) as peer, Board.open(peer.path) as board:
        identity = board.identify()
        assert identity.firmware == firmware
        assert identity.imei is None
        assert identity.to_dict()["firmware"] == firmware


def test_given_a_silent_port_opening_says_so_and_closes_it() -> None:
    with ScriptedPeer({"AT": ""}) as peer:
        for _ in range(2):  # a port left open would be held at the second try
            with pytest.raises(BoardNotFoundError) as caught:
                Board.open(peer.path, timeout_s=0.1)
            assert caught.value.reason == "board-silent"
            assert "DTR" in str(caught.value.hint)


def test_given_a_port_that_nobody_reads_opening_says_that_the_board_is_silent() -> None:
    master, slave = os.openpty()
    with pytest.raises(BoardNotFoundError) as caught:
        Board.open(os.ttyname(slave), timeout_s=0.1)
    assert caught.value.reason == "board-silent"
    os.close(slave)
    os.close(master)


def test_given_a_port_that_goes_away_while_it_is_opened_the_link_is_lost() -> None:
    with ScriptedPeer({"AT": ""}) as peer:
        hang_up = threading.Timer(0.05, peer.stop)
        hang_up.start()
        with pytest.raises(LinkError) as caught:
            Board.open(peer.path)
        hang_up.join()
        assert caught.value.reason == "link-lost"


def test_given_a_board_left_at_another_rate_it_is_brought_back() -> None:
    with RateAwarePeer(baud=1_000_000) as peer, Board.open(peer.path, timeout_s=20) as board:
        assert peer.baud == 115_200
        assert board.modem.imei() == "352656100367872"


def test_given_a_rate_that_the_board_does_not_use_then_its_own_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rescue, "_PROBE_S", 0.05)
    monkeypatch.setattr(rescue, "_SYNCHRONISE_S", 0.05)
    with RateAwarePeer() as peer:
        with pytest.raises(BoardNotFoundError) as caught:
            Board.open(peer.path, baud=9_600)
        assert caught.value.reason == "other-baud"
        assert "115200" in caught.value.message
        assert "--baud 115200" in str(caught.value.hint)
        assert peer.baud == 115_200


def test_given_a_slow_answer_to_the_change_of_rate_it_is_not_taken_for_a_later_one() -> None:
    class SlowPeer(RateAwarePeer):
        def lookup(self, command: str) -> str | bytes:
            time.sleep(0.4 if "IPR" in command else 0.02)  # a peer on a line has no other way to be slow
            return super().lookup(command)

    with SlowPeer(baud=1_000_000) as peer, Board.open(peer.path, timeout_s=30) as board:
        assert board.modem.imei() == "352656100367872"
        assert board.modem.model() == "nRF9151-LACA"


@pytest.mark.parametrize("missing_bytes", [1, 3, 64, 65, 300, 5000])
def test_given_a_board_left_in_data_mode_it_is_led_out(
    missing_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "_PROBE_S", 0.03)
    monkeypatch.setattr(rescue, "_STEP_MARGIN_S", 0.03)
    monkeypatch.setattr(rescue, "_SYNCHRONISE_S", 0.03)
    swallowed: list[int] = []

    def leave(data: bytes) -> str:
        swallowed.append(len(data))
        return "\r\n#XDATAMODE: 0\r\n"

    with ScriptedPeer(IDENTITY) as peer:
        peer.enter_data_mode(missing_bytes, leave)
        with Board.open(peer.path, timeout_s=60) as board:
            assert board.modem.imei() == "352656100367872"
    assert swallowed == [missing_bytes]


# --- resetting ---------------------------------------------------------------------------------------------


def test_given_a_swap_the_report_holds_what_comes_after_ready() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        held_back = iter(["\r\n#XFOTA: 5,0\r\n"])
        peer.answers["AT#XRESET"] = boots(peer, "Ready\r\n")
        peer.answers["AT"] = lambda _: OK + next(held_back, "")  # URCs are flushed after the result
        report = board.reset(timeout_s=10)
        assert report.messages == ("Ready", "#XFOTA: 5,0")
        assert report.duration_s > 0


def test_given_noise_and_two_starts_the_board_is_waited_for_until_it_calms_down() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        again = iter(["", "\x00Ready\r\n", "", ""])
        peer.answers["AT#XRESET"] = boots(peer, "\x00\x00Ready\r\n")
        peer.answers["AT"] = lambda _: OK + next(again, "")
        assert board.reset(timeout_s=10).messages == ("Ready", "Ready")


def test_given_a_board_that_starts_again_and_again_the_reset_fails() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers["AT#XRESET"] = boots(peer, "Ready\r\n")
        peer.answers["AT"] = OK + "Ready\r\n"
        with pytest.raises(LinkError) as caught:
            board.reset(timeout_s=10)
        assert caught.value.reason == "boot-loop"


def test_given_firmware_without_a_start_message_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "_PROBE_EVERY_S", 0.02)
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers["AT#XRESET"] = OK
        assert board.reset(timeout_s=10).messages == ()


def test_given_bootloader_mode_the_reset_ends_there() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers |= {"AT#XRESET": boots(peer, "Bootloader mode ready\r\n"), "AT": ERROR}
        assert board.reset(timeout_s=10).messages == ("Bootloader mode ready",)


def test_given_a_board_that_stays_away_the_reset_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "_PROBE_S", 0.02)
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers |= {"AT#XRESET": OK, "AT": ""}
        with pytest.raises(LinkError) as caught:
            board.reset(timeout_s=0.1)
        assert caught.value.reason == "not-back"


def test_given_firmware_without_reset_it_is_refused() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board, pytest.raises(BoardRefusedError):
        board.reset()


def test_given_a_port_that_comes_back_elsewhere_the_reset_follows_it(tmp_path: Path) -> None:
    name = tmp_path / "port"
    with ScriptedPeer(IDENTITY) as first, ScriptedPeer(IDENTITY) as second:
        name.symlink_to(first.path)
        with Board.open(str(name)) as board:

            def vanish(_: str) -> str:
                name.unlink()
                name.symlink_to(second.path)
                threading.Thread(target=first.stop).start()
                return OK

            first.answers["AT#XRESET"] = vanish
            held_back = iter(["", "\r\n#XFOTA: 5,0\r\n"])
            second.answers["AT"] = lambda _: OK + next(held_back, "")
            assert board.reset(timeout_s=10).messages == ("#XFOTA: 5,0",)
            assert board.identify() == replace(board.identify(), firmware="serial-modem")


def test_after_a_reset_the_rate_is_the_default_again() -> None:
    with RateAwarePeer() as peer, Board.open(peer.path) as board:

        def reset(_: str) -> str:
            peer.send(OK)
            peer.baud = 115_200
            return "Ready\r\n"

        peer.answers["AT#XRESET"] = reset
        with board.at_baud(1_000_000) as rate:
            assert rate == 1_000_000
            board.reset(timeout_s=10)
            assert board.link.baud == 115_200
        assert board.modem.imei()


# --- the modem ---------------------------------------------------------------------------------------------


def test_given_an_applied_delta_the_modem_reset_tells_its_result() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers["AT#XMODEMRESET"] = "\r\n#XFOTA: 5,0\r\n\r\n#XMODEMRESET: 0\r\n\r\nOK\r\n"
        assert set(board.reset_modem().messages) == {"#XFOTA: 5,0", "#XMODEMRESET: 0"}


def test_given_a_refused_delta_the_modem_reset_leaves_the_verdict_to_the_caller() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers["AT#XMODEMRESET"] = (
            "\r\n#XFOTA: 5,1,71303172\r\n\r\n#XMODEMRESET: 2,71303172\r\n\r\nOK\r\n"
        )
        assert "#XFOTA: 5,1,71303172" in board.reset_modem().messages


def test_given_a_modem_that_does_not_start_without_an_update_it_is_an_error() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers["AT#XMODEMRESET"] = "\r\n#XMODEMRESET: 2,-5\r\n\r\nOK\r\n"
        with pytest.raises(BoardRefusedError, match="2,-5") as caught:
            board.reset_modem()
        assert caught.value.reason == "modem-reset-failed"


def test_a_modem_taken_offline_comes_back_online_with_the_next_reset() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers |= {
            "AT+CFUN?": "\r\n+CFUN: 1\r\n\r\nOK\r\n",
            "AT+CFUN=4": OK,
            "AT+CFUN=1": OK,
            "AT#XMODEMRESET": "\r\n#XMODEMRESET: 0\r\n\r\nOK\r\n",
        }
        board.take_offline()
        board.reset_modem()
        assert [command for command in peer.commands if "CFUN=" in command] == ["AT+CFUN=4", "AT+CFUN=1"]
        board.go_back_online()
        assert peer.commands.count("AT+CFUN=1") == 1


def test_a_modem_that_is_offline_or_cannot_tell_is_left_alone() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        board.take_offline()
        peer.answers["AT+CFUN?"] = "\r\n+CFUN: 0\r\n\r\nOK\r\n"
        board.take_offline()
        assert "AT+CFUN=4" not in peer.commands


def test_a_modem_that_does_not_come_back_online_is_no_error() -> None:
    with ScriptedPeer(IDENTITY) as peer, Board.open(peer.path) as board:
        peer.answers |= {"AT+CFUN?": "\r\n+CFUN: 1\r\n\r\nOK\r\n", "AT+CFUN=4": OK}
        board.take_offline()
        board.go_back_online()
        assert peer.commands[-1] == "AT+CFUN=1"


# --- line speed --------------------------------------------------------------------------------------------


def test_the_rate_goes_up_and_back() -> None:
    with RateAwarePeer() as peer, Board.open(peer.path) as board:
        with board.at_baud(1_000_000) as rate:
            assert (rate, peer.baud, board.link.baud) == (1_000_000,) * 3
            assert board.modem.imei()
        assert (peer.baud, board.link.baud) == (115_200, 115_200)


def test_the_same_rate_changes_nothing() -> None:
    with RateAwarePeer() as peer, Board.open(peer.path) as board, board.at_baud(115_200):
        assert not any("IPR" in command for command in peer.commands)


def test_a_refused_rate_leaves_the_old_one() -> None:
    with RateAwarePeer() as peer, Board.open(peer.path) as board, board.at_baud(230_400) as rate:
        assert rate == 115_200
        assert board.modem.imei()


def test_a_rate_at_which_nothing_is_heard_is_left_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "_PROBE_S", 0.05)
    with RateAwarePeer() as peer, Board.open(peer.path) as board:
        deaf = board.link
        deaf.incoming_hook = lambda data: b"" if deaf.baud == 1_000_000 else data
        with board.at_baud(1_000_000) as rate:
            assert (rate, peer.baud) == (115_200, 115_200)
            assert board.modem.imei()


def test_a_board_lost_between_two_rates_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "_PROBE_S", 0.01)
    with RateAwarePeer() as peer, Board.open(peer.path) as board:

        def die(_: str) -> str:
            peer.muted = True
            return OK

        peer.answers["AT+IPR=1000000"] = die
        with pytest.raises(LinkError) as caught, board.at_baud(1_000_000):
            pass
        assert caught.value.reason == "baud-lost"


def test_an_error_inside_is_the_one_that_is_told_and_the_rate_goes_back() -> None:
    with RateAwarePeer() as peer, Board.open(peer.path) as board:
        with pytest.raises(ZeroDivisionError), board.at_baud(1_000_000):
            raise ZeroDivisionError
        assert peer.baud == 115_200


def test_a_link_lost_inside_is_told_as_such() -> None:
    with RateAwarePeer() as peer, Board.open(peer.path) as board:
        with pytest.raises(LinkError) as caught, board.at_baud(1_000_000):
            peer.stop()
            board.at.command("AT")
        assert caught.value.reason == "link-lost"


# --- radio, when things go wrong ---------------------------------------------------------------------------


def online_peer() -> ScriptedPeer:
    peer = ScriptedPeer(IDENTITY)
    peer.answers |= {"AT+CFUN?": "\r\n+CFUN: 1\r\n\r\nOK\r\n", "AT+CFUN=4": OK, "AT+CFUN=1": OK}
    return peer


@pytest.mark.parametrize(
    "answer", ["\r\n#XMODEMRESET: 2,-11\r\n\r\nOK\r\n", "\r\nERROR\r\n"], ids=["not started", "refused"]
)
def test_a_modem_reset_that_fails_leaves_nobody_offline(answer: str) -> None:
    with online_peer() as peer, Board.open(peer.path) as board:
        peer.answers["AT#XMODEMRESET"] = answer
        board.take_offline()
        with pytest.raises(BoardRefusedError):
            board.reset_modem()
        assert peer.commands[-1] == "AT+CFUN=1"


def test_a_modem_whose_answer_got_lost_on_the_way_offline_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with online_peer() as peer, Board.open(peer.path) as board:
        monkeypatch.setattr("bridge.board.modem.FUNCTIONAL_MODE_TIMEOUT_S", 0.1)
        peer.answers["AT+CFUN=4"] = ""
        with pytest.raises(LinkError):
            board.take_offline()
        board.go_back_online()
        assert peer.commands[-1] == "AT+CFUN=1"


def test_going_back_online_raises_nothing_on_a_dead_line() -> None:
    with online_peer() as peer, Board.open(peer.path) as board:
        board.take_offline()
        board.link.close()
        board.go_back_online()

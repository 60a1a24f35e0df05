"""One command, one answer; URCs kept apart; a board brought into step whatever came before."""

import queue
import threading
from pathlib import Path

import pytest

from bridge.board.at_client import AtClient
from bridge.board.link import Link
from bridge.errors import BoardRefusedError, LinkError, UsageError
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from hil_tests.unit.board.scripted_peer import ERROR, OK, Answer, ScriptedPeer


class Conversation:
    """A client and its peer."""

    def __init__(self, answers: dict[str, Answer] | None = None, terminator: bytes = b"\r") -> None:
        self.peer = ScriptedPeer(answers, terminator)
        self.link = Link(self.peer.path)
        self.at = AtClient(self.link)
        self.link.open()

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        self.peer.stop()


def test_a_command_gives_the_lines_of_its_answer() -> None:
    with Conversation({"AT+CLAC": "\r\nAT+CFUN\r\nAT+CGMR\r\n\r\nOK\r\n"}) as it:
        assert it.at.command("AT+CLAC") == ["AT+CFUN", "AT+CGMR"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(ERROR, "at-error"), ("\r\n+CME ERROR: 513\r\n", "cme-513"), ("\r\n+CMS ERROR: 302\r\n", "cms-302")],
)
def test_a_refusal_carries_its_code(answer: str, reason: str) -> None:
    with Conversation({"AT%CMNG=2,1,0": answer}) as it:
        with pytest.raises(BoardRefusedError, match="AT%CMNG=2,1,0") as caught:
            it.at.command("AT%CMNG=2,1,0")
        assert caught.value.reason == reason
        assert it.at.command("AT") == []


def test_a_key_in_a_refused_command_is_not_told() -> None:
    with Conversation() as it:
        with pytest.raises(BoardRefusedError) as caught:
            it.at.command('AT%CMNG=0,1,2,"-----BEGIN PRIVATE KEY-----"')
        assert "PRIVATE" not in caught.value.message


def test_what_is_no_command_is_not_sent() -> None:
    with Conversation() as it:
        with pytest.raises(UsageError):
            it.at.command("CGMR")
        assert it.peer.commands == []


def test_after_silence_the_late_answer_is_not_taken_for_the_next_one() -> None:
    with Conversation({"AT+SLOW": "", "AT+CGMR": "\r\nmfw\r\n\r\nOK\r\n"}) as it:
        it.at.command("AT")
        with pytest.raises(LinkError, match=r"no answer to AT\+SLOW") as caught:
            it.at.command("AT+SLOW", timeout_s=0.05)
        assert caught.value.reason == "no-answer"
        it.peer.send("\r\nlate\r\n\r\nERROR\r\n")
        assert it.at.command("AT+CGMR") == ["mfw"]


def test_a_slow_answer_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.at_client._SLOW_S", 0.01)
    with Conversation({"AT+SLOW": ""}) as it:
        it.at.command("AT")
        announced: list[str] = []

        def answer() -> None:
            announced.append("slow")
            it.peer.send("\r\n+SLOW: 1\r\n\r\nOK\r\n")

        assert it.at.command("AT+SLOW", on_slow=answer) == ["+SLOW: 1"]
        assert announced == ["slow"]


def test_a_quick_answer_is_not_announced() -> None:
    with Conversation() as it:
        it.at.command("AT")
        assert it.at.command("AT", on_slow=lambda: pytest.fail("it was not slow")) == []


# --- URCs --------------------------------------------------------------------------------------------------


def test_urcs_during_a_command_are_kept_for_those_who_want_them() -> None:
    with Conversation({"AT+CFUN=1": "\r\n+CEREG: 2\r\n%XSIM: 1\r\n\r\nOK\r\n"}) as it:
        assert it.at.command("AT+CFUN=1") == []
        assert it.at.wait_urc("%XSIM", 5) == "%XSIM: 1"
        assert it.at.wait_urc(lambda urc: urc.endswith("2"), 5) == "+CEREG: 2"
        assert it.at.take_urcs() == []


def test_waiting_for_a_urc_that_comes_later() -> None:
    with Conversation() as it:
        timer = threading.Timer(0.02, lambda: it.peer.send("+CEREG: 2\r\nReady\r\n"))
        timer.start()
        assert it.at.wait_urc("Ready", 10) == "Ready"
        timer.join()
        assert it.at.take_urcs("+CEREG") == ["+CEREG: 2"]


@pytest.mark.parametrize("name", ["Ready", None])
def test_waiting_for_a_urc_ends_in_time(name: str | None) -> None:
    with Conversation() as it:
        with pytest.raises(LinkError) as caught:
            it.at.wait_urc(name if name is not None else lambda _: False, 0.01)
        assert caught.value.reason == "no-answer"


def test_a_subscriber_gets_every_urc_while_subscribed() -> None:
    with Conversation() as it:
        seen: queue.Queue[str] = queue.Queue()
        with it.at.subscription(seen.put):
            it.peer.send("Ready\r\n#XFOTA: 5,0\r\n")
            assert [seen.get(timeout=10), seen.get(timeout=10)] == ["Ready", "#XFOTA: 5,0"]
        it.peer.send("after\r\n")
        it.at.wait_urc("after", 5)
        assert seen.empty()


def test_flushing_makes_the_board_send_what_it_holds_back_after_the_result() -> None:
    with Conversation({"AT": "\r\nOK\r\n\r\n#XFOTA: 5,0\r\n"}) as it:
        it.at.flush_urcs()
        assert "#XFOTA: 5,0" in it.at.take_urcs()


# --- into step ---------------------------------------------------------------------------------------------


def test_the_first_command_brings_the_board_into_step_by_itself() -> None:
    with Conversation() as it:
        it.at.command("AT")
        assert it.peer.commands == ["AT", "AT"]


def test_a_half_sent_command_is_completed_and_then_the_board_is_in_step() -> None:
    with Conversation({"AT+CGMR": "\r\nmfw\r\n\r\nOK\r\n"}) as it:
        it.link.write(b"AT+CF", 5)
        assert it.at.command("AT+CGMR") == ["mfw"]
        assert it.peer.commands == ["AT+CFAT", "AT+CGMR"]


def test_a_board_that_refuses_at_in_bootloader_mode_is_in_step_too() -> None:
    with Conversation({"AT": ERROR}) as it:
        it.at.synchronise()


def test_a_board_built_for_crlf_is_found_out() -> None:
    with Conversation({"AT+CGMR": "\r\nmfw\r\n\r\nOK\r\n"}, terminator=b"\r\n") as it:
        it.at.synchronise()
        assert it.at.terminator == "\r\n"
        assert it.at.command("AT+CGMR") == ["mfw"]
        assert it.peer.received.endswith(b"AT+CGMR\r\n")


def test_a_board_that_wakes_up_late_keeps_its_cr() -> None:
    with Conversation() as it:
        it.peer.muted = True

        def wake_up(data: bytes) -> bytes:
            if b'"' in data:
                it.peer.muted = False
            return data

        it.link.outgoing_hook = wake_up
        it.at.synchronise()
        assert it.at.terminator == "\r"


def test_late_answers_of_several_attempts_are_swallowed() -> None:
    replies = iter(["", OK + OK])
    with Conversation({"AT": lambda _: next(replies, OK), "AT+CGMR": "\r\nmfw\r\n\r\nOK\r\n"}) as it:
        it.at.synchronise()
        assert it.at.command("AT+CGMR") == ["mfw"]


def test_a_silent_board_is_given_up_in_time() -> None:
    with Conversation({"AT": ""}) as it:
        with pytest.raises(LinkError) as caught:
            it.at.synchronise(0.05)
        assert caught.value.reason == "no-answer"


# --- lost --------------------------------------------------------------------------------------------------


def test_losing_the_port_wakes_up_a_waiting_command() -> None:
    with Conversation({"AT+SLOW": ""}) as it:
        it.at.synchronise()
        hang_up = threading.Timer(0.05, it.peer.stop)
        hang_up.start()
        with pytest.raises(LinkError) as caught:
            it.at.command("AT+SLOW", timeout_s=30)
        hang_up.join()
        assert caught.value.reason == "link-lost"
        with pytest.raises(LinkError):
            it.at.wait_urc("Ready", 30)
        with pytest.raises(LinkError):
            it.at.command("AT")


def test_given_firmware_that_wants_cr_lf_then_one_round_of_attempts_finds_it(tmp_path: Path) -> None:
    image = SampleImages(tmp_path).application("1.0.0").read_bytes()
    slm = VirtualBoard(firmware="slm", factory_image=image)
    registry.register("cr-lf", slm)
    link = Link("virtual://cr-lf")
    at = AtClient(link)
    with slm:
        slm.wait_for_event("ready")
        link.open()
        at.synchronise(1.5)
        assert at.terminator == "\r\n"
        assert list(at.command("AT+CGMM")) == ["nRF9151-LACA"]
        link.close()
    registry.unregister("cr-lf")

"""Finding out who answers on a port: AT, SMP, or nobody."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge.board import Board
from bridge.board.answering import open_answering
from bridge.board.smp_board import SmpBoard
from bridge.errors import BoardNotFoundError, BoardRefusedError
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard

NAME = "answering"
URL = f"virtual://{NAME}"


@pytest.fixture(scope="module")
def factory_image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return SampleImages(tmp_path_factory.mktemp("samples")).application("1.0.0").read_bytes()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.answering._AT_S", 0.3)
    monkeypatch.setattr("bridge.board.answering._SMP_S", 0.3)
    monkeypatch.setattr("bridge.board.smp_board._PROBE_S", 0.3)


@contextmanager
def running(firmware: str, factory_image: bytes | None) -> Iterator[VirtualBoard]:
    board = VirtualBoard(firmware=firmware, factory_image=factory_image)
    registry.register(NAME, board)
    with board:
        board.wait_for_event("ready" if factory_image else "no-image")
        yield board
    registry.unregister(NAME)


def test_given_serial_modem_then_at_is_found(factory_image: bytes) -> None:
    with running("serial-modem", factory_image), open_answering(URL) as found:
        assert isinstance(found, Board)
        assert found.identify().firmware == "serial-modem"


def test_given_an_smp_server_then_smp_is_found_and_tells_what_runs(factory_image: bytes) -> None:
    with running("smp", factory_image), open_answering(URL) as found:
        assert isinstance(found, SmpBoard)
        identity = found.identify()
        assert (identity.firmware, identity.application_version) == ("smp-server", "1.0.0")
        assert identity.application_digest is not None
        assert not found.in_recovery


def test_given_a_silent_board_then_both_languages_are_named() -> None:
    with running("serial-modem", None), pytest.raises(BoardNotFoundError, match="AT or SMP") as caught:
        open_answering(URL, timeout_s=0.5)
    assert caught.value.reason == "board-silent"


def test_given_an_smp_server_without_recovery_when_told_to_enter_it_then_the_refusal_says_how(
    factory_image: bytes,
) -> None:
    with (
        running("smp", factory_image),
        SmpBoard.open(URL) as board,
        pytest.raises(BoardRefusedError) as caught,
    ):
        board.enter_recovery()
    assert caught.value.reason == "no-recovery"

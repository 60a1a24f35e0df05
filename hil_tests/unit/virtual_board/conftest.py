"""A board in simulated time, and a raw hand on its line."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import serial

from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard

serial.protocol_handler_packages.append("bridge.virtual")


class Hand:
    """Writes bytes and reads bytes, and knows no AT."""

    def __init__(self, board: VirtualBoard, name: str, **settings: Any) -> None:
        self.board = board
        self._rest = b""
        registry.register(name, board)
        self.port = serial.serial_for_url(
            f"virtual://{name}", **{"baudrate": 115_200, "timeout": 0.05, "rtscts": True, **settings}
        )

    def close(self) -> None:
        self.port.close()

    def read_until(self, end: bytes, timeout_s: float = 10.0) -> bytes:
        """Everything up to and with ``end``."""
        received, deadline_s = self._rest, time.monotonic() + timeout_s
        while end not in received:
            assert time.monotonic() < deadline_s, f"no {end!r} in {received!r}"
            received += self.port.read(max(1, self.port.in_waiting))
        cut = received.index(end) + len(end)
        self._rest = received[cut:]
        return received[:cut]

    def silent(self) -> bool:
        """Whether nothing comes although the board has nothing left to do."""
        return self._rest + self.port.read(1) == b""

    def ask(self, command: str, end: bytes = b"OK\r\n") -> bytes:
        """Send a command and read its answer."""
        self.port.write(command.encode() + b"\r")
        return self.read_until(end)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def make_hand(samples: SampleImages, request: pytest.FixtureRequest) -> Iterator[Callable[..., Hand]]:
    """Builds boards; options go to the board."""
    hands: list[Hand] = []

    def make(**options: object) -> Hand:
        name = f"hand-{abs(hash(request.node.nodeid))}-{len(hands)}"
        options.setdefault("factory_image", samples.application("1.0.0").read_bytes())
        board = VirtualBoard(keys=[samples.public_key_pem], **options)  # type: ignore[arg-type]
        hand = Hand(board, name)  # before the power, so that nothing that it says is missed
        board.start()
        hands.append(hand)
        board.wait_for_event("ready")
        hand.read_until(b"Ready\r\n")
        return hand

    yield make
    for hand in hands:
        hand.close()
        hand.board.stop()
        registry.unregister(str(hand.port.port).removeprefix("virtual://"))


@pytest.fixture
def make_smp_hand(samples: SampleImages, request: pytest.FixtureRequest) -> Iterator[Callable[..., Hand]]:
    """Builds boards that run an SMP server."""
    hands: list[Hand] = []

    def make(**options: object) -> Hand:
        name = f"smp-hand-{abs(hash(request.node.nodeid))}-{len(hands)}"
        options.setdefault("factory_image", samples.application("1.0.0").read_bytes())
        board = VirtualBoard(firmware="smp", keys=[samples.public_key_pem], **options)  # type: ignore[arg-type]
        hand = Hand(board, name)
        board.start()
        hands.append(hand)
        board.wait_for_event("ready")
        hand.read_until(b"version 1.0.0\r\n")
        return hand

    yield make
    for hand in hands:
        hand.close()
        hand.board.stop()
        registry.unregister(str(hand.port.port).removeprefix("virtual://"))


@pytest.fixture
def hand(make_hand: Callable[..., Hand]) -> Hand:
    """A board with version 1.0.0 that has said ``Ready``."""
    return make_hand()

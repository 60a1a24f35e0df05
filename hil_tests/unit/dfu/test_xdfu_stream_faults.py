"""Streamed ``#XDFU`` on the virtual board with one fault on the line: never a shifted image, never image data executed."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge.board import Board
from bridge.dfu import XdfuTarget, XdfuTiming
from bridge.dfu.target import TransferImage
from bridge.dfu.transfer import transfer
from bridge.image import BytesSource, ImageKind
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import ByteFault, FaultPlan
from bridge.virtual.serial_modem import SerialModem
from bridge.wire.at_command import AtCommand

NAME = "xdfu-stream-faults"
TIMING = XdfuTiming(margin_s=0.4, flash_bytes_per_s=1_000_000, settle_s=0.1, recovery_s=30)
OUR_COMMANDS = {"", "#XDFUINIT", "#XDFUWRITE"}
TEXTS = [b"AT+CFUN=4\0", b"AT%%XSYSTEMMODE=%d\0", b"\0AT", b"at#xreset\0"]
"""As they are in real firmware: without CR."""
COMMANDS = [b"AT+CFUN=4\r", b"AT#XRESET\r", b"AT\r", b'AT%CMNG=1,"\r', b"at+cgmr\r\n"]


def image_with(texts: list[bytes]) -> bytes:
    """24 KiB, with a text every few hundred bytes."""
    chance = random.Random(9151)
    image = bytearray(chance.randbytes(24 * 1024))
    for start in range(100, len(image) - 100, 700):
        text = chance.choice(texts)
        image[start : start + len(text)] = text
    return bytes(image)


NO_FAULTS: dict[int, ByteFault] = {}


class Run:
    """One transfer, and what the board executed meanwhile."""

    def __init__(self, board: VirtualBoard, image: bytes) -> None:
        self.board = board
        self.image = image
        self.sent = b""
        self.attempts = 0
        self.executed: list[AtCommand] = []

    def transfer(self, host: Board) -> None:
        self.executed.clear()

        def tap(data: bytes) -> bytes:
            self.sent += data
            return data

        host.link.outgoing_hook = tap
        target = XdfuTarget(host, timing=TIMING)
        asked = TransferImage(ImageKind.APPLICATION, len(self.image))
        for step in transfer(target, BytesSource(self.image, "image.bin"), asked):
            self.attempts = step.attempt
        target.finish()

    @property
    def landed(self) -> bytes:
        slot = self.board.layout.secondary.address
        return self.board.call(lambda: self.board.flash.read(slot, len(self.image)))

    @property
    def executed_of_the_image(self) -> list[AtCommand]:
        """What was neither ours nor, damaged as it may be, has the numbers of one of ours."""
        ours = {
            tuple(map(int, numbers.split(b",")))
            for numbers in re.findall(rb"AT#XDFU\w+=([\d,]+)\r", self.sent)
        }
        return [
            command
            for command in self.executed
            if command.name not in OUR_COMMANDS and command.parameters not in ours
        ]


@contextmanager
def run(
    samples: SampleImages,
    monkeypatch: pytest.MonkeyPatch,
    image: bytes,
    faults: dict[int, ByteFault] = NO_FAULTS,
    *,
    rts: bool = True,
) -> Iterator[Run]:
    """Transfer an image once; faults are counted from the first byte of the transfer."""
    board = VirtualBoard(
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
        baud=1_000_000,
        flow_control=rts,
        faults=FaultPlan(),
    )
    result = Run(board, image)
    execute = SerialModem._execute

    def watched(modem: SerialModem, command: AtCommand) -> object:
        result.executed.append(command)
        return execute(modem, command)

    monkeypatch.setattr(SerialModem, "_execute", watched)
    registry.register(NAME, board)
    try:
        with board, Board.open(f"virtual://{NAME}", baud=1_000_000) as host:
            line = board._uart._rx_faults
            board.call(
                lambda: line._faults.update({line._position + at: fault for at, fault in faults.items()})
            )
            result.transfer(host)
            yield result
    finally:
        registry.unregister(NAME)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("images"))


def places(sent: bytes, image: bytes) -> dict[str, list[int]]:
    """Where, in the fault-free traffic, a fault can hit the streamed part: data, and what is no number in a command."""
    found: dict[str, list[int]] = {"data": [], "command": []}
    for match in re.finditer(rb"AT#XDFUWRITE=0,(\d+),(\d+)\r", sent):
        offset, size = int(match[1]), int(match[2])
        if sent[match.end() : match.end() + size] != image[offset : offset + size]:
            continue
        name_end = match.start() + len(b"AT#XDFUWRITE=")
        found["command"] += [*range(match.start(), name_end), match.end() - 1]
        found["data"] += range(match.end(), match.end() + size)
    return found


def test_given_no_fault_then_the_image_is_streamed_and_lands_and_nothing_of_it_is_executed(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_with(TEXTS)
    with run(samples, monkeypatch, image) as result:
        assert result.landed == image
        assert result.attempts == 1
        assert result.sent.count(b"AT#XDFUWRITE=0,") > 16
        assert result.executed_of_the_image == []


def test_given_commands_in_the_image_then_their_pieces_wait_for_their_ok_and_the_image_lands(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_with(COMMANDS)
    with run(samples, monkeypatch, image) as result:
        assert (result.landed == image, result.attempts) == (True, 1)
        assert result.executed_of_the_image == []


@pytest.mark.parametrize("texts", [TEXTS, COMMANDS], ids=["texts", "commands"])
@pytest.mark.parametrize("seed", range(4))
def test_given_a_byte_of_the_data_that_is_lost_then_it_is_noticed_and_nothing_is_executed(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch, texts: list[bytes], seed: int
) -> None:
    image = image_with(texts)
    with run(samples, monkeypatch, image) as clean:
        at = random.Random(seed).choice(places(clean.sent, image)["data"])
    with run(samples, monkeypatch, image, {at: ByteFault.DROP}) as result:
        assert (result.landed == image, result.attempts) == (True, 2)
        assert result.executed_of_the_image == []


@pytest.mark.parametrize("fault", [ByteFault.DROP, ByteFault.FLIP])
@pytest.mark.parametrize("seed", range(5))
def test_given_a_command_that_is_damaged_then_its_data_is_not_executed_and_the_image_still_lands(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch, seed: int, fault: ByteFault
) -> None:
    image = image_with(TEXTS)
    with run(samples, monkeypatch, image) as clean:
        at = random.Random(seed).choice(places(clean.sent, image)["command"])
    with run(samples, monkeypatch, image, {at: fault}) as result:
        assert (result.landed == image, result.attempts) == (True, 2)
        assert result.executed_of_the_image == []


@pytest.mark.parametrize("seed", range(2))
def test_given_a_damaged_byte_of_the_data_then_nothing_is_shifted(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Nobody but MCUboot can notice it.
    image = image_with(TEXTS)
    with run(samples, monkeypatch, image) as clean:
        at = random.Random(seed).choice(places(clean.sent, image)["data"])
    with run(samples, monkeypatch, image, {at: ByteFault.FLIP}) as result:
        assert sum(a != b for a, b in zip(result.landed, image, strict=True)) == 1


def test_given_a_board_without_rts_then_the_image_lands_in_short_chunks(
    samples: SampleImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_with(COMMANDS)
    with run(samples, monkeypatch, image, rts=False) as result:
        assert result.landed == image
        assert result.attempts > 1
        assert result.executed_of_the_image == []
        sizes = [int(size) for size in re.findall(rb"AT#XDFUWRITE=0,\d+,(\d+)\r", result.sent)]
        assert sizes[-2] <= 508

"""A target for ``#XDFU`` on a scripted Serial Modem, and what goes wrong on the way."""

from collections.abc import Iterator
from contextlib import contextmanager

from bridge.board import Board
from bridge.dfu import DfuTarget, TransferImage, XdfuTarget, XdfuTiming
from bridge.dfu.transfer import TransferStep, transfer
from bridge.image import BytesSource, ImageKind
from hil_tests.unit.dfu.fake_serial_modem import FakeSerialModem

QUICK = XdfuTiming(
    command_s=0.3, erase_s=5, flash_bytes_per_s=1_000_000, margin_s=0.3, schedule_s=0.3, recovery_s=30
)
IMAGE = bytes(range(256)) * 300  # 76,800 bytes: three chunks
CHUNK = 32 * 1024


@contextmanager
def bench(*, flow_control: bool = True) -> Iterator[tuple[FakeSerialModem, Board, XdfuTarget]]:
    with (
        FakeSerialModem() as modem,
        Board.open(modem.path, baud=1_000_000, flow_control=flow_control) as board,
    ):
        modem.received.clear()
        yield modem, board, XdfuTarget(board, timing=QUICK, streams=False)


def run_all(
    target: DfuTarget, image: bytes = IMAGE, kind: ImageKind = ImageKind.APPLICATION
) -> list[TransferStep]:
    return list(transfer(target, BytesSource(image, "image.bin"), TransferImage(kind, len(image))))


class LoseBytes:
    """Outgoing hook that drops bytes of the n-th large write."""

    def __init__(self, number: int, start: int, count: int) -> None:
        self._number, self._start, self._count = number, start, count
        self._seen = 0

    def __call__(self, data: bytes) -> bytes:
        if len(data) < 300:
            return data
        number, self._seen = self._seen, self._seen + 1
        return data[: self._start] + data[self._start + self._count :] if number == self._number else data


def finish_and_schedule(target: XdfuTarget) -> None:
    run_all(target)
    target.schedule()

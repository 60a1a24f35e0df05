"""The bridge's own uploads, as its commands do them."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.board import Board, Link
from bridge.board.smp_client import SmpClient
from bridge.dfu import XdfuTarget
from bridge.dfu.smp_upload import SmpUpload
from bridge.dfu.target import TransferImage
from bridge.dfu.transfer import transfer
from bridge.image import BytesSource, ImageKind
from bridge.lab.benchmark.ceiling import RECOVERY_LINE_BUFFERS

if TYPE_CHECKING:
    from bridge.lab.benchmark.contestant import Assignment

_CHUNK_BYTES = 4096


def prepare(assignment: "Assignment") -> Callable[[], None]:
    """Open the port; the result uploads."""
    return _prepare_xdfu(assignment) if assignment.case.route == "xdfu" else _prepare_smp(assignment)


def _prepare_xdfu(assignment: "Assignment") -> Callable[[], None]:
    case, image = assignment.case, assignment.image
    board = Board.open(assignment.port, baud=case.baud, flow_control=case.uart.flow_control)
    target = XdfuTarget(board)
    asked = TransferImage(ImageKind.APPLICATION, len(image))

    def upload() -> None:
        for _ in transfer(target, BytesSource(image, "image.bin"), asked):
            pass

    return upload


def _prepare_smp(assignment: "Assignment") -> Callable[[], None]:
    case, image = assignment.case, assignment.image
    link = Link(assignment.port, baud=case.baud, flow_control=case.uart.flow_control)
    client = SmpClient(link)
    link.open()

    def upload() -> None:
        lines = RECOVERY_LINE_BUFFERS if case.route == "recovery" else None
        digest = hashlib.sha256(image).digest()
        job = SmpUpload(client, client.parameters(), len(image), digest, line_buffers=lines)
        for start in range(0, len(image), _CHUNK_BYTES):
            job.write(image[start : start + _CHUNK_BYTES])
        job.finish()

    return upload

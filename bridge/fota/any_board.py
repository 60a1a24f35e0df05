"""Judging an image before any board is asked: what no board could take need not be offered to one.

The rules are those of the policy, as far as they need no board; see :mod:`bridge.fota.policy`.
"""

from contextlib import closing

from bridge.board import BoardIdentity
from bridge.errors import ImageRefusedError
from bridge.fota.hardware_policy import check_board, check_built_for, check_family, chip_of
from bridge.fota.inspection import InspectedSource
from bridge.fota.policy import MODEM_KINDS
from bridge.fota.room_policy import check_room, find_room
from bridge.image import FirmwareImage, ImageHead, ImageKind, ImageSource
from bridge.image.package_source import PACKAGE_KINDS, choose, unpack
from bridge.image.signature import verify_any_signature


def inspect_for_any_board(
    source: ImageSource,
    *,
    board: str | None = None,
    image_index: int = 0,
    slot_size_bytes: int | None = None,
    public_keys_pem: tuple[bytes, ...] = (),
) -> FirmwareImage:
    """Read an image to its end and refuse it if no board could take it.

    Args:
        source: The image; closed at the end.
        board: Board or chip that it is meant for, if that is known.
        image_index: MCUboot image number.
        slot_size_bytes: Size of the application's slot, where partitions are not the standard ones.
        public_keys_pem: What MCUboot boots must be signed by one of these.

    Returns:
        The file, as a whole.

    Raises:
        ImageRefusedError: It is no image, is broken, or is for no nRF91, or for another board than the one named.
    """
    identity = BoardIdentity(port="", model=board)
    with closing(InspectedSource(source, image_index=image_index)) as inspected:
        check_board(BoardIdentity(port=""), board)
        head = inspected.read_head()
        image = inspected.finish_inspection()
        content = source.read(0, source.wait_size()) if image.kind in PACKAGE_KINDS else b""
    candidates = [(head, image)]
    if image.kind in PACKAGE_KINDS:
        candidates = [
            (each.head, each.image) for each in choose(unpack(content, image.name), None, image_index)
        ]
    for candidate_head, candidate in candidates:
        _check_hardware(candidate_head, board)
        if candidate.kind is ImageKind.APPLICATION:
            check_room(candidate.size_bytes, find_room(slot_size_bytes, board, identity))
        if public_keys_pem and candidate.kind not in MODEM_KINDS:
            verify_any_signature(candidate, public_keys_pem)
    return image


def _check_hardware(head: ImageHead, board: str | None) -> None:
    identity = BoardIdentity(port="", model=board)
    check_built_for(head, identity, board)
    check_family(head, identity)
    if head.soc and chip_of(head.soc) is None:
        raise ImageRefusedError(
            f"the image was built for {head.soc}, which is no nRF91", reason="wrong-board"
        )

"""What runs and what the next reset starts, as far as a server's image list tells.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt_state.c`` (``img_mgmt_state_read``) and MCUboot
``boot/boot_serial/src/boot_serial.c`` (``bs_list``): an image that runs on trial is not confirmed, and the one that
MCUboot goes back to is, although it lies in the other slot. No other state of a board that swaps looks like that.
"""

from collections.abc import Iterable

from bridge.board.smp_answers import ImageState


def running_image(states: Iterable[ImageState], image: int = 0) -> ImageState | None:
    """The entry of the image that runs: the active one, or the primary slot's where nobody says."""
    own = [state for state in states if state.image == image]
    return next((state for state in own if state.active), None) or next(
        (state for state in own if state.slot == 0), None
    )


def image_to_go_back_to(states: Iterable[ImageState], image: int = 0) -> ImageState | None:
    """The entry that the next reset brings back because the image that runs is on trial; None if it is not."""
    own = [state for state in states if state.image == image]
    running = running_image(own, image)
    if running is None or running.confirmed:
        return None
    return next((state for state in own if state.confirmed and not state.active and state.slot != 0), None)


def next_image(states: Iterable[ImageState], image: int = 0) -> ImageState | None:
    """The entry that the next reset starts instead of what runs: one that is marked, or the one to go back to."""
    own = [state for state in states if state.image == image]
    return next((state for state in own if state.pending), None) or image_to_go_back_to(own, image)

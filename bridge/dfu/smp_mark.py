"""Having an image started by the next reset, and telling what the next reset starts where that cannot be had.

A refusal says little: with error 28 ("already pending") Zephyr's server refuses a test mark both where the slot is marked for
good and where the running image is on trial, so that the slot is gone back to (``img_mgmt_set_next_boot_slot`` in
``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt_state.c``; older servers say 6, and so does MCUboot's recovery from 2026 on:
``bs_set`` in ``boot/boot_serial/src/boot_serial.c``). So the image list decides.
"""

import logging
from collections.abc import Iterable

from bridge.board.smp_answers import ImageState
from bridge.board.smp_board import SmpBoard
from bridge.board.smp_next_boot import image_to_go_back_to, next_image
from bridge.errors import BoardRefusedError, BridgeError

_log = logging.getLogger(__name__)


class SmpMark:
    """The marks in the image list of one board.

    Args:
        board: The board, in an SMP conversation; its ``image_index`` says which image is meant.
    """

    def __init__(self, board: SmpBoard) -> None:
        self._board = board
        self._client = board.client

    def check_free(self) -> None:
        """See that neither the upload nor the reset after it costs an image that somebody still counts on.

        Raises:
            BoardRefusedError: In recovery, the upload would overwrite the image to go back to, which a server would refuse
                (reason ``slot-in-use``); or another image of the board is on trial (``on-trial``).
        """
        states = self._board.seen_image_states()
        own = self._board.image_index
        if self._board.in_recovery and image_to_go_back_to(states, own) is not None:
            raise self.slot_in_use()
        for other in sorted({state.image for state in states} - {own}):
            back = image_to_go_back_to(states, other)
            if back is not None:
                raise BoardRefusedError(
                    f"image {other} of the board runs on trial; the reset that this update needs would bring back its"
                    f" {back.version}",
                    reason="on-trial",
                    hint="Let it confirm itself (`nrf91-bridge smp state` shows it), or let it go (`nrf91-bridge smp reset`);"
                    " then send this image again.",
                )

    def find(self, digest: str) -> ImageState:
        """The image, in a slot from which nothing runs.

        Raises:
            BoardRefusedError: The board does not list it there (reason ``not-listed``).
        """
        return self._find(self._client.image_states(), digest)

    def mark(self, digest: str) -> None:
        """Have the image tried at the next reset, unless that starts it already.

        Raises:
            BoardRefusedError: The board does not list it (reason ``not-listed``), or the next reset will not start it
                (``schedule-refused``).
        """
        if self.find(digest).pending:
            return
        try:
            self._client.test(digest)
        except BoardRefusedError as error:
            self._judge(digest, error)

    def _judge(self, digest: str, refusal: BoardRefusedError) -> None:
        """A first answer may have been lost and the second request refused, or the image is started unmarked."""
        states = self._client.image_states()
        if self._find(states, digest).pending:
            return
        back = image_to_go_back_to(states, self._board.image_index)
        if back is not None and back.digest == digest:
            # A torn trailer can hide from the server that the running image is on trial, so that it lets the slot be written.
            _log.warning(
                "the running image is on trial, and the new one has taken the place of the one to go back to: the next reset"
                " starts it for good, without a trial"
            )
            return
        raise BoardRefusedError(
            f"the board has the image, but does not mark it for the next reset: {refusal.message}"
            + self._others(states),
            reason="schedule-refused",
            hint="Was its application built for a bootloader that swaps? With a single slot only recovery can write it.",
        ) from refusal

    def _others(self, states: Iterable[ImageState]) -> str:
        own = self._board.image_index
        waiting = [state for state in states if state.pending and state.image != own]
        return "".join(f"; {state.version} of its image {state.image} waits for that" for state in waiting)

    def _find(self, states: Iterable[ImageState], digest: str) -> ImageState:
        for state in states:
            ours = state.image == self._board.image_index
            if ours and state.digest == digest and not state.active and state.slot != 0:
                return state
        raise BoardRefusedError(
            "the board does not list the image after its upload", reason="not-listed", hint="Upload it again."
        )

    # --- telling --------------------------------------------------------------------------------------------

    def slot_in_use(self) -> BoardRefusedError:
        """Why the secondary slot cannot be written now, and what to do about it."""
        states, own = self._states_if_told(), self._board.image_index
        back, waiting = image_to_go_back_to(states, own), next_image(states, own)
        if back is not None:
            why = f"the running image is on trial, and {back.version} is there to go back to"
            hint = (
                f"Reset the board (`nrf91-bridge smp reset`) to go back to {back.version}, or keep what runs now"
                " (`nrf91-bridge smp confirm`, which only an application can do); then send this image again."
            )
        elif waiting is not None:
            why = f"{waiting.version} waits there for the next reset"
            hint = (
                "Reset the board (`nrf91-bridge smp reset`), and keep what runs then (`nrf91-bridge smp confirm`) or let a"
                " second reset take it away; then send this image again."
            )
        else:
            why = "its image waits for the next reset, or the running one is not confirmed"
            hint = (
                "`nrf91-bridge smp state` shows which. Reset the board (`nrf91-bridge smp reset`), and keep what runs then"
                " (`nrf91-bridge smp confirm`) or let a second reset take it away; then send this image again."
            )
        return BoardRefusedError(f"the secondary slot is in use: {why}", reason="slot-in-use", hint=hint)

    def not_invalidated(self) -> BoardRefusedError:
        """What becomes of an image that the board does not give up."""
        following = next_image(self._states_if_told(), self._board.image_index)
        if following is not None and (following.permanent or not following.pending):
            hint = "The next reset starts it, for good."
        else:
            hint = "It is tried once at the next reset, and goes away with the one after that unless it is confirmed."
        return BoardRefusedError(
            "the board does not give up the image in its secondary slot", reason="not-invalidated", hint=hint
        )

    def _states_if_told(self) -> tuple[ImageState, ...]:
        try:
            return self._board.image_states()
        except BridgeError:
            return ()

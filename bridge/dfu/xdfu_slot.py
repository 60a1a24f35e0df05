"""Opening an ``#XDFU`` session for MCUboot's secondary slot, and why the board refuses one.

Source: ncs-serial-modem ``app/src/sm_at_dfu.c``: ``#XDFUINIT`` compares the size with the whole slot, and a session that is
opened again is dropped; nothing is erased before the first write.
"""

from typing import Final

from bridge.board import AtClient
from bridge.errors import BoardRefusedError
from bridge.wire.xdfu import XdfuType, init_command

PAGE_BYTES: Final = 4096
"""The last page of the slot holds MCUboot's trailer."""


class SlotSessions:
    """Opens sessions for one image; the room for it is asked for once.

    Args:
        at: The AT conversation.
        timeout_s: For one command.
    """

    def __init__(self, at: AtClient, timeout_s: float) -> None:
        self._at = at
        self._timeout_s = timeout_s
        self._has_room = False

    def open(self, dfu_type: XdfuType, size_bytes: int) -> None:
        """``#XDFUINIT``, for a page more first, because the board does not keep the trailer's page free.

        Raises:
            BoardRefusedError: The image is too large (reason ``too-large``), or the firmware does not take any
                (``not-supported``).
            LinkError: The board does not answer.
        """
        if not self._has_room:
            self._has_room = self._accepts(dfu_type, size_bytes + PAGE_BYTES)
        try:
            self._at.command_again(init_command(dfu_type, size_bytes), timeout_s=self._timeout_s)
        except BoardRefusedError as error:
            raise self._refusal(dfu_type, size_bytes, error) from error
        if not self._has_room:
            raise BoardRefusedError(
                f"the image of {size_bytes} bytes ends in the last page of the board's slot, which MCUboot's trailer needs",
                reason="too-large",
                hint="It would fit, but could not be swapped. Build it smaller.",
            )

    def _accepts(self, dfu_type: XdfuType, size_bytes: int) -> bool:
        try:
            self._at.command_again(init_command(dfu_type, size_bytes), timeout_s=self._timeout_s)
        except BoardRefusedError:
            return False
        return True

    def _refusal(self, dfu_type: XdfuType, size_bytes: int, error: BoardRefusedError) -> BoardRefusedError:
        """The board's ``ERROR`` has no reason; a session for a single page tells whether the size was it."""
        try:
            self._at.command(init_command(dfu_type, PAGE_BYTES), timeout_s=self._timeout_s)
        except BoardRefusedError:
            return BoardRefusedError(
                f"the board's firmware does not take images by #XDFU: {error.message}",
                reason="not-supported",
                hint="Serial Modem builds since December 2025 do; `nrf91-bridge info` shows what runs.",
            )
        return BoardRefusedError(
            f"the image of {size_bytes} bytes is too large for the board's slot", reason="too-large"
        )

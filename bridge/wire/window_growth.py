"""How many requests may be unanswered: earned by answers and by page erases survived, gone at the first loss.

A device that cannot hold what is under way loses it at the first page erase, and would at every other one; a line that
damages a byte now and then loses something at any time. Only experience tells which it is. Where RTS/CTS keeps a device's
UART from overflowing, a loss says little; where it does not, the first evidence is a short question asked during a page
erase: a device that answers it went on receiving.
"""

from typing import Final

_CAUTION: Final = 64
"""Answered requests before the window grows for the first time on a line without flow control."""
_PATIENCE: Final = 32
"""The same after a loss that the window may have caused."""
_LONGEST_PATIENCE: Final = 512
_SUSPICION: Final = 4
"""How many times longer it takes after each further loss of that kind."""
_PROOF_BYTES: Final = 8 * 1024
"""A window that survived two page erases holds."""
_CREDIT: Final = 4
"""Losses in quick succession that a proven window may suffer before it counts as too large."""


class WindowGrowth:
    """The size of a window.

    Args:
        largest: Never more than this.
        start: Bytes that the device has already.
        flow_control: The device's UART stops the host when it is full.

    Attributes:
        window: How many requests may be unanswered now.
    """

    def __init__(self, largest: int, start: int = 0, *, flow_control: bool = False) -> None:
        self._largest = largest
        self._grown_at = start
        self._streak = 0
        self._patience = 1 if flow_control else _CAUTION
        self._credit = _CREDIT if flow_control else 0
        self._struck = False
        self.window = 1

    @property
    def proven(self) -> bool:
        """Whether a window of more than one has survived page erases, and not been beaten since."""
        return self._credit > 0

    def on_answer(self, acknowledged: int) -> None:
        """A request was answered as it should be.

        Args:
            acknowledged: Bytes that the device has now.
        """
        if self.window > 1 and acknowledged - self._grown_at >= _PROOF_BYTES:
            self._credit = _CREDIT
            self._struck = False
        self._streak += 1
        if self._streak >= self._patience * self.window and self.window < self._largest:
            self.window += 1
            self._streak = 0
            self._grown_at = acknowledged

    def on_evidence(self, received: bool) -> None:
        """A question that was asked during a page erase was answered (the device went on receiving), or it was not."""
        if self._credit or self.window > 1:
            return
        if not received:
            self._patience = _LONGEST_PATIENCE
        elif not self._struck:
            self._patience = 1

    def on_loss(self, *, after_erase: bool) -> None:
        """Something was lost: one request at a time, until trust is regained.

        Args:
            after_erase: The last answer before it was a slow one.
        """
        self._streak = 0
        if self.window > 1:
            if self._credit:
                self._credit -= 1
                self._patience = 1
            elif (
                after_erase or self._struck
            ):  # perhaps more than the device can hold: be slower to try that again
                self._patience = min(max(_PATIENCE, _SUSPICION * self._patience), _LONGEST_PATIENCE)
                self._struck = True
            else:
                self._patience = 2
                self._struck = True
        self.window = 1

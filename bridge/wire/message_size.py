"""How long a message should be: as long as the device takes, unless the line damages long ones too often."""

from typing import Final

_SMALLEST_BYTES: Final = 512
_GROW_BYTES: Final = 32 * 1024
"""Bytes without a loss before the size is doubled again."""


class MessageSize:
    """Halved at each loss, doubled after a while without one; short messages stay as they are.

    Args:
        largest_bytes: What the device takes.

    Attributes:
        size_bytes: The size now.
    """

    def __init__(self, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes
        self._smallest_bytes = min(largest_bytes, _SMALLEST_BYTES)
        self._since = 0
        self.size_bytes = largest_bytes

    def on_loss(self, acknowledged: int) -> None:
        """Something was lost; the device has ``acknowledged`` bytes of the image."""
        self._since = acknowledged
        self.size_bytes = max(self._smallest_bytes, self.size_bytes // 2)

    def on_progress(self, acknowledged: int) -> None:
        """The device has ``acknowledged`` bytes of the image."""
        if acknowledged - self._since >= _GROW_BYTES and self.size_bytes < self._largest_bytes:
            self._since = acknowledged
            self.size_bytes = min(self._largest_bytes, 2 * self.size_bytes)

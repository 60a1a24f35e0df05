"""What can be written once only: the immutable bootloader's provisioned keys and its monotonic counter, in UICR's OTP.

Source: sdk-nrf ``subsys/bootloader/bl_storage/bl_storage.c`` and ``bl_validation/bl_validation.c``: a counter value is the
version shifted by one, with the inverted slot number in the lowest bit; every change takes a slot for ever. Serial
Modem provisions 40 of them.
"""

from dataclasses import dataclass, field
from typing import Any, Final

COUNTER_SLOTS: Final = 40


@dataclass
class Otp:
    """The part of OTP that changes in the field.

    Attributes:
        counters: Used counter slots, in the order of their use.
        invalid_keys: Numbers of the keys that are revoked.
    """

    counters: list[int] = field(default_factory=list)
    invalid_keys: list[int] = field(default_factory=list)

    @property
    def monotonic_version(self) -> int:
        """The version that no image may be below."""
        return max(self.counters, default=0) >> 1

    def set_monotonic_version(self, version: int, slot: int) -> bool:
        """Use up a counter slot; False when the value is not higher, or no slot is left."""
        value = version << 1 | (slot == 0)
        if value <= max(self.counters, default=0) or len(self.counters) >= COUNTER_SLOTS:
            return False
        self.counters.append(value)
        return True

    def invalidate_key(self, number: int) -> None:
        """Revoke a key."""
        if number not in self.invalid_keys:
            self.invalid_keys.append(number)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"counters": self.counters, "invalid_keys": self.invalid_keys}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Otp":
        """The reverse of :meth:`to_dict`; raises KeyError, TypeError or ValueError for anything else."""
        return cls([int(value) for value in data["counters"]], [int(key) for key in data["invalid_keys"]])

"""The data types of MQTT's packets: a cursor that reads them and functions that build them.

Source: OASIS MQTT 5.0, section 1.5; MQTT 3.1.1 has the same integers and strings.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from bridge.errors import CloudError, UsageError

_T = TypeVar("_T")

MAX_VARIABLE_BYTE_INTEGER: Final = 268_435_455


class Fields:
    """A cursor over a packet's body.

    Args:
        name: The packet's name, for messages.
        body: Everything after the remaining length.
        error: What to raise about bytes that cannot be.
    """

    def __init__(self, name: str, body: bytes, error: type[CloudError]) -> None:
        self.name = name
        self.error = error
        self._body = body
        self._position = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._body) - self._position

    def take(self, size: int) -> bytes:
        """The next bytes as they are."""
        start, end = self._position, self._position + size
        if end > len(self._body):
            raise self.error(f"MQTT {self.name} ends in the middle of a field", offset=start)
        self._position = end
        return self._body[start:end]

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Two byte integer."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Four byte integer."""
        return int.from_bytes(self.take(4), "big")

    def varint(self) -> int:
        """Variable byte integer, at most four bytes long and no longer than it must be."""
        value = 0
        for shift in (0, 7, 14, 21):
            digit = self.u8()
            value |= (digit & 0x7F) << shift
            if not digit & 0x80:
                if not digit and shift:
                    break
                return value
        raise self.error(f"MQTT {self.name} has an overlong variable byte integer", offset=self._position)

    def packet_id(self) -> int:
        """Packet identifier: never 0."""
        if (packet_id := self.u16()) == 0:
            raise self.error(f"MQTT {self.name} with packet identifier 0")
        return packet_id

    def binary(self) -> bytes:
        """Binary data with its length in front."""
        return self.take(self.u16())

    def text(self) -> str:
        """UTF-8 string."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError:
            raise self.error(f"MQTT {self.name} holds text that is no UTF-8") from None
        if "\0" in text:
            raise self.error(f"MQTT {self.name} holds text with U+0000")
        return text

    def pair(self) -> tuple[str, str]:
        """UTF-8 string pair."""
        return self.text(), self.text()

    def part(self, size: int) -> "Fields":
        """A cursor over the next bytes alone."""
        return Fields(self.name, self.take(size), self.error)

    def rest(self) -> bytes:
        """Everything left."""
        return self.take(self.left)

    def at_least_one(self, read: Callable[[], _T]) -> Iterator[_T]:
        """Read one after the other until nothing is left."""
        yield read()
        while self.left:
            yield read()

    def expect_end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise self.error(f"MQTT {self.name} has {self.left} bytes too many", offset=self._position)


def build_varint(value: int) -> bytes:
    """Variable byte integer.

    Raises:
        UsageError: The value is over 268435455.
    """
    if value > MAX_VARIABLE_BYTE_INTEGER:
        raise UsageError(f"{value} is over MQTT's limit of a length", reason="mqtt-too-large")
    digits = bytearray()
    while True:
        value, digit = divmod(value, 128)
        digits.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(digits)


def build_u16(value: int) -> bytes:
    """Two byte integer."""
    return value.to_bytes(2, "big")


def build_binary(data: bytes) -> bytes:
    """Binary data with its length in front.

    Raises:
        UsageError: It is longer than 65535 bytes.
    """
    if len(data) > 0xFFFF:
        raise UsageError(f"MQTT field of {len(data)} bytes is over 65535", reason="mqtt-too-large")
    return build_u16(len(data)) + data


def build_text(text: str) -> bytes:
    """UTF-8 string."""
    return build_binary(text.encode())


def build_pair(pair: tuple[str, str]) -> bytes:
    """UTF-8 string pair."""
    return build_text(pair[0]) + build_text(pair[1])

"""What the modem's flash holds after a full update, compared with what it must hold.

Released modem firmware is encrypted in its files and plain in the flash, so what was sent says nothing about a digest; the
release's ``digest.txt`` does. Only firmware that is not encrypted can be compared with what was sent.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.errors import BoardRefusedError, VerificationError
from bridge.image.package_info import DigestRange

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadBack:
    """How it went.

    Attributes:
        matched: Ranges that hold what they must.
        unknown: Ranges whose digest is another than that of the file, which proves nothing if the file is encrypted.
        unreadable: Ranges that the modem gives no digest of.
        from_release: The digests are those of the release, and not of the file.
        shortest_bytes: How much of a digest the server sent.
    """

    matched: int = 0
    unknown: int = 0
    unreadable: int = 0
    from_release: bool = False
    shortest_bytes: int = 32

    @property
    def proven(self) -> bool:
        """Whether all that could be read was found right."""
        return self.matched > 0 and self.unknown == 0


def read_back(
    digest: Callable[[int, int], bytes], released: Sequence[DigestRange], sent: Sequence[DigestRange]
) -> ReadBack:
    """Compare.

    Args:
        digest: Gives the digest of a range (first and last address), or the beginning of it.
        released: Ranges and digests of the release; empty if they are not known.
        sent: Ranges and digests of what was sent.

    Raises:
        VerificationError: A range holds something else (reason ``digest-mismatch``).
        LinkError: The board does not answer.
    """
    matched, different, unreadable, shortest = 0, [], 0, 32
    for each in released or sent:
        try:
            found = digest(each.first_address, each.last_address)
        except BoardRefusedError as error:
            _log.info("no digest of %#x: %s", each.first_address, error.message)
            unreadable += 1
            continue
        shortest = min(shortest, len(found))
        if bytes.fromhex(each.sha256).startswith(found):
            matched += 1
        else:
            different.append(each)
    if different and (released or matched):
        first = different[0]
        raise VerificationError(
            f"the modem's flash from {first.first_address:#x} to {first.last_address:#x} does not hold the firmware"
            f" ({len(different)} of {len(different) + matched} ranges differ)",
            reason="digest-mismatch",
            hint="Run the update again.",
        )
    return ReadBack(matched, len(different), unreadable, bool(released), shortest)

"""What Zephyr's OS group says of the system, in the manner of ``uname``.

Source: Zephyr ``subsys/mgmt/mcumgr/grp/os_mgmt/src/os_mgmt.c`` (``os_mgmt_info``): the order is fixed, whatever order is asked
for; the build without a network or Bluetooth has no name.
"""

from typing import Final

from bridge.virtual.layout import board_model
from bridge.virtual.smp_errors import OsError, SmpRefusal

ZEPHYR_RELEASE: Final = "v4.1.99"
ZEPHYR_VERSION: Final = "4.1.99"
_ORDER: Final = "snrvmpio"


def os_info(model: str, wanted: str) -> str:
    """The texts for the letters of ``format``; none stands for ``s``, ``a`` for all.

    Args:
        model: The board model.
        wanted: ``format``.

    Raises:
        SmpRefusal: One of the letters is unknown.
    """
    if set(wanted) - set(_ORDER + "a"):
        raise SmpRefusal(OsError.INVALID_FORMAT)
    letters = _ORDER if "a" in wanted else wanted or "s"
    texts = {
        "s": "Zephyr",
        "n": "unknown",
        "r": ZEPHYR_RELEASE,
        "v": ZEPHYR_VERSION,
        "m": "arm",
        "p": "cortex-m33",
        "i": f"{model}/{board_model(model).soc.lower()}/ns",
        "o": "Zephyr",
    }
    return " ".join(texts[letter] for letter in _ORDER if letter in letters)

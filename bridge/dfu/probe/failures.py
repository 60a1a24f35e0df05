"""pynrfjprog's error codes, translated in one table into the project's errors.

Source: pynrfjprog 10.24.2 ``APIError.py`` (codes) and ``docs/highlevelnrfjprogdll.h`` (which call returns which), and what
the UART probes were seen to return: an SMP refusal becomes -1, -2, -3 or -254 by its number, so its text decides.
"""

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridge.board.port_errors import open_error
from bridge.errors import (
    BenchError,
    BoardNotFoundError,
    BoardRefusedError,
    BridgeError,
    ImageRefusedError,
    LinkError,
    UsageError,
    VerificationError,
)

JLINK_HINT: Final = (
    "Install the J-Link software from https://www.segger.com/downloads/jlink"
    " (on Linux it belongs in /opt/SEGGER/JLink), then try again."
)
_RECOVER_HINT: Final = "`nrf91-bridge probe recover` removes the protection, and erases everything."
_CABLE_HINT: Final = "Check the USB cable; unplug the probe and plug it in again."
_POWER_HINT: Final = "Is the board switched on, and is the debugger connected to the nRF91?"
_OWN_ROUTE_HINT: Final = "Use the bridge's own SMP route, which can."


@dataclass(frozen=True)
class Meaning:
    """What an error code means here.

    Attributes:
        kind: Class of the error.
        reason: Its code.
        text: What happened.
        hint: What to do.
    """

    kind: type[BridgeError]
    reason: str
    text: str
    hint: str | None = None


MEANINGS: Final[dict[int, Meaning]] = {
    -1: Meaning(BenchError, "no-memory", "pynrfjprog ran out of memory"),
    -2: Meaning(BoardRefusedError, "refused", "pynrfjprog refused the operation"),
    -3: Meaning(ImageRefusedError, "not-programmable", "pynrfjprog cannot write this file to this chip"),
    -4: Meaning(BoardRefusedError, "wrong-chip", "the chip cannot do that"),
    -5: Meaning(BoardRefusedError, "wrong-chip", "the chip is of another family"),
    -6: Meaning(BoardRefusedError, "wrong-chip", "pynrfjprog does not know the chip"),
    -7: Meaning(LinkError, "link-lost", "the connection to the probe was lost", _CABLE_HINT),
    -10: Meaning(
        BoardNotFoundError,
        "probe-missing",
        "no debug probe has this serial number",
        "`nrf91-bridge probe list` shows the probes.",
    ),
    -11: Meaning(BoardNotFoundError, "no-target", "the probe finds no nRF chip", _POWER_HINT),
    -12: Meaning(BenchError, "no-power", "the probe measures no supply voltage on the board", _POWER_HINT),
    -13: Meaning(BoardNotFoundError, "no-probe", "no debug probe is connected"),
    -20: Meaning(BoardRefusedError, "write-failed", "the flash could not be written", _RECOVER_HINT),
    -21: Meaning(BoardRefusedError, "recover-failed", "the chip could not be recovered", _POWER_HINT),
    -90: Meaning(BoardRefusedError, "protected", "access-port protection is on", _RECOVER_HINT),
    -91: Meaning(BoardRefusedError, "protected", "the chip's memory protection forbids it", _RECOVER_HINT),
    -92: Meaning(BoardRefusedError, "protected", "the modem core is switched off", _RECOVER_HINT),
    -93: Meaning(BoardRefusedError, "protected", "TrustZone forbids it", _RECOVER_HINT),
    -94: Meaning(BoardRefusedError, "protected", "block protection forbids it", _RECOVER_HINT),
    -100: Meaning(
        BoardNotFoundError, "no-jlink-library", "SEGGER's J-Link software is not installed", JLINK_HINT
    ),
    # What a missing library gives on Linux, where its bare name is tried last.
    -101: Meaning(
        BoardNotFoundError,
        "no-jlink-library",
        "SEGGER's J-Link library cannot be opened; it is probably not installed",
        JLINK_HINT,
    ),
    -102: Meaning(LinkError, "probe-error", "the J-Link library reports an error", _CABLE_HINT),
    -103: Meaning(BoardNotFoundError, "jlink-too-old", "SEGGER's J-Link software is too old", JLINK_HINT),
    -104: Meaning(LinkError, "link-lost", "the probe could not read the chip", _CABLE_HINT),
    -105: Meaning(LinkError, "no-answer", "the probe does not answer", _CABLE_HINT),
    -110: Meaning(BoardNotFoundError, "port-missing", "the serial port does not exist"),
    -111: Meaning(BenchError, "port-denied", "the serial port may not be opened"),
    -112: Meaning(LinkError, "link-lost", "the serial port could not be written"),
    -113: Meaning(LinkError, "link-lost", "the serial port could not be read"),
    -114: Meaning(BoardNotFoundError, "port-unusable", "the serial port does not open"),
    -115: Meaning(LinkError, "link-lost", "the serial port was closed"),
    -150: Meaning(
        UsageError, "missing-extra", "pynrfjprog is incomplete", "Install nrf91-bridge[probe] again."
    ),
    -151: Meaning(UsageError, "missing-extra", "pynrfjprog's library cannot be loaded"),
    -152: Meaning(UsageError, "missing-extra", "pynrfjprog's libraries do not fit together"),
    -153: Meaning(UsageError, "missing-extra", "pynrfjprog's J-Link worker is missing"),
    -160: Meaning(VerificationError, "verify-failed", "the flash does not hold what was to be written"),
    -161: Meaning(BoardRefusedError, "refused", "the RAM that is needed is switched off"),
    -162: Meaning(BenchError, "file-unusable", "pynrfjprog cannot use the file"),
    -170: Meaning(ImageRefusedError, "bad-hex", "pynrfjprog cannot read the file"),
    -171: Meaning(ImageRefusedError, "wrong-kind", "pynrfjprog does not know such files"),
    -172: Meaning(ImageRefusedError, "bad-hex", "pynrfjprog finds the file broken"),
    -173: Meaning(ImageRefusedError, "outside-flash", "the file has data where the chip has no memory"),
    -174: Meaning(UsageError, "probe-config", "pynrfjprog's configuration is wrong"),
    -175: Meaning(UsageError, "probe-config", "pynrfjprog's configuration cannot be read"),
    -176: Meaning(UsageError, "probe-config", "pynrfjprog's configuration is incomplete"),
    -200: Meaning(BridgeError, "internal", "pynrfjprog is in use already in this process"),
    -220: Meaning(LinkError, "no-answer", "the board does not answer"),
    -221: Meaning(BoardRefusedError, "dfu-refused", "the board reports that the update failed"),
    -254: Meaning(BridgeError, "probe-internal", "pynrfjprog reports an internal error"),
    -255: Meaning(ImageRefusedError, "wrong-kind", "pynrfjprog does not support such files on this route"),
}
"""Every code of ``NrfjprogdllErr`` but success."""

_NO_RC: Final = re.compile(r"Key not found: 'rc'|does not contain attribute rc")
_OFFSET: Final = "Unexpected offset"
_SMP_REFUSAL: Final = re.compile(r"non-zero return code, (\d+)")
_OPEN_ERRNO: Final = re.compile(r"Not able to open serial port, error is (\d+)")
_PORT_ERROR: Final = -114


def translate(code: int, name: str, errors: Sequence[str], *, port: str | None = None) -> BridgeError:
    """Make the project's error of one of pynrfjprog's.

    Args:
        code: Its number.
        name: Its name, for codes that are not known here.
        errors: What the library said before, the cause first.
        port: The serial port, for the UART probes.
    """
    said = "; ".join(errors)
    spoken = _from_text(said)
    if spoken is not None:
        return spoken
    opening = _OPEN_ERRNO.search(said)
    if code == _PORT_ERROR and port is not None and opening:
        number = int(opening[1])
        return open_error(port, OSError(number, errno.errorcode.get(number, "")))
    meaning = MEANINGS.get(code) or Meaning(
        BridgeError, "probe-internal", f"pynrfjprog reports {name} ({code})"
    )
    detail = f" ({errors[0]})" if errors else ""
    return meaning.kind(meaning.text + detail, reason=meaning.reason, hint=meaning.hint)


def unraised(errors: Sequence[str]) -> BridgeError:
    """Make an error of a failure that was only logged, as pynrfjprog does with some SMP refusals."""
    why = errors[0] if errors else "it does not say why"
    return _from_text("; ".join(errors)) or BoardRefusedError(
        f"the operation failed, although pynrfjprog calls it done ({why})",
        reason="dfu-refused",
    )


def _from_text(said: str) -> BridgeError | None:
    refusal = _SMP_REFUSAL.search(said)
    if refusal:
        return BoardRefusedError(f"the board refused the image: SMP error {refusal[1]}", reason="dfu-refused")
    if _NO_RC.search(said):
        return BoardRefusedError(
            "the board's SMP answers carry no rc, which pynrfjprog cannot work with",
            reason="not-supported",
            hint=_OWN_ROUTE_HINT,
        )
    if _OFFSET in said:
        return LinkError(
            "the board expects another offset than pynrfjprog's, so bytes were lost or repeated",
            reason="bytes-lost",
            hint=f"pynrfjprog cannot find back. {_OWN_ROUTE_HINT}",
        )
    return None

"""pynrfjprog as an alternative engine for updates over a serial port: MCUboot's recovery, and full modem firmware.

Slower and less forgiving than the bridge's own SMP routes, but the vendor's code. It wants lines of 512 bytes, answers
with ``rc`` and offsets that never surprise it; it opens the port without RTS/CTS; it asks the board to restart while it
closes the port, and does not wait for an answer. What it writes into MCUboot's slot it does not read back.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bridge.dfu.probe.plan import check_modem_package
from bridge.dfu.probe.process import Engine, OnProgress, ProcessEngine
from bridge.errors import ImageRefusedError
from bridge.image import ImageKind, inspect_bytes
from bridge.image.package_source import application_image

RECOVERY_BAUD: Final = 115_200
MODEM_BAUD: Final = 1_000_000
_MARGIN_S: Final = 30.0
"""How much longer than the board pynrfjprog's own process may be silent."""


def upload_application(
    port: str,
    data: bytes,
    name: str = "",
    *,
    baud: int = RECOVERY_BAUD,
    timeout_s: float = 30.0,
    on_progress: OnProgress | None = None,
    engine: Engine | None = None,
) -> None:
    """Write an application image with ``MCUBootDFUProbe``, and ask the board to restart.

    The slot is not read back, and the request for a restart can be lost; look at the image list afterwards.

    Args:
        port: Serial port of a board in MCUboot's recovery, or with an SMP server that answers with ``rc``.
        data: A signed application image, or a DFU package with one.
        name: Its file name.
        baud: Line speed.
        timeout_s: How long the board may be silent, its first erase included.
        on_progress: Gets its progress.
        engine: What talks to pynrfjprog; a process of its own if not given.

    Raises:
        ImageRefusedError: It is no application image.
        BoardNotFoundError: The port is not there.
        BoardRefusedError: The board refuses the image, or its SMP server is not what pynrfjprog needs.
        LinkError: The board does not answer, or bytes were lost.
    """
    image = inspect_bytes(data, name)
    if image.kind is ImageKind.DFU_PACKAGE:
        image, data = application_image(data)
    if image.kind is not ImageKind.APPLICATION:
        raise ImageRefusedError(
            f"{name or 'the file'} is {image.kind}, not an application image", reason="wrong-kind"
        )
    # Always as .bin: of an Intel HEX file pynrfjprog would drop the gaps.
    with (
        _connected("open_recovery", port, baud, timeout_s, engine) as board,
        _file(data, "image.bin") as path,
    ):
        board.call("program", timeout_s=timeout_s + _MARGIN_S, on_progress=on_progress, path=path)


def upload_modem(
    port: str,
    data: bytes,
    name: str = "",
    *,
    baud: int = MODEM_BAUD,
    timeout_s: float = 30.0,
    on_progress: OnProgress | None = None,
    engine: Engine | None = None,
) -> None:
    """Write full modem firmware with ``ModemUARTDFUProbe``, compare the modem's digests, and ask for a restart.

    Args:
        port: Serial port of a board that runs the full-modem-update application (``fmfu_smp_svr``).
        data: A modem release zip.
        name: Its file name.
        baud: Line speed.
        timeout_s: How long the board may be silent.
        on_progress: Gets its progress.
        engine: What talks to pynrfjprog; a process of its own if not given.

    Raises:
        ImageRefusedError: It is no complete modem release.
        BoardNotFoundError: The port is not there.
        BoardRefusedError: The board refuses a part.
        VerificationError: The modem's digests are not those of the release.
        LinkError: The board does not answer, or bytes were lost.
    """
    image = inspect_bytes(data, name)
    if image.modem_package is None:
        raise ImageRefusedError(
            f"{name or 'the file'} is {image.kind}, not a modem release zip", reason="wrong-kind"
        )
    check_modem_package(image.modem_package)
    with (
        _connected("open_modem_uart", port, baud, timeout_s, engine) as board,
        _file(data, "modem.zip") as path,
    ):
        for step in ("program", "verify"):
            board.call(step, timeout_s=timeout_s + _MARGIN_S, on_progress=on_progress, path=path)


@contextmanager
def _connected(
    opening: str, port: str, baud: int, timeout_s: float, engine: Engine | None
) -> Iterator[Engine]:
    """A connection of pynrfjprog's to a board, which is told to restart at the end."""
    asked = engine or ProcessEngine()
    try:
        asked.call(
            opening, timeout_s=timeout_s + _MARGIN_S, port=port, baud=baud, timeout_ms=int(timeout_s * 1000)
        )
        yield asked
        asked.call("close_probe", timeout_s=_MARGIN_S)
    finally:
        asked.close()


@contextmanager
def _file(data: bytes, name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-") as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        yield str(path)

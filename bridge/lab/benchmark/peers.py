"""The peers, each with the settings that serve it best, loaded only when it runs.

``vendor`` is not Nordic's script but our statement of what it does, from its documentation and source
(ncs-serial-modem ``app/scripts/sm_dfu_host.py``): 4096 bytes at a time with RTS/CTS, the ``OK`` awaited before the data and the
``#XDFU`` status after them, by looking at the port every 10 ms; its retries are left out, because a repeated chunk destroys
the image.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import serial

from bridge.errors import LinkError, UsageError

if TYPE_CHECKING:
    from bridge.lab.benchmark.contestant import Assignment

Upload = Callable[[], None]

_VENDOR_CHUNK_BYTES: Final = 4096
_VENDOR_POLL_S: Final = 0.01
_TIMEOUT_S: Final = 30.0


def prepare_vendor(assignment: "Assignment") -> Upload:
    """``#XDFU`` in lock-step."""
    port = serial.Serial(assignment.port, assignment.case.baud, rtscts=True)
    image = assignment.image

    def wait_for(text: bytes) -> None:
        received = b""
        deadline = time.monotonic() + _TIMEOUT_S
        while text not in received:
            if b"ERROR" in received or time.monotonic() > deadline:
                raise LinkError(f"no {text!r} in {received!r}")
            if port.in_waiting:
                received += port.read(port.in_waiting)
            else:
                time.sleep(_VENDOR_POLL_S)

    def upload() -> None:
        port.write(b"AT#XDFUINIT=0,%d\r" % len(image))
        wait_for(b"OK")
        for start in range(0, len(image), _VENDOR_CHUNK_BYTES):
            chunk = image[start : start + _VENDOR_CHUNK_BYTES]
            port.write(b"AT#XDFUWRITE=0,%d,%d\r" % (start, len(chunk)))
            wait_for(b"OK")
            port.write(chunk)
            port.flush()
            wait_for(b"#XDFU: 0,1,0")

    return upload


def prepare_toolkit(assignment: "Assignment") -> Upload:
    """mcumgr-toolkit with the largest frames that the board takes."""
    import mcumgr_toolkit  # noqa: PLC0415

    client = mcumgr_toolkit.MCUmgrClient.serial(assignment.port, assignment.case.baud)
    image = assignment.image

    def upload() -> None:
        client.use_auto_frame_size()
        client.image_upload(image)

    return upload


def prepare_smpclient(assignment: "Assignment") -> Upload:
    """Use smpclient as it is by default, which takes the board's buffer size."""
    from smpclient import SMPClient  # noqa: PLC0415
    from smpclient.transport.serial import SMPSerialTransport  # noqa: PLC0415

    case, image = assignment.case, assignment.image

    async def run() -> None:
        transport = SMPSerialTransport(baudrate=case.baud, rtscts=case.uart.flow_control)
        async with SMPClient(transport, assignment.port) as client:
            async for _ in client.upload(image):
                pass

    return lambda: asyncio.run(run())


def prepare_smpmgr(assignment: "Assignment") -> Upload:
    """``smpmgr image upload`` as it is by default."""
    sys.argv = ["smpmgr"]  # it looks for plugins there when it is loaded
    from smpmgr.main import app  # noqa: PLC0415

    case = assignment.case
    arguments = ["--port", assignment.port, "--baudrate", str(case.baud)]
    arguments += ["image", "upload", str(assignment.image_file)]

    def upload() -> None:
        code = app(args=arguments, standalone_mode=False)
        if code:
            raise LinkError(f"smpmgr ended with {code}")

    return upload


def prepare_pynrfjprog(assignment: "Assignment") -> Upload:
    """Use pynrfjprog's MCUBootDFUProbe, which erases the slot first."""
    try:
        from pynrfjprog import HighLevel  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(f"pynrfjprog cannot be loaded: {error}", reason="no-pynrfjprog") from error
    api = HighLevel.API()
    api.open()
    probe = HighLevel.MCUBootDFUProbe(api, assignment.port, assignment.case.baud, 30_000, log=False)
    return lambda: probe.program(str(assignment.image_file))

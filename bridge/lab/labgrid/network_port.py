"""The port of a labgrid resource as a pyserial URL, and who is at fault when it is lost."""

import socket
from typing import Any, Final

from bridge import clock
from bridge.errors import BenchError, BridgeError, LinkError, UsageError

_OPEN_TIMEOUT_S: Final = 3
_KNOCK_TIMEOUT_S: Final = 2.0
_GONE_AFTER_S: Final = 3.0
_KNOCK_PAUSE_S: Final = 0.25


def port_url(resource: Any, host: str | None = None, port: int | None = None) -> str:
    """What to open for a labgrid ``SerialPort`` or ``NetworkSerialPort``.

    A pty behind ``ser2net`` never answers the negotiation of control lines, and labgrid's own driver does not wait for it
    either; the options of the URL say so.

    Args:
        resource: The resource.
        host: Where it is reached, if not at its own host (labgrid's proxy).
        port: The same for its TCP port.

    Raises:
        UsageError: It speaks a protocol that is unknown here.
        BenchError: Its exporter is away, so that it has no port (``exporter-lost``).
    """
    if not hasattr(resource, "protocol"):
        return str(resource.port)
    number = port or resource.port
    if not number:
        raise BenchError(
            "the exporter of the board's port is away",
            reason="exporter-lost",
            hint="Is labgrid-exporter running?",
        )
    address = f"{host or resource.host}:{number}"
    if resource.protocol == "rfc2217":
        return f"rfc2217://{address}?ign_set_control&timeout={_OPEN_TIMEOUT_S}"
    if resource.protocol == "raw":
        return f"socket://{address}"
    raise UsageError(f"no serial port is known that speaks {resource.protocol}", reason="bad-port")


def blame(error: BridgeError, url: str) -> BridgeError:
    """What a failure was really about.

    A board that restarts keeps its ``ser2net``, so nobody listening any more says that the exporter or the network is at
    fault, and not the board.

    Args:
        error: The failure.
        url: The port's URL when it happened.

    Returns:
        The failure itself, or a ``BenchError`` (``exporter-lost``) in its place.
    """
    lost = isinstance(error, LinkError) or error.reason in {"port-missing", "port-unusable"}
    if not lost or not url.startswith(("rfc2217://", "socket://")):
        return error
    host, _, rest = url.partition("://")[2].partition("?")[0].rpartition(":")
    if somebody_listens(host, int(rest)):
        return error
    return BenchError(
        f"the exporter of the board's port is lost: nobody listens at {host}:{rest} any more ({error.message})",
        reason="exporter-lost",
        stage=error.stage,
        offset=error.offset,
        hint="Start labgrid-exporter again; the board is brought back by the next update.",
    )


def somebody_listens(host: str, port: int) -> bool:
    """Whether a TCP port takes connections, tried for a few seconds: a server that ends may do so slowly."""
    deadline_s = clock.monotonic() + _GONE_AFTER_S
    while clock.monotonic() < deadline_s:
        try:
            socket.create_connection((host, port), timeout=_KNOCK_TIMEOUT_S).close()
        except ConnectionRefusedError:
            return False
        except OSError:  # unreachable for now
            clock.event().wait(_KNOCK_PAUSE_S)
        else:
            return True
    return False

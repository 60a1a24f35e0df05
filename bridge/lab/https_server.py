"""Starlette routes over HTTPS in a thread, with a stop that does not wait for idle clients.

uvicorn closes idle keep-alive connections politely and asyncio then waits up to 30 s for the peer's TLS
close; here they are cut, because a local cloud must stop at once.
"""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from uvicorn.protocols.http.h11_impl import H11Protocol

from bridge.errors import CloudError

_log = logging.getLogger(__name__)

TRANSPORT: Final = "transport"
"""Each request's ``scope["state"]`` holds its connection's transport under this name, for faults below HTTP."""


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, which tells a request on which connection it came."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class _PromptServer(uvicorn.Server):
    """A server that cuts idle connections when told to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        await super().shutdown(sockets)


class HttpsServer:
    """One HTTPS port with routes.

    Args:
        routes: What it serves.
        cert_file: Certificate chain, PEM.
        key_file: Its key, PEM.
        host: Address to listen on.
        port: TCP port; 0 picks a free one.
        client_ca_file: Authority of client certificates. They are asked for, and clients without one are served all
            the same; one of another authority is refused in the handshake. Without a file nobody is asked.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        *,
        cert_file: Path,
        key_file: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        client_ca_file: Path | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._server = _PromptServer(
            uvicorn.Config(
                Starlette(routes=list(routes)),
                ssl_certfile=str(cert_file),
                ssl_keyfile=str(key_file),
                ssl_ca_certs=None if client_ca_file is None else str(client_ca_file),
                ssl_cert_reqs=ssl.CERT_NONE if client_ca_file is None else ssl.CERT_OPTIONAL,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
            )
        )
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """TCP port, once started."""
        return self._port

    def start(self) -> Self:
        """Listen.

        Raises:
            CloudError: The address is in use or not ours (reason ``port-in-use``).
        """
        try:
            self._listener = socket.create_server((self._host, self._port))
        except OSError as error:
            raise CloudError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}",
                reason="port-in-use",
                hint="Choose another port, or 0 for a free one.",
            ) from error
        # Accepted sockets inherit it; asyncio sets it only for sockets whose protocol number is given, and here it is 0.
        # Without it each answer waits 40 ms for the client's delayed acknowledgement.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(
            target=self._run, args=(self._listener,), name="https-server", daemon=True
        )
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            self.close()
            raise CloudError(
                "the HTTPS server did not start; is its certificate readable?", reason="https-server"
            )
        return self

    def close(self) -> None:
        """Stop, cutting whoever is connected."""
        if self._thread is not None and self._listener is not None:
            self._server.should_exit = True
            self._thread.join()
            self._listener.close()
            self._thread = self._listener = None

    def _run(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            _log.error("the HTTPS server ended: %s", error)
        finally:
            self._server.ready.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

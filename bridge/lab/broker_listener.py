"""Accept TLS connections: every handshake is a task of its own, so that a half-open one delays nobody else."""

import asyncio
import asyncio.sslproto
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final, Self

_log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S: Final = 10.0
SHUTDOWN_TIMEOUT_S: Final = 1.0
MAX_HANDSHAKES: Final = 2000
"""Handshakes under way; a flood of half-open ones beyond this waits in the kernel's backlog."""
TLS_READ_BUFFER_BYTES: Final = 32 * 1024
"""Two TLS records. asyncio gives each TLS connection 256 KiB and touches them all."""


class TlsListener:
    """Hands each finished TLS connection to a protocol, as long as it is entered.

    Args:
        listener: A listening, non-blocking socket; closed at the end.
        tls: Server context.
        new_protocol: Called once for each connection.
    """

    def __init__(
        self, listener: socket.socket, tls: ssl.SSLContext, new_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._new_protocol = new_protocol
        asyncio.sslproto.SSLProtocol.max_size = TLS_READ_BUFFER_BYTES
        self._room = asyncio.Semaphore(MAX_HANDSHAKES)
        self._handshakes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._acceptor = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._acceptor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._acceptor
        self._listener.close()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # such as: out of file descriptors
                self._room.release()
                _log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._handshake(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        self._room.release()

    async def _handshake(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.connect_accepted_socket(
                self._new_protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            )
        except (OSError, ssl.SSLError) as error:
            _log.info("TLS handshake failed: %s", error)
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise

"""An MQTT broker with AWS IoT Core's manners: asyncio in its own thread, mutual TLS, loopback by default.

All rules live in :mod:`bridge.lab.broker_client` and :mod:`bridge.lab.broker_router`; here are only sockets,
TLS and timers. Every TLS handshake is a task of its own and every client has its own bounded outgoing buffer,
so that neither a half-open handshake nor a slow reader delays anybody else.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Final, Self, TypeVar

from bridge.errors import CloudError
from bridge.lab.broker_faults import BrokerFaults
from bridge.lab.broker_policy import Policy, ThingPolicy
from bridge.lab.broker_protocol import BrokerProtocol
from bridge.lab.broker_router import Router, ServiceHandler
from bridge.lab.mqtt_packets import Publish

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

HANDSHAKE_TIMEOUT_S: Final = 10.0
SHUTDOWN_TIMEOUT_S: Final = 1.0
ALPN_PROTOCOLS: Final = ["x-amzn-mqtt-ca", "mqtt"]


class Broker:
    """MQTT 3.1.1 over mutual TLS, QoS 0 and 1, on one port.

    Args:
        tls: Server context with certificate and the CA of the clients; client certificates are made mandatory
            here.
        host: Address to listen on.
        port: TCP port; 0 picks a free one.
        policy: Who may do what; by default :class:`~bridge.lab.broker_policy.ThingPolicy`.
    """

    def __init__(
        self, tls: ssl.SSLContext, *, host: str = "127.0.0.1", port: int = 0, policy: Policy | None = None
    ) -> None:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.set_alpn_protocols(ALPN_PROTOCOLS)
        self._tls = tls
        self._host = host
        self._port = port
        self._policy: Policy = policy or ThingPolicy()
        self.faults: Final = BrokerFaults()
        self._router = Router(self.faults)
        self._protocols: set[BrokerProtocol] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._connected: frozenset[str] = frozenset()

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
            listener = socket.create_server((self._host, self._port), backlog=128)
        except OSError as error:
            raise CloudError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}",
                reason="port-in-use",
                hint="Choose another port, or 0 for a free one.",
            ) from error
        listener.setblocking(False)
        self._port = int(listener.getsockname()[1])
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener, started), name="mqtt-broker", daemon=True
        )
        self._thread.start()
        started.wait()
        return self

    def close(self) -> None:
        """Cut every client and stop."""
        if self._loop is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = self._loop = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish without a socket, from any thread; returns at once and keeps the order of calls."""
        self._post(lambda: self._router.publish(Publish(topic, payload, qos=qos, retain=retain)))

    def deliver_to(self, client_id: str, topic: str, payload: bytes, *, qos: int = 1) -> None:
        """Give a message to one client, whether it subscribed or not, and at most once."""
        self._post(lambda: self._router.deliver_to(client_id, Publish(topic, payload, qos=qos)))

    def add_service(self, topic_filter: str, handler: ServiceHandler) -> None:
        """Let ``handler(client_id, message)`` consume clients' matching messages, on the broker's thread."""
        self._call(lambda: self._router.add_service(topic_filter, handler))

    def cut(self, client_id: str) -> bool:
        """Break a client's connection without a word; False when it is not connected."""
        return self._call(lambda: self._router.cut(client_id))

    @property
    def connected(self) -> frozenset[str]:
        """Client ids that are connected now."""
        with self._changed:
            return self._connected

    def wait_until_connected(self, client_id: str, timeout_s: float, *, connected: bool = True) -> bool:
        """Wait until a client is (or no longer is) connected; False when the time runs out."""
        with self._changed:
            return self._changed.wait_for(lambda: (client_id in self._connected) is connected, timeout_s)

    def _post(self, action: Callable[[], None]) -> None:
        if threading.current_thread() is self._thread:
            action()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(action)

    def _call(self, action: Callable[[], _T]) -> _T:
        if threading.current_thread() is self._thread:
            return action()
        result: concurrent.futures.Future[_T] = concurrent.futures.Future()
        loop = self._loop
        if loop is None:
            raise CloudError("the broker is not running", reason="broker-stopped")

        def settle() -> None:
            try:
                result.set_result(action())
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller's thread
                result.set_exception(error)

        loop.call_soon_threadsafe(settle)
        return result.result()

    def _run(self, listener: socket.socket, started: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._stop = asyncio.Event()
            started.set()
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        acceptor = asyncio.create_task(self._accept(listener))
        await self._stop.wait()
        acceptor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await acceptor
        listener.close()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        gone = [protocol.gone for protocol in self._protocols]
        for protocol in list(self._protocols):
            protocol.cut()
        await asyncio.gather(*gone)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # such as: out of file descriptors
                _log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._handshake(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.connect_accepted_socket(
                lambda: BrokerProtocol(self._router, self._policy, self._track, self._note_sessions),
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

    def _track(self, protocol: BrokerProtocol, *, alive: bool) -> None:
        (self._protocols.add if alive else self._protocols.discard)(protocol)

    def _note_sessions(self) -> None:
        with self._changed:
            self._connected = self._router.connected
            self._changed.notify_all()

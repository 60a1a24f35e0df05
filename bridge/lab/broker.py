"""An MQTT broker with AWS IoT Core's manners: asyncio in its own thread, mutual TLS, loopback by default.

All rules live in :mod:`bridge.lab.broker_client` and :mod:`bridge.lab.broker_router`, sockets in
:mod:`bridge.lab.broker_listener` and :mod:`bridge.lab.broker_protocol`; here are the thread and the calls into it.
"""

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Final, Self, TypeVar

from bridge.errors import CloudError
from bridge.lab.broker_faults import BrokerFaults
from bridge.lab.broker_limits import BrokerLimits
from bridge.lab.broker_listener import SHUTDOWN_TIMEOUT_S, TlsListener
from bridge.lab.broker_policy import Policy, ThingPolicy
from bridge.lab.broker_protocol import BrokerProtocol
from bridge.lab.broker_router import Router, ServiceHandler
from bridge.lab.mqtt_packets import Publish
from bridge.lab.mqtt_reasons import ReasonCode

_T = TypeVar("_T")

ALPN_PROTOCOLS: Final = ["x-amzn-mqtt-ca", "mqtt"]


class Broker:
    """MQTT 3.1.1 and 5 over mutual TLS, QoS 0 and 1, on one port.

    Args:
        tls: Server context with certificate and the CA of the clients; client certificates are made mandatory
            here.
        host: Address to listen on.
        port: TCP port; 0 picks a free one.
        policy: Who may do what; by default :class:`~bridge.lab.broker_policy.ThingPolicy`.
        limits: Quotas; by default :class:`~bridge.lab.broker_limits.BrokerLimits`.
        require_sni: Turn clients away that do not name the server in their handshake, as AWS IoT Core does. Off by
            default, because nobody can name an address such as 127.0.0.1 there.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        policy: Policy | None = None,
        limits: BrokerLimits | None = None,
        require_sni: bool = False,
    ) -> None:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.set_alpn_protocols(ALPN_PROTOCOLS)
        if require_sni:
            tls.sni_callback = _refuse_without_name
        self._tls = tls
        self._host = host
        self._port = port
        self._policy: Policy = policy or ThingPolicy()
        self.faults: Final = BrokerFaults()
        self._router = Router(_LoopTimers(), self.faults, limits)
        self._protocols: set[BrokerProtocol] = set()
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

    def take_over(self, client_id: str) -> bool:
        """Throw a client out as if another one had connected with its id; False when it is not connected."""
        return self._call(lambda: self._router.take_over(client_id))

    def disconnect(self, client_id: str, reason: ReasonCode = ReasonCode.ADMINISTRATIVE_ACTION) -> bool:
        """Close a client's connection, in MQTT 5 with a DISCONNECT; False when it is not connected."""
        return self._call(lambda: self._router.disconnect(client_id, reason))

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
        async with TlsListener(listener, self._tls, self._new_protocol):
            await self._stop.wait()
        gone = [protocol.gone for protocol in self._protocols]
        for protocol in list(self._protocols):
            protocol.close(ReasonCode.SERVER_SHUTTING_DOWN, "the broker stops")
        if gone:
            await asyncio.wait(gone, timeout=SHUTDOWN_TIMEOUT_S)
        for protocol in list(self._protocols):
            protocol.cut()
        await asyncio.gather(*gone)

    def _new_protocol(self) -> BrokerProtocol:
        return BrokerProtocol(self._router, self._policy, self._track, self._note_sessions)

    def _track(self, protocol: BrokerProtocol, *, alive: bool) -> None:
        (self._protocols.add if alive else self._protocols.discard)(protocol)

    def _note_sessions(self) -> None:
        with self._changed:
            self._connected = self._router.connected
            self._changed.notify_all()


class _LoopTimers:
    """The running loop as the router's clock: the router is made before there is a loop."""

    def time(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    def call_later(self, delay_s: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call on the loop."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


def _refuse_without_name(_: ssl.SSLObject, server_name: str | None, __: ssl.SSLContext) -> int | None:
    return None if server_name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

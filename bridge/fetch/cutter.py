"""Connections that another thread can cut, and that only reach allowed addresses.

A reader blocked in a stalled socket wakes up at once when it is cut.

Neither requests nor urllib3 can interrupt a request before its answer is there. So urllib3's connection classes are
extended to hand their socket over as soon as there is one, before the TLS handshake. Shutting a socket down wakes
whoever is blocked in it; only name resolution and the TCP handshake cannot be ended early, and they have a timeout.

The same hook resolves the host's name and connects to the addresses that :class:`~bridge.fetch.hosts.HostRules` allow, and
to no other: urllib3 would ask the name server itself, and could get another answer than the one that was checked.
"""

import contextlib
import socket
import threading
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from bridge.fetch.hosts import HostRules


class Cutter:
    """Knows the socket in use and cuts it; one thread connects, any thread cuts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def hold(self, connected: socket.socket) -> None:
        """This is the socket in use now; it is cut at once if the cut came before it."""
        with self._lock:
            self._socket = connected
            if self._cut:
                _shut_down(connected)

    def cut(self) -> None:
        """End every read and write on the socket in use, and on those to come."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                _shut_down(self._socket)


class CuttableAdapter(HTTPAdapter):
    """requests' adapter whose sockets a cutter can cut, and which keeps the rules; no retries of its own.

    Args:
        cutter: Is told about every socket.
        rules: From where images may be fetched.
    """

    def __init__(self, cutter: Cutter, rules: HostRules) -> None:
        self._rules = rules
        self._pools = _pool_classes(cutter, rules)
        self._proxy_pools = _pool_classes(cutter, None)
        super().__init__(pool_connections=2, pool_maxsize=1, max_retries=0)

    # Signatures and Any are those of requests.
    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Check the URL as it will be sent, also where a proxy will connect.

        Raises:
            ImageRefusedError: The rules do not allow it.
        """
        self._rules.check_url(request.url or "")
        return super().send(request, *args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Extend the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)  # type: ignore[no-untyped-call, unused-ignore]
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Extend the pools of connections through an HTTP proxy; SOCKS has classes of its own."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)  # type: ignore[no-untyped-call, unused-ignore]
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._proxy_pools
        return manager


def _pool_classes(cutter: Cutter, rules: HostRules | None) -> dict[str, type[HTTPConnectionPool]]:
    """Pools whose connections tell the cutter and keep the rules; without rules those to a proxy, which the user chose."""

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn() if rules is None else _connect(self, "http", rules)
            cutter.hold(connected)
            return connected

    class TlsConnection(HTTPSConnection):
        _guard: socket.socket | None = None

        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn() if rules is None else _connect(self, "https", rules)
            # TLS takes the descriptor over before its handshake; a second one reaches the connection meanwhile.
            self._guard = connected.dup()
            cutter.hold(self._guard)
            return connected

        def connect(self) -> None:
            try:
                super().connect()
                if self.sock is not None:
                    cutter.hold(self.sock)
            finally:
                if self._guard is not None:
                    self._guard.close()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}


def _connect(connection: HTTPConnection, scheme: str, rules: HostRules) -> socket.socket:
    """Resolve, check, connect; failures look as urllib3's own.

    Raises:
        ImageRefusedError: No address of the host is allowed.
    """
    host = connection._dns_host
    try:
        addresses = rules.resolve(scheme, host, connection.port)
    except OSError as error:
        raise NameResolutionError(host, connection, _as_gaierror(error)) from error
    failure: Exception = NewConnectionError(connection, "the name has no address")
    for address in addresses:
        try:
            return create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except TimeoutError as error:
            failure = ConnectTimeoutError(connection, f"timed out: {error}")
        except OSError as error:
            failure = NewConnectionError(connection, f"failed: {error}")
    raise failure


def _as_gaierror(error: OSError) -> socket.gaierror:
    return error if isinstance(error, socket.gaierror) else socket.gaierror(*error.args)


def _shut_down(connected: socket.socket) -> None:
    # Not SSLSocket.shutdown, which would let the other thread go on in clear text.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)

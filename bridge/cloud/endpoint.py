"""Where the broker is and who we are there, and the TLS context made of that.

Source: AWS IoT Developer Guide, "Device communication protocols": X.509 client certificates on port 8883,
or on 443 with the ALPN protocol ``x-amzn-mqtt-ca``; SNI; client ids of at most 128 bytes; keep alive of 30
to 1200 s.
"""

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from bridge.errors import UsageError
from bridge.secret_files import warn_if_open_to_others

_T = TypeVar("_T")

MQTT_TLS_PORT: Final = 8883
HTTPS_PORT: Final = 443
ALPN_MQTT: Final = "x-amzn-mqtt-ca"
ALPN_HTTPS: Final = "x-amzn-http-ca"
"""For HTTPS with a client certificate on port 443; port 8443 needs none."""
MAX_CLIENT_ID_BYTES: Final = 128
MIN_KEEP_ALIVE_S: Final = 30
MAX_KEEP_ALIVE_S: Final = 1200


@dataclass(frozen=True)
class Endpoint:
    """A broker and our identity there.

    Attributes:
        host: Host name; the broker's certificate must be for it.
        port: 8883, or 443, where ALPN tells AWS IoT that MQTT is meant; any other for a broker of one's own.
        ca_file: Authority that signed the broker's certificate (PEM); None for the system's authorities.
        cert_file: Our certificate (PEM); None for a broker that wants none.
        key_file: Private key of our certificate (PEM, not encrypted).
        client_id: MQTT client id; unique among everything connected to the broker, and independent of the
            thing name.
        keep_alive_s: A silent broker is noticed after at most twice this time.
        alpn: Whether to name the protocol in the TLS handshake; None to do so on port 443 only, where AWS IoT wants it.

    Raises:
        UsageError: A value is out of its range.
    """

    host: str
    port: int = MQTT_TLS_PORT
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    client_id: str = ""
    keep_alive_s: int = 60
    alpn: bool | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a network."""
        if not _is_host(self.host):
            shown = self.host.rpartition("@")[2][:80]  # who writes a password here must not find it in a log
            raise UsageError(
                f"{shown!r} is no host name",
                reason="bad-endpoint",
                hint="Give HOST or HOST:PORT, without a scheme in front and a path behind.",
            )
        if not 0 < self.port < 65536:
            raise UsageError(f"{self.port} is no TCP port", reason="bad-endpoint")
        if not self.client_id or len(self.client_id.encode()) > MAX_CLIENT_ID_BYTES:
            raise UsageError("the MQTT client id must have 1 to 128 bytes", reason="bad-client-id")
        if not MIN_KEEP_ALIVE_S <= self.keep_alive_s <= MAX_KEEP_ALIVE_S:
            raise UsageError(
                f"a keep alive of {self.keep_alive_s} s is not possible",
                reason="bad-keep-alive",
                hint=f"Use {MIN_KEEP_ALIVE_S} to {MAX_KEEP_ALIVE_S} seconds.",
            )
        if (self.cert_file is None) != (self.key_file is None):
            raise UsageError(
                "a certificate needs its private key, and the other way round", reason="bad-certificate"
            )

    @property
    def names_protocol(self) -> bool:
        """Whether the TLS handshake names the protocol (ALPN)."""
        return self.port == HTTPS_PORT if self.alpn is None else self.alpn

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _is_host(text: str) -> bool:
    """Whether a text is a host name or an IP address; anything else would end paho-mqtt's network thread."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        try:
            return bool(text.encode("idna")) and not re.search(r"[\s/:@?#]", text)
        except UnicodeError:
            return False
    return True


def make_tls_context(
    endpoint: Endpoint,
    on_tls_error: Callable[[ssl.SSLError], None],
    *,
    on_tls_end: Callable[[], None] = lambda: None,
    protocol: str = ALPN_MQTT,
) -> ssl.SSLContext:
    """Build the TLS context: TLS 1.2 or newer, broker's certificate and name checked, our certificate shown.

    Args:
        endpoint: Whose files to load.
        on_tls_error: Called with each TLS error of a socket of this context. paho-mqtt reports them without
            their cause.
        on_tls_end: Called when the other side has ended the connection with a ``close_notify``, which nobody between it
            and us can forge (RFC 8446, 6.1): not the line broke, but the broker hung up.
        protocol: What is spoken inside, for ALPN.

    Raises:
        UsageError: A file cannot be read or is not what it should be.
    """
    context = _load(
        "the authority's certificate", endpoint.ca_file, lambda path: ssl.create_default_context(cafile=path)
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _reporting_socket(on_tls_error, on_tls_end)
    if endpoint.names_protocol:
        context.set_alpn_protocols([protocol])
    if endpoint.cert_file is not None and endpoint.key_file is not None:
        key_file = endpoint.key_file
        warn_if_open_to_others(key_file)
        # Without a password function OpenSSL would ask for one on the terminal.
        _load(
            f"the private key {key_file}, or the certificate",
            endpoint.cert_file,
            lambda path: context.load_cert_chain(path or "", str(key_file), password=lambda: b""),
        )
    return context


def _load(what: str, path: Path | None, load: Callable[[str | None], _T]) -> _T:
    try:
        return load(None if path is None else str(path))
    except ssl.SSLError as error:
        raise UsageError(
            f"{what} {path} cannot be used: {error.reason or error}",
            reason="bad-certificate",
            hint="Both must be PEM files, the key must belong to the certificate and must not be encrypted.",
        ) from error
    except OSError as error:
        raise UsageError(
            f"{what} {path} cannot be read: {error.strerror or error}", reason="bad-certificate"
        ) from error


def _reporting_socket(
    on_tls_error: Callable[[ssl.SSLError], None], on_tls_end: Callable[[], None]
) -> type[ssl.SSLSocket]:
    class ReportingSocket(ssl.SSLSocket):
        """Tells about its TLS errors and its end, and does not leave a socket behind when the handshake fails."""

        def do_handshake(self, block: bool = False) -> None:
            try:
                super().do_handshake(block)
            except OSError:
                self.close()
                raise

        def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
            # With TLS 1.3 the broker judges our certificate after the handshake: its alert arrives here.
            self.suppress_ragged_eofs = False  # Else an end without close_notify would look like one with it.
            try:
                data = super().recv(buflen, flags)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                on_tls_error(error)
                raise
            if buflen and not data:
                on_tls_end()
            return data

    return ReportingSocket

"""Options of ``run`` that say where the cloud is and how it is spoken to."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.cloud import JobsLink

EndpointOption = Annotated[
    str | None,
    typer.Option(envvar="NRF91_BRIDGE_ENDPOINT", help="Broker: HOST or HOST:PORT (8883, or 443 with ALPN)."),
]
CertOption = Annotated[
    Path | None, typer.Option(envvar="NRF91_BRIDGE_CERT", help="Client certificate (PEM).")
]
PrivateKeyOption = Annotated[
    Path | None,
    typer.Option("--key", envvar="NRF91_BRIDGE_PRIVATE_KEY", help="Private key of --cert (PEM)."),
]
CaOption = Annotated[
    Path | None, typer.Option(envvar="NRF91_BRIDGE_CA", help="CA of the broker; default: the system's.")
]
ClientIdOption = Annotated[
    str | None,
    typer.Option(envvar="NRF91_BRIDGE_CLIENT_ID", help="MQTT client id; default: the thing name."),
]
KeepAliveOption = Annotated[
    int,
    typer.Option(
        envvar="NRF91_BRIDGE_KEEP_ALIVE",
        help="MQTT keep alive in seconds, 30 to 1200; a silent broker is noticed after at most twice this time.",
    ),
]
AlpnOption = Annotated[
    bool | None,
    typer.Option(
        "--alpn/--no-alpn",
        help="Name MQTT in the TLS handshake, as AWS IoT wants it on port 443; default: on that port only.",
    ),
]
JobsOverOption = Annotated[
    Literal["mqtt", "https", "auto"],
    typer.Option(
        "--jobs-over",
        envvar="NRF91_BRIDGE_JOBS_OVER",
        help="How to reach the Jobs service; auto is MQTT, and HTTPS while MQTT is blocked.",
    ),
]
JobsHttpsOption = Annotated[
    str | None,
    typer.Option(
        "--jobs-https",
        envvar="NRF91_BRIDGE_JOBS_HTTPS",
        help="HOST or HOST:PORT for jobs over HTTPS; default: the broker's host, port 8443.",
    ),
]
PollIntervalOption = Annotated[
    float,
    typer.Option(
        "--poll-interval",
        min=1.0,
        envvar="NRF91_BRIDGE_POLL_INTERVAL",
        help="Over HTTPS, which does not tell: seconds between two looks at the queue.",
    ),
]
MQTT_PORT = 8883
HTTPS_JOBS_PORT = 8443


@dataclass(frozen=True)
class ConnectionOptions:
    """How the cloud is spoken to, whoever we are there.

    Attributes:
        keep_alive: Seconds.
        alpn: Whether the TLS handshake names the protocol; None for port 443 only.
        jobs_over: Name of a :class:`~bridge.cloud.JobsOver`.
        jobs_https: ``HOST`` or ``HOST:PORT`` for HTTPS.
        poll_interval: Seconds between two looks at the queue over HTTPS.
    """

    keep_alive: KeepAliveOption = 60
    alpn: AlpnOption = None
    jobs_over: JobsOverOption = "mqtt"
    jobs_https: JobsHttpsOption = None
    poll_interval: PollIntervalOption = 30.0

    def link(
        self,
        endpoint: str,
        *,
        cert: Path | None,
        private_key: Path | None,
        ca: Path | None,
        client_id: str,
    ) -> "JobsLink":
        """The way to the Jobs service for one identity.

        Raises:
            UsageError: A value makes no sense.
        """
        from bridge.cloud import Endpoint, JobsLink, JobsOver  # noqa: PLC0415

        host, port = split_endpoint(endpoint)
        broker = Endpoint(
            host=host,
            port=port,
            ca_file=ca,
            cert_file=cert,
            key_file=private_key,
            client_id=client_id,
            keep_alive_s=self.keep_alive,
            alpn=self.alpn,
        )
        https = None if self.jobs_https is None else split_endpoint(self.jobs_https, HTTPS_JOBS_PORT)
        return JobsLink(broker, JobsOver(self.jobs_over), https=https, poll_s=self.poll_interval)


def split_endpoint(text: str, default_port: int = MQTT_PORT) -> tuple[str, int]:
    """Split ``HOST`` or ``HOST:PORT``.

    Raises:
        UsageError: The port is no number.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, default_port
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"the endpoint {text} has no valid port", hint="Write HOST or HOST:PORT.")
    return host, int(port)

"""Options of ``run`` about how images are fetched and from where, and what they are turned into."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.fetch import HostRules
    from bridge.fota.service import DownloadSettings

DownloadCaOption = Annotated[
    Path | None,
    typer.Option(envvar="NRF91_BRIDGE_DOWNLOAD_CA", help="CA of the image server, if not public."),
]
CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        envvar="NRF91_BRIDGE_CACHE_DIR", help="Where downloads are kept; default: this user's cache."
    ),
]
DownloadCertOption = Annotated[
    Path | None,
    typer.Option(envvar="NRF91_BRIDGE_DOWNLOAD_CERT", help="Client certificate for the image server."),
]
DownloadKeyOption = Annotated[
    Path | None, typer.Option(envvar="NRF91_BRIDGE_DOWNLOAD_KEY", help="Private key of --download-cert.")
]
DownloadTimeoutOption = Annotated[
    float,
    typer.Option(
        envvar="NRF91_BRIDGE_DOWNLOAD_TIMEOUT",
        help="Seconds without a new byte after which a download is given up.",
    ),
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        envvar="NRF91_BRIDGE_ALLOW_HOST",
        help="Fetch images from this host only, such as images.example.com or *.example.com; may be repeated.",
    ),
]
AllowNetworkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-network",
        envvar="NRF91_BRIDGE_ALLOW_NETWORK",
        help="Fetch images from there too: loopback, private, link-local, or a prefix such as 192.168.7.0/24; may be"
        " repeated.",
    ),
]
AllowHttpOption = Annotated[
    bool,
    typer.Option("--allow-http", help="Fetch images without TLS, too; from loopback that needs no leave."),
]


@dataclass(frozen=True)
class HostOptions:
    """From where images may be fetched.

    Attributes:
        allow_host: Hosts, or patterns of them; none for any.
        allow_network: Networks besides the public ones.
        allow_http: Also without TLS.
    """

    allow_host: AllowHostOption = None
    allow_network: AllowNetworkOption = None
    allow_http: AllowHttpOption = False

    def rules(self) -> "HostRules":
        """Build the rules for downloads.

        Raises:
            UsageError: A pattern or network makes no sense.
        """
        return make_host_rules(self.allow_host, self.allow_network, http=self.allow_http)


@dataclass(frozen=True)
class DownloadOptions:
    """How images are fetched.

    Attributes:
        download_ca: CA of the image server.
        cache_dir: Where downloads are kept.
        download_cert: Client certificate for the image server.
        download_key: Its private key.
        download_timeout: Seconds without a new byte after which a download is given up.
    """

    download_ca: DownloadCaOption = None
    cache_dir: CacheDirOption = None
    download_cert: DownloadCertOption = None
    download_key: DownloadKeyOption = None
    download_timeout: DownloadTimeoutOption = 60.0

    def settings(self, hosts: HostOptions, max_size_bytes: int | None) -> "DownloadSettings":
        """Build the settings for downloads.

        Args:
            hosts: From where.
            max_size_bytes: Largest file; None for the usual limit.

        Raises:
            UsageError: A pattern or network makes no sense.
        """
        from bridge import fetch  # noqa: PLC0415
        from bridge.fota.service import DownloadSettings  # noqa: PLC0415

        cert, key = self.download_cert, self.download_key
        return DownloadSettings(
            self.cache_dir or default_cache_dir(),
            ca_file=self.download_ca,
            client_cert=(cert, key) if cert and key else None,
            options=fetch.DownloadOptions(
                no_progress_timeout_s=self.download_timeout,
                max_size_bytes=max_size_bytes or fetch.DownloadOptions.max_size_bytes,
            ),
            rules=hosts.rules(),
        )


def make_host_rules(
    hosts: Sequence[str] | None, networks: Sequence[str] | None, *, http: bool
) -> "HostRules":
    """Build the rules for downloads.

    Raises:
        UsageError: A pattern or network makes no sense.
    """
    from bridge.fetch import HostPattern, HostRules  # noqa: PLC0415
    from bridge.fetch.hosts import parse_network  # noqa: PLC0415

    return HostRules(
        hosts=tuple(HostPattern(text) for text in hosts or ()),
        networks=tuple(network for text in networks or () for network in parse_network(text)),
        http=http,
    )


def default_cache_dir() -> Path:
    """Where downloads are kept unless told otherwise."""
    from platformdirs import user_cache_path  # noqa: PLC0415

    return user_cache_path("nrf91-bridge") / "images"

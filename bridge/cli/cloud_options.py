"""Options of commands that speak to a cloud's control plane, AWS or a local one, and what they are turned into."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.cloud.deploy import ControlPlane

CloudStateOption = Annotated[
    Path | None,
    typer.Option(
        "--cloud-state",
        envvar="NRF91_BRIDGE_CLOUD_STATE",
        file_okay=False,
        help="State directory of a running `nrf91-bridge cloud`: everything else about the cloud is read there.",
    ),
]
EndpointUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        envvar="NRF91_BRIDGE_ENDPOINT_URL",
        help="API of a cloud that is not AWS; default: AWS in --region.",
    ),
]
ApiCaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="NRF91_BRIDGE_CA",
        dir_okay=False,
        help="Authority (PEM) of --endpoint-url's certificate.",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", envvar="NRF91_BRIDGE_PROFILE", help="Profile of the AWS configuration."),
]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", envvar="NRF91_BRIDGE_REGION", help="AWS region; default: the profile's."),
]


@dataclass(frozen=True)
class CloudOptions:
    """Which cloud is meant, and who we are there.

    Attributes:
        cloud_state: State directory of a local cloud, which says it all.
        endpoint_url: API of a cloud that is not AWS.
        ca: Authority of its certificate.
        profile: Profile of the AWS configuration.
        region: AWS region.
    """

    cloud_state: CloudStateOption = None
    endpoint_url: EndpointUrlOption = None
    ca: ApiCaOption = None
    profile: ProfileOption = None
    region: RegionOption = None

    def open(self) -> "ControlPlane":
        """Open a session with the cloud.

        Raises:
            UsageError: Options contradict each other, or the session cannot be opened.
        """
        from bridge.cloud.deploy import CloudAccess, ControlPlane  # noqa: PLC0415

        if self.cloud_state is not None:
            if self.endpoint_url or self.profile:
                raise UsageError("--cloud-state says it all; leave --endpoint-url and --profile out")
            return ControlPlane(CloudAccess.of_local_cloud(self.cloud_state))
        url = self.endpoint_url
        if url is not None and not url.startswith(("http://", "https://")):
            raise UsageError(f"--endpoint-url {url[:200]!r} is no http or https URL", reason="bad-endpoint")
        # AWS's own API is trusted by the system's authorities; --ca may be set for the broker.
        return ControlPlane(CloudAccess(url, self.ca if url else None, self.profile, self.region))

    def words(self) -> list[str]:
        """The same options as words of a command line, for commands that are shown."""
        given = {
            "--cloud-state": self.cloud_state,
            "--endpoint-url": self.endpoint_url,
            "--ca": self.ca if self.endpoint_url else None,
            "--profile": self.profile,
            "--region": self.region,
        }
        return [
            word
            for option, value in given.items()
            if value is not None
            # Commands that are shown may be pasted elsewhere.
            for word in (option, str(value.absolute() if isinstance(value, Path) else value))
        ]

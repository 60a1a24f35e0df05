"""Options of ``job create`` about a job rather than its image: for whom it is, how it spreads, and how URLs are signed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.cloud.deploy import ControlPlane
    from bridge.cloud.deploy_order import PresignSettings


@dataclass(frozen=True)
class TargetOptions:
    """Which things are updated; what each option says is in its help."""

    thing: Annotated[list[str] | None, typer.Option("--thing", help="Thing to update; may be repeated.")] = (
        None
    )
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Thing group to update; may be repeated.")
    ] = None

    def check(self) -> None:
        """Refuse a job for nobody.

        Raises:
            UsageError: There is neither a thing nor a group.
        """
        if not self.thing and not self.group:
            raise UsageError("give a --thing or a --group to update")


@dataclass(frozen=True)
class PresignOptions:
    """Whether and how the cloud signs the URLs that devices get."""

    presign: Annotated[
        bool,
        typer.Option(
            help="Have the cloud sign the URL each time that a device asks; the bucket stays private."
        ),
    ] = False
    presign_role: Annotated[
        str | None,
        typer.Option(
            envvar="NRF91_BRIDGE_PRESIGN_ROLE",
            help="With --presign on AWS: ARN of a role that may read the bucket.",
        ),
    ] = None
    presign_expires: Annotated[
        int, typer.Option(min=60, max=3600, help="With --presign: seconds that each URL lives.")
    ] = 3600

    def check(self, url: str | None) -> None:
        """Refuse to sign the URL of an image that is not uploaded.

        Raises:
            UsageError: There is such a URL.
        """
        if self.presign and url is not None:
            raise UsageError(
                "--presign is for images that are uploaded; an image at --url is fetched from there as it is"
            )

    def check_role(self, plane: "ControlPlane") -> None:
        """Refuse what AWS would refuse later.

        Raises:
            UsageError: URLs shall be signed on AWS, and nobody may do so (reason ``no-presign-role``).
        """
        if self.presign and self.presign_role is None and plane.access.endpoint_url is None:
            raise UsageError(
                "--presign needs a --presign-role on AWS",
                reason="no-presign-role",
                hint="docs/aws-iot.md shows how to make a role that AWS IoT may use to read the bucket.",
            )

    def settings(self) -> "PresignSettings | None":
        """For the job; None when no URL is signed."""
        from bridge.cloud.deploy_order import PresignSettings  # noqa: PLC0415

        return PresignSettings(self.presign_role, self.presign_expires) if self.presign else None


@dataclass(frozen=True)
class RolloutOptions:
    """How the job spreads, when it stops, and what becomes of executions that do not succeed."""

    continuous: Annotated[bool, typer.Option(help="Also for things that join the groups later.")] = False
    rollout_per_minute: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Tell so many things a minute.")
    ] = None
    abort_on_failed_percent: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=100,
            help="Cancel the job when so many of the things that are through failed or timed out.",
        ),
    ] = None
    abort_min_things: Annotated[
        int, typer.Option(min=1, help="But not before so many things are through.")
    ] = 1
    timeout_min: Annotated[
        int | None,
        typer.Option(min=1, max=10080, help="Minutes after which an execution in progress has timed out."),
    ] = None
    retries: Annotated[
        int | None, typer.Option(min=1, max=10, help="Try again so often where it failed or timed out.")
    ] = None

    def check(self) -> None:
        """Refuse a condition on what is not asked for.

        Raises:
            UsageError: There is one.
        """
        if self.abort_min_things > 1 and self.abort_on_failed_percent is None:
            raise UsageError("--abort-min-things does nothing without --abort-on-failed-percent")

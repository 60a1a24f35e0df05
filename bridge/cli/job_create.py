"""``nrf91-bridge job create``: what the AWS FOTA page has a person click together, in one command."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.cloud_options import (
    ApiCaOption,
    CloudStateOption,
    EndpointUrlOption,
    ProfileOption,
    RegionOption,
    access_words,
    open_plane,
)
from bridge.cli.job_image import JobImage, read_job_image
from bridge.cli.options import ImageIndexOption, JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.cli.policy_options import FlashKeysOption, SlotSizeOption
from bridge.errors import CloudError, UsageError

if TYPE_CHECKING:
    from bridge.cloud.deploy import ControlPlane
    from bridge.cloud.deploy_order import JobOrder


@dataclass(frozen=True)
class Location:
    """Where the devices shall find the image.

    Attributes:
        text: For the job document: a URL, or the placeholder for one.
        remarks: What a person should see.
    """

    text: str
    remarks: tuple[str, ...] = ()


def create(
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", exists=True, dir_okay=False, help="Image file; uploaded unless --url says where it is."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Where the image is already; without --image it is fetched to look at it."),
    ] = None,
    thing: Annotated[
        list[str] | None, typer.Option("--thing", help="Thing to update; may be repeated.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Thing group to update; may be repeated.")
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(
            envvar="NRF91_BRIDGE_BUCKET",
            help="Bucket to upload to, made if it is missing; a local cloud has one of its own.",
        ),
    ] = None,
    presign: Annotated[
        bool,
        typer.Option(
            help="Have the cloud sign the URL each time that a device asks; the bucket stays private."
        ),
    ] = False,
    presign_role: Annotated[
        str | None,
        typer.Option(
            envvar="NRF91_BRIDGE_PRESIGN_ROLE",
            help="With --presign on AWS: ARN of a role that may read the bucket.",
        ),
    ] = None,
    presign_expires: Annotated[
        int, typer.Option(min=60, max=3600, help="With --presign: seconds that each URL lives.")
    ] = 3600,
    board: Annotated[
        str | None,
        typer.Option(help="Board or chip that the image is for, such as nrf9151dk; boards check it."),
    ] = None,
    job_id: Annotated[str | None, typer.Option(help="Id of the job; default: what and when.")] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    continuous: Annotated[bool, typer.Option(help="Also for things that join the groups later.")] = False,
    rollout_per_minute: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Tell so many things a minute.")
    ] = None,
    abort_on_failed_percent: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=100,
            help="Cancel the job when so many of the things that are through failed or timed out.",
        ),
    ] = None,
    abort_min_things: Annotated[
        int, typer.Option(min=1, help="But not before so many things are through.")
    ] = 1,
    timeout_min: Annotated[
        int | None,
        typer.Option(min=1, max=10080, help="Minutes after which an execution in progress has timed out."),
    ] = None,
    retries: Annotated[
        int | None, typer.Option(min=1, max=10, help="Try again so often where it failed or timed out.")
    ] = None,
    image_index: ImageIndexOption = 0,
    slot_size: SlotSizeOption = None,
    image_key: FlashKeysOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at everything, upload and create nothing.")
    ] = False,
    cloud_state: CloudStateOption = None,
    endpoint_url: EndpointUrlOption = None,
    ca: ApiCaOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    json: JsonOption = False,
) -> None:
    """Inspect an image, upload it, write the job document, create the job."""
    use_json(json)
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415
    from bridge.cloud.deploy_order import JobOrder, PresignSettings, document_for, new_job_id  # noqa: PLC0415
    from bridge.cloud.job_messages import check_job_id  # noqa: PLC0415

    if job_id is not None:
        check_job_id(job_id)
    if not thing and not group:
        raise UsageError("give a --thing or a --group to update")
    if presign and url is not None:
        raise UsageError(
            "--presign is for images that are uploaded; an image at --url is fetched from there as it is"
        )
    with open_plane(cloud_state, endpoint_url, ca, profile, region) as plane:
        found = read_job_image(
            image,
            url,
            download_ca=plane.access.ca_file,
            board=board,
            image_index=image_index,
            slot_size=slot_size,
            keys=image_key,
        )
        if presign and presign_role is None and plane.access.endpoint_url is None:
            raise UsageError(
                "--presign needs a --presign-role on AWS",
                reason="no-presign-role",
                hint="docs/aws-iot.md shows how to make a role that AWS IoT may use to read the bucket.",
            )
        jobs = JobsControl(plane)
        arns = jobs.target_arns(thing or (), group or ())
        location = _locate(plane, found, url, bucket or plane.access.bucket, presign=presign, dry_run=dry_run)
        order = JobOrder(
            job_id=job_id or new_job_id(found.image),
            document=document_for(found.image, location.text, board=board, image_index=image_index),
            description=description,
            presign=PresignSettings(presign_role, presign_expires) if presign else None,
            continuous=continuous,
            rollout_per_minute=rollout_per_minute,
            abort_on_failed_percent=abort_on_failed_percent,
            abort_min_things=abort_min_things,
            timeout_minutes=timeout_min,
            retries=retries,
        )
        request = order.to_request(arns)
        arn = None if dry_run else jobs.create(order, arns)
    watch = ["nrf91-bridge", "job", "watch", order.job_id]
    watch += access_words(cloud_state, endpoint_url, ca, profile, region)
    if json:
        _tell_machine(order, arn, request, watch, location.remarks)
    else:
        _tell_person(order, arn, request, watch, location.remarks)


def _locate(
    plane: "ControlPlane",
    found: JobImage,
    url: str | None,
    bucket: str | None,
    *,
    presign: bool,
    dry_run: bool,
) -> Location:
    from bridge.cloud.deploy_upload import ImageBucket, is_public  # noqa: PLC0415

    if url is not None:
        plain = url.lower().startswith("http:")
        return Location(
            url, ("boards' hosts refuse http unless they are told to --allow-http",) if plain else ()
        )
    assert found.file is not None
    if bucket is None:
        raise UsageError("give a --bucket to upload the image to", reason="no-bucket")
    store = ImageBucket(plane, bucket)
    place = store.place(found.image, found.file.name)
    remarks = []
    if dry_run:
        if not store.exists():
            remarks.append(f"the bucket {bucket} would be made")
        return Location(place.placeholder if presign else place.url, tuple(remarks))
    if store.ensure():
        remarks.append(f"made the bucket {bucket}")
    sent = store.upload(place, found.image, found.file)
    remarks.append(f"{'uploaded' if sent else 'already there:'} {place.key}")
    if presign:
        return Location(place.placeholder, tuple(remarks))
    if not is_public(place.url, plane.access.ca_file):
        raise CloudError(
            f"the image is uploaded, but {place.url} cannot be read without a signature, so no board could fetch it",
            reason="image-not-public",
            hint="Add --presign; the bucket can then stay private.",
        )
    return Location(place.url, tuple(remarks))


def _tell_machine(
    order: "JobOrder", arn: str | None, request: dict[str, object], watch: list[str], remarks: tuple[str, ...]
) -> None:
    emit_json(
        {
            "event": "job-created" if arn else "job-planned",
            "job": order.job_id,
            "arn": arn,
            "targets": request["targets"],
            "document": order.document,
            "request": request,
            "watch": shlex.join(watch),
            "remarks": remarks,
        }
    )


def _tell_person(
    order: "JobOrder", arn: str | None, request: dict[str, object], watch: list[str], remarks: tuple[str, ...]
) -> None:
    from json import dumps  # noqa: PLC0415

    for remark in remarks:
        console.print(remark, markup=False, soft_wrap=True)
    out.print("would create" if arn is None else "created", "job", order.job_id, markup=False)
    if arn is not None:
        out.print(arn, markup=False, soft_wrap=True)
    if arn is None:
        out.print(dumps({**request, "document": "as follows"}, indent=2), markup=False, soft_wrap=True)
    out.print(dumps(order.document, indent=2, ensure_ascii=False), markup=False, soft_wrap=True)
    out.print("watch it:" if arn else "then watch it:", shlex.join(watch), markup=False, soft_wrap=True)

"""``nrf91-bridge job create``: what the AWS FOTA page has a person click together, in one command."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.cloud_options import CloudOptions
from bridge.cli.job_image import read_job_image
from bridge.cli.job_location import locate
from bridge.cli.job_options import PresignOptions, RolloutOptions, TargetOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import ImageIndexOption, JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.cli.policy_options import FlashKeysOption, SlotSizeOption

if TYPE_CHECKING:
    from bridge.cloud.deploy_order import JobOrder


@takes_groups
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
    *,
    targets: TargetOptions,
    bucket: Annotated[
        str | None,
        typer.Option(
            envvar="NRF91_BRIDGE_BUCKET",
            help="Bucket to upload to, made if it is missing; a local cloud has one of its own.",
        ),
    ] = None,
    presign: PresignOptions,
    board: Annotated[
        str | None,
        typer.Option(help="Board or chip that the image is for, such as nrf9151dk; boards check it."),
    ] = None,
    job_id: Annotated[str | None, typer.Option(help="Id of the job; default: what and when.")] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    rollout: RolloutOptions,
    image_index: ImageIndexOption = 0,
    slot_size: SlotSizeOption = None,
    image_key: FlashKeysOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at everything, upload and create nothing.")
    ] = False,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Inspect an image, upload it, write the job document, create the job."""
    use_json(json)
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415
    from bridge.cloud.deploy_order import JobOrder, document_for, new_job_id  # noqa: PLC0415
    from bridge.cloud.job_messages import check_job_id  # noqa: PLC0415

    if job_id is not None:
        check_job_id(job_id)
    targets.check()
    presign.check(url)
    rollout.check()
    with cloud.open() as plane:
        found = read_job_image(
            image,
            url,
            download_ca=plane.access.ca_file,
            board=board,
            image_index=image_index,
            slot_size=slot_size,
            keys=image_key,
        )
        presign.check_role(plane)
        jobs = JobsControl(plane)
        arns = jobs.target_arns(targets.thing or (), targets.group or ())
        location = locate(
            plane, found, url, bucket or plane.access.bucket, presign=presign.presign, dry_run=dry_run
        )
        order = JobOrder(
            job_id=job_id or new_job_id(found.image),
            document=document_for(found.image, location.text, board=board, image_index=image_index),
            description=description,
            presign=presign.settings(),
            continuous=rollout.continuous,
            rollout_per_minute=rollout.rollout_per_minute,
            abort_on_failed_percent=rollout.abort_on_failed_percent,
            abort_min_things=rollout.abort_min_things,
            timeout_minutes=rollout.timeout_min,
            retries=rollout.retries,
        )
        request = order.to_request(arns)
        arn = None if dry_run else jobs.create(order, arns)
    watch = ["nrf91-bridge", "job", "watch", order.job_id]
    watch += cloud.words()
    if json:
        _tell_machine(order, arn, request, watch, location.remarks)
    else:
        _tell_person(order, arn, request, watch, location.remarks)


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
        console.print(remark, soft_wrap=True)
    out.print("would create" if arn is None else "created", "job", order.job_id)
    if arn is not None:
        out.print(arn, soft_wrap=True)
    if arn is None:
        out.print(dumps({**request, "document": "as follows"}, indent=2), soft_wrap=True)
    out.print(dumps(order.document, indent=2, ensure_ascii=False), soft_wrap=True)
    out.print("watch it:" if arn else "then watch it:", shlex.join(watch), soft_wrap=True)

"""``nrf91-bridge job document``: the document of a job, or the judgement on one in a file."""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.cloud_options import CloudOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.errors import ImageRefusedError, UsageError

if TYPE_CHECKING:
    from bridge.cloud.document import JobDocument

_VALIDATE = "validate"


@takes_groups
def document(
    job: Annotated[
        str, typer.Argument(metavar="JOB|validate", help="Id of the job; or `validate` and a FILE to judge.")
    ],
    file: Annotated[Path | None, typer.Argument(help="With `validate`: a file with a job document.")] = None,
    *,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Show a job's document as it was given; `job document validate FILE` judges one before a job is made of it."""
    use_json(json)
    if file is not None:
        if job != _VALIDATE:
            raise UsageError(f"write `job document validate {file}`, or leave the file out")
        _validate(file, json=json)
        return
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415

    with cloud.open() as plane:
        found = JobsControl(plane).document(job)
    if json:
        emit_json({"event": "document", "job": job, "document": found})
    else:
        out.print(json_module.dumps(found, indent=2, ensure_ascii=False), soft_wrap=True)


def _validate(file: Path, *, json: bool) -> None:
    from bridge.cloud.document_check import check_document  # noqa: PLC0415

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"cannot read {file}: {why}", reason="unreadable") from error
    verdict = check_document(text)
    remarks = (*verdict.remarks, *_remarks_of_hosts(verdict.document))
    if json:
        emit_json(
            {
                "event": "document-valid",
                "document": verdict.document.to_dict(),
                "presigned": verdict.presigned,
                "remarks": remarks,
            }
        )
        return
    found = verdict.document
    what = found.operation or "an update"
    out.print(f"{file}: valid; {what}, version {found.fw_version or 'not told'}", soft_wrap=True)
    if verdict.presigned:
        out.print(
            "its URL is a placeholder: the job needs presigned URL settings (job create --presign)",
            soft_wrap=True,
        )
    for remark in remarks:
        console.print(f"note: {remark}", soft_wrap=True)


def _remarks_of_hosts(document: "JobDocument") -> list[str]:
    """What hosts with their usual options would refuse before they fetch anything.

    Raises:
        ImageRefusedError: All hosts would, whatever their options and their board: ``wrong-board``, ``bad-url``.
    """
    from bridge.fetch.hosts import HostRules  # noqa: PLC0415
    from bridge.fota.hardware_policy import check_nrf91  # noqa: PLC0415

    check_nrf91(document.board)
    remarks = []
    rules = HostRules(http=True)  # of http the document's own judgement speaks
    for url in (document.url, *document.mirrors):
        try:
            rules.check_url(url)
        except ImageRefusedError as error:
            if error.reason != "address-refused":
                raise
            remarks.append(f"{error.message}. {error.hint}")
    return remarks

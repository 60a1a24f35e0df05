"""Jobs over AWS IoT's control plane. Source: botocore's ``iot`` model (members, errors).

What a request asks for and this service does not do, such as maintenance windows or templates, is refused by name, not ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.lab.jobs_limits import invalid, read_settings
from bridge.lab.jobs_model import Job
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_paging import page
from bridge.lab.rest_values import job_body, job_reference, job_summary, read_tags, read_targets

DocumentReader = Callable[[str], str]
"""Reads the S3 object that ``documentSource`` names; raises JobsRejectedError if it cannot."""

REFUSED_MEMBERS: Final = ("namespaceId", "jobTemplateArn", "documentParameters", "destinationPackageVersions")
"""Members of jobs that the local cloud knows of and does not do."""


class ControlRest:
    """Handlers over a store.

    Args:
        store: The jobs.
        clock: The store's clock.
        read_document: Reads a ``documentSource``, if something can.
    """

    def __init__(self, store: JobsStore, clock: Clock, read_document: DocumentReader | None) -> None:
        self._store = store
        self._clock = clock
        self._read_document = read_document
        self.handlers = {
            "CreateJob": self.create,
            "UpdateJob": self.update,
            "AssociateTargetsWithJob": self.associate,
            "DescribeJob": self.describe,
            "GetJobDocument": self.document,
            "ListJobs": self.list,
            "CancelJob": self.cancel,
            "DeleteJob": self.delete,
        }

    def create(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """CreateJob."""
        _refuse(members)
        source = members.get("documentSource")
        if (members.get("document") is None) is (source is None):
            raise invalid("a job has either document or documentSource")
        things, groups = read_targets(members["targets"])
        job = self._store.create_job(
            members["jobId"],
            things,
            members["document"] if source is None else self._fetched(source),
            groups=groups,
            continuous=members.get("targetSelection") == "CONTINUOUS",
            description=members.get("description", ""),
            settings=read_settings(members, self._clock()),
            document_source=source,
            tags=read_tags(members.get("tags", ())),
        )
        return job_reference(job)

    def update(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """UpdateJob."""
        _refuse(members)
        job = self._store.describe_job(members["jobId"])
        settings = read_settings(members, self._clock(), job.settings)
        self._store.update_job(job.job_id, description=members.get("description"), settings=settings)
        return {}

    def associate(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """AssociateTargetsWithJob."""
        _refuse(members)
        things, groups = read_targets(members["targets"])
        if things:
            raise invalid(f"only thing groups can be associated with a job, not the thing {things[0]}")
        return job_reference(
            self._store.associate_targets(members["jobId"], groups, comment=members.get("comment"))
        )

    def describe(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DescribeJob."""
        job = self._store.describe_job(members["jobId"])
        body: dict[str, object] = {"job": job_body(job, self._store.list_executions(job.job_id))}
        if job.document_source is not None:
            body["documentSource"] = job.document_source
        return body

    def document(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """GetJobDocument; without templates there is nothing to substitute, and URLs are signed for devices only."""
        return {"document": self._store.describe_job(members["jobId"]).document_text}

    def list(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListJobs, newest first."""
        _refuse(members)
        jobs = [job for job in self._store.list_jobs() if self._listed(job, members)]
        shown, more = page(jobs, lambda job: -job.serial, members, "jobs")
        return {"jobs": [job_summary(job) for job in shown], **more}

    def cancel(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """CancelJob."""
        job = self._store.cancel_job(
            members["jobId"],
            force=members.get("force", False),
            reason_code=members.get("reasonCode"),
            comment=members.get("comment"),
        )
        return job_reference(job)

    def delete(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DeleteJob; at once, so that nobody ever sees DELETION_IN_PROGRESS."""
        _refuse(members)
        self._store.delete_job(members["jobId"], force=members.get("force", False))
        return {}

    def _fetched(self, source: str) -> str:
        if self._read_document is None:
            raise invalid("not emulated by the local cloud: documentSource")
        return self._read_document(source)

    def _listed(self, job: Job, members: Mapping[str, Any]) -> bool:
        group, group_id = members.get("thingGroupName"), members.get("thingGroupId")
        if group_id is not None and group_id not in {
            self._store.groups.describe(one).group_id for one in self._store.groups.existing(job.groups)
        }:
            return False
        selection = "CONTINUOUS" if job.continuous else "SNAPSHOT"
        return (
            members.get("status") in {None, job.status.value}
            and members.get("targetSelection") in {None, selection}
            and (group is None or group in job.groups)
        )


def _refuse(members: Mapping[str, Any]) -> None:
    if asked := [name for name in REFUSED_MEMBERS if name in members]:
        raise invalid(f"not emulated by the local cloud: {', '.join(asked)}")

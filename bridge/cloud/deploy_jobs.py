"""Jobs as an operator sees them: create, list, describe, cancel, delete; all pages, the latest execution of each thing.

Source: botocore's ``iot`` model. A thing can have several executions of a job, when it failed and is tried again; the one with
the highest number counts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bridge.cloud.deploy import EXISTS_REASON, ControlPlane, translated
from bridge.cloud.deploy_order import JobOrder
from bridge.cloud.job_messages import JobTopics, check_job_id
from bridge.errors import CloudError, UsageError

TERMINAL: Final = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "REMOVED", "CANCELED"})
ENDED_JOBS: Final = frozenset({"COMPLETED", "CANCELED", "DELETION_IN_PROGRESS"})


@dataclass(frozen=True)
class JobState:
    """A job.

    Attributes:
        counters: Number of things by status, such as ``{"QUEUED": 3}``; statuses without things are left out.
        members: The whole answer of DescribeJob or ListJobs.
    """

    job_id: str
    arn: str
    status: str
    continuous: bool
    created_at: datetime | None = None
    completed_at: datetime | None = None
    targets: tuple[str, ...] = ()
    description: str = ""
    comment: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more."""
        return self.status in ENDED_JOBS


@dataclass(frozen=True)
class ExecutionState:
    """A job on one thing.

    Attributes:
        details: The ``statusDetails``; empty unless they were asked for.
    """

    thing_name: str
    status: str
    execution_number: int
    updated_at: datetime | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more, but by another execution."""
        return self.status in TERMINAL


class JobsControl:
    """The jobs of an account and region.

    Args:
        plane: The cloud.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def target_arns(self, things: Sequence[str], groups: Sequence[str]) -> list[str]:
        """ARNs of things and groups; that they are there is thereby known.

        Raises:
            CloudError: One of them is not (``not-found``), or the cloud refuses.
            UsageError: A name is none.
        """
        arns = []
        for name in things:
            JobTopics(name)
            with translated(f"find the thing {name}"):
                arns.append(str(self._plane.iot.describe_thing(thingName=name)["thingArn"]))
        for name in groups:
            with translated(f"find the thing group {name}"):
                arns.append(str(self._plane.iot.describe_thing_group(thingGroupName=name)["thingGroupArn"]))
        return arns

    def create(self, order: JobOrder, target_arns: Sequence[str]) -> str:
        """Create a job.

        Returns:
            Its ARN.

        Raises:
            UsageError: There is a job of that id (``job-exists``).
            CloudError: The cloud refuses.
        """
        try:
            with translated(f"create the job {order.job_id}"):
                return str(self._plane.iot.create_job(**order.to_request(target_arns))["jobArn"])
        except CloudError as error:
            if error.reason == EXISTS_REASON:
                raise UsageError(
                    f"there is a job {order.job_id} already",
                    reason="job-exists",
                    hint="Choose another --job-id; the id of a deleted job can be used again.",
                ) from error
            raise

    def every(self, *, status: str | None = None, group: str | None = None) -> Iterator[JobState]:
        """The jobs, the newest first."""
        wanted = {"status": status, "thingGroupName": group}
        pages = self._pages(
            "list_jobs", "list the jobs", {name: value for name, value in wanted.items() if value}
        )
        for page in pages:
            yield from (_job(each) for each in page["jobs"])

    def describe(self, job_id: str) -> JobState:
        """One job.

        Raises:
            CloudError: There is none (``not-found``), or the cloud refuses.
        """
        with translated(f"describe the job {job_id}"):
            return _job(self._plane.iot.describe_job(jobId=check_job_id(job_id))["job"])

    def executions(self, job_id: str) -> list[ExecutionState]:
        """The latest execution of each thing, in the order of the things' names; without details."""
        latest: dict[str, ExecutionState] = {}
        pages = self._pages(
            "list_job_executions_for_job", f"list the executions of {job_id}", {"jobId": check_job_id(job_id)}
        )
        for page in pages:
            for each in page["executionSummaries"]:
                summary, name = each["jobExecutionSummary"], each["thingArn"].rpartition("/")[2]
                state = ExecutionState(
                    name, summary["status"], summary.get("executionNumber", 1), summary.get("lastUpdatedAt")
                )
                known = latest.get(name)
                if known is None or known.execution_number < state.execution_number:
                    latest[name] = state
        return [latest[name] for name in sorted(latest)]

    def executions_of_thing(self, thing_name: str) -> list[tuple[str, ExecutionState]]:
        """Job id and execution of a thing's jobs, as the cloud orders them."""
        JobTopics(thing_name)
        pages = self._pages(
            "list_job_executions_for_thing", f"list the jobs of {thing_name}", {"thingName": thing_name}
        )
        return [
            (
                each["jobId"],
                ExecutionState(
                    thing_name,
                    each["jobExecutionSummary"]["status"],
                    each["jobExecutionSummary"].get("executionNumber", 1),
                    each["jobExecutionSummary"].get("lastUpdatedAt"),
                ),
            )
            for page in pages
            for each in page["executionSummaries"]
        ]

    def execution(self, job_id: str, thing_name: str, number: int | None = None) -> ExecutionState:
        """One execution with its details.

        Raises:
            CloudError: It is not there (``not-found``), or the cloud refuses.
        """
        which = {} if number is None else {"executionNumber": number}
        with translated(f"describe the execution of {job_id} on {thing_name}"):
            answer = self._plane.iot.describe_job_execution(jobId=job_id, thingName=thing_name, **which)
        found = answer["execution"]
        return ExecutionState(
            thing_name,
            found["status"],
            found.get("executionNumber", 1),
            found.get("lastUpdatedAt"),
            found.get("statusDetails", {}).get("detailsMap", {}),
        )

    def document(self, job_id: str) -> object:
        """The job document as it was given, placeholders and all; text if it is no JSON."""
        with translated(f"read the document of {job_id}"):
            text = str(self._plane.iot.get_job_document(jobId=check_job_id(job_id)).get("document", ""))
        try:
            return json.loads(text)
        except ValueError:
            return text

    def cancel(
        self, job_id: str, *, force: bool = False, reason_code: str | None = None, comment: str | None = None
    ) -> None:
        """Cancel a job: what is queued; with ``force`` also what is in progress."""
        more = {"reasonCode": reason_code, "comment": comment}
        with translated(f"cancel the job {job_id}"):
            self._plane.iot.cancel_job(
                jobId=check_job_id(job_id),
                force=force,
                **{name: value for name, value in more.items() if value},
            )

    def cancel_execution(self, job_id: str, thing_name: str, *, force: bool = False) -> None:
        """Cancel a job on one thing; one in progress with ``force`` only."""
        with translated(f"cancel the job {job_id} on {thing_name}"):
            self._plane.iot.cancel_job_execution(
                jobId=check_job_id(job_id), thingName=thing_name, force=force
            )

    def delete(self, job_id: str, *, force: bool = False) -> None:
        """Delete a job and its executions; one in progress with ``force`` only."""
        with translated(f"delete the job {job_id}"):
            self._plane.iot.delete_job(jobId=check_job_id(job_id), force=force)

    def _pages(self, operation: str, what: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
        """Pages, each fetched when it is needed, and its errors translated."""
        call = getattr(self._plane.iot, operation)
        token: dict[str, str] = {}
        while True:
            with translated(what):
                page = call(**arguments, **token)
            yield page
            if not page.get("nextToken"):
                return
            token = {"nextToken": page["nextToken"]}


def _job(members: Mapping[str, Any]) -> JobState:
    counts = members.get("jobProcessDetails", {})
    return JobState(
        job_id=members["jobId"],
        arn=members["jobArn"],
        status=members.get("status", "UNKNOWN"),
        continuous=members.get("targetSelection") == "CONTINUOUS",
        created_at=members.get("createdAt"),
        completed_at=members.get("completedAt"),
        targets=tuple(members.get("targets", ())),
        description=members.get("description", ""),
        comment=members.get("comment", ""),
        counters={status: counts[name] for status, name in _COUNTERS.items() if counts.get(name)},
        members=members,
    )


_COUNTERS: Final = {
    "QUEUED": "numberOfQueuedThings",
    "IN_PROGRESS": "numberOfInProgressThings",
    "SUCCEEDED": "numberOfSucceededThings",
    "FAILED": "numberOfFailedThings",
    "REJECTED": "numberOfRejectedThings",
    "TIMED_OUT": "numberOfTimedOutThings",
    "CANCELED": "numberOfCanceledThings",
    "REMOVED": "numberOfRemovedThings",
}

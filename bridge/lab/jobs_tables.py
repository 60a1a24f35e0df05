"""Everything that the Jobs service knows, in memory, with indexes; and what of it is not on disk yet.

No rules in here. A value is replaced as a whole, never changed in place, so a change is a key of which the new value is to be
written.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from bridge.lab.jobs_model import Execution, Job, JobsRejectedError, RejectionCode, ThingGroup
from bridge.lab.jobs_timers import Timers

ExecutionKey = tuple[str, str, int]
"""Thing, job, execution number."""
Row = tuple[str, tuple[str | int, ...]]
"""Table and key."""


class JobsTables:
    """Things, groups, memberships, jobs, executions, tags.

    Attributes:
        things: When each was registered.
        memberships: Groups of each thing that has any.
        tags: By the resource's part of the ARN, such as ``job/job-1``.
        changed: What must be written.
        timers: When time alone changes a job (its id) or an execution (its key).
    """

    def __init__(self) -> None:
        self.things: Final[dict[str, float]] = {}
        self.groups: Final[dict[str, ThingGroup]] = {}
        self.memberships: Final[dict[str, tuple[str, ...]]] = {}
        self.jobs: Final[dict[str, Job]] = {}
        self.tags: Final[dict[str, Mapping[str, str]]] = {}
        self.changed: Final[set[Row]] = set()
        self.timers: Final[Timers[ExecutionKey | str]] = Timers()
        self._sequence = 0
        self._by_thing: dict[str, dict[str, list[Execution]]] = {}
        self._by_job: dict[str, dict[str, list[Execution]]] = {}

    # --- things, groups, tags ---------------------------------------------------------------------------------------

    def put_thing(self, name: str, created_at: float) -> None:
        """Register."""
        self.things[name] = created_at
        self.changed.add(("things", (name,)))

    def drop_thing(self, name: str) -> None:
        """Unregister, and leave all groups."""
        del self.things[name]
        self.changed.add(("things", (name,)))
        self.put_membership(name, ())

    def put_group(self, group: ThingGroup) -> None:
        """Make or replace a group."""
        self.groups[group.name] = group
        self.changed.add(("thing_groups", (group.name,)))

    def drop_group(self, name: str) -> None:
        """Remove a group that nobody is in."""
        del self.groups[name]
        self.changed.add(("thing_groups", (name,)))

    def put_membership(self, thing: str, groups: tuple[str, ...]) -> None:
        """Say in which groups a thing is."""
        if groups:
            self.memberships[thing] = groups
        else:
            self.memberships.pop(thing, None)
        self.changed.add(("memberships", (thing,)))

    def put_tags(self, resource: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of a resource."""
        if tags:
            self.tags[resource] = dict(tags)
        else:
            self.tags.pop(resource, None)
        self.changed.add(("tags", (resource,)))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def next_number(self) -> int:
        """A number that grows with each job and execution."""
        self._sequence += 1
        self.changed.add(("counters", ("sequence",)))
        return self._sequence

    @property
    def sequence(self) -> int:
        """The last number given out."""
        return self._sequence

    @sequence.setter
    def sequence(self, value: int) -> None:
        self._sequence = value

    def put_job(self, job: Job) -> Job:
        """Make or replace a job; gives it back."""
        self.jobs[job.job_id] = job
        self.timers.set(job.job_id, job.next_turn)
        self.changed.add(("jobs", (job.job_id,)))
        return job

    def drop_job(self, job_id: str) -> None:
        """Remove a job that has no executions."""
        del self.jobs[job_id]
        self.timers.set(job_id, None)
        self.changed.add(("jobs", (job_id,)))
        self.put_tags(f"job/{job_id}", {})

    def job(self, job_id: str) -> Job:
        """Find a job or raise ResourceNotFound."""
        if (job := self.jobs.get(job_id)) is None:
            raise JobsRejectedError(RejectionCode.RESOURCE_NOT_FOUND, f"there is no job {job_id}")
        return job

    def require_thing(self, thing_name: str) -> None:
        """Raise ResourceNotFound for a thing that is not registered."""
        if thing_name not in self.things:
            raise JobsRejectedError(RejectionCode.RESOURCE_NOT_FOUND, f"there is no thing {thing_name}")

    # --- executions -------------------------------------------------------------------------------------------------

    def put_execution(self, execution: Execution) -> None:
        """Add an execution, or replace the one with the same number."""
        many = self._by_thing.setdefault(execution.thing_name, {}).setdefault(execution.job_id, [])
        self._by_job.setdefault(execution.job_id, {})[execution.thing_name] = many
        for place, one in enumerate(many):
            if one.execution_number == execution.execution_number:
                many[place] = execution
                break
        else:
            many.append(execution)
        self._changed_execution(execution, execution.deadline)

    def drop_execution(self, execution: Execution) -> None:
        """Remove an execution without a trace."""
        thing, job_id = execution.thing_name, execution.job_id
        many = self._by_thing[thing][job_id]
        many.remove(execution)
        if not many:
            del self._by_thing[thing][job_id], self._by_job[job_id][thing]
        self._changed_execution(execution, None)

    def _changed_execution(self, execution: Execution, deadline: float | None) -> None:
        key = (execution.thing_name, execution.job_id, execution.execution_number)
        self.timers.set(key, deadline)
        self.changed.add(("executions", key))

    def runs(self, thing_name: str, job_id: str) -> list[Execution]:
        """All executions of a job on a thing, oldest first."""
        return self._by_thing.get(thing_name, {}).get(job_id, [])

    def execution(self, thing_name: str, job_id: str, number: int | None = None) -> Execution:
        """Find an execution (the latest unless numbered) or raise ResourceNotFound."""
        for execution in reversed(self.runs(thing_name, job_id)):
            if number in {None, execution.execution_number}:
                return execution
        raise JobsRejectedError(
            RejectionCode.RESOURCE_NOT_FOUND, f"there is no execution of job {job_id} on thing {thing_name}"
        )

    def things_of_job(self, job_id: str) -> Iterator[list[Execution]]:
        """The executions of a job, thing by thing, oldest first."""
        yield from self._by_job.get(job_id, {}).values()

    def executions_of_job(self, job_id: str) -> list[Execution]:
        """All executions of a job, retries included, in order of creation."""
        found = [one for many in self.things_of_job(job_id) for one in many]
        return sorted(found, key=lambda execution: execution.sequence)

    def executions_of_thing(self, thing_name: str) -> list[Execution]:
        """All executions on a thing, retries included, in order of creation."""
        found = [one for many in self._by_thing.get(thing_name, {}).values() for one in many]
        return sorted(found, key=lambda execution: execution.sequence)

"""What came of one job on a fleet, and what of it is not as it should be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bridge.lab.jobs_model import Execution, ExecutionStatus
from hil_tests.fleet.member import Kind, Member


@dataclass
class Act:
    """What came of one job.

    Attributes:
        statuses: Executions by status.
        by_kind: Executions by the thing's kind, status and reason.
        reached: Things that got the job at all.
        written: Boards that were written to.
        throttled: Requests of devices that the service refused because of their number.
        status: How the job itself stands.
        comment: What the service says about that.
        wrong: What is not as it should be, one sentence each.
    """

    job_id: str
    things: int
    statuses: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    reached: int = 0
    written: int = 0
    throttled: int = 0
    status: str = ""
    comment: str = ""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def look(
        self, executions: Sequence[Execution], members: Sequence[Member], counters: Mapping[str, int]
    ) -> None:
        """Count, and check that nothing has happened twice and that the service's own counters agree."""
        kinds = {member.name: member.kind for member in members}
        for one in executions:
            self.statuses[one.status] += 1
            self.by_kind[kinds[one.thing_name], one.status, one.status_details.get("reason", "")] += 1
        runs = Counter(one.thing_name for one in executions)
        self.reached = len(runs)
        self.written = sum(member.transfers[self.job_id] > 0 for member in members)
        listed = {status: counters[_counter(status)] for status in self.statuses}
        if listed != dict(self.statuses):
            self.wrong.append(f"the job's counters say {listed}, the executions {dict(self.statuses)}")
        self.wrong += [f"{name} has the job {count} times" for name, count in runs.items() if count > 1]
        for member in members:
            if (times := member.transfers[self.job_id]) > 1:
                self.wrong.append(f"{member.name} was written {times} times")
            if member.ended.count(self.job_id) > 1:
                self.wrong.append(f"the agent of {member.name} worked the job twice")
            if times and member.name not in runs:
                self.wrong.append(f"{member.name} was written without having the job")

    def check_truth(self, execution: Execution, member: Member, expected: str, new_version: str) -> None:
        """Hold what the job says against what is in the board's flash."""
        said, running = execution.status, member.version
        if said != expected:
            details = dict(execution.status_details)
            self.wrong.append(f"{member.name} ({member.kind}) ended {said}: {details}")
        if (running == new_version) is not (said is ExecutionStatus.SUCCEEDED or member.kind is Kind.CURRENT):
            self.wrong.append(f"{member.name} runs {running}, its job says {said}")
        if not member.confirmed:
            self.wrong.append(f"{member.name} would run something else after a reset")


def _counter(status: str) -> str:
    return f"numberOf{''.join(word.capitalize() for word in status.split('_'))}Things"

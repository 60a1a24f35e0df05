"""The agent is killed with SIGKILL all over its jobs and started again; every job must end truthfully, once.

Real processes: the agent, a virtual board on a pty, and the local cloud with its broker. By hand:

    python -m hil_tests.faults.kill_sweep --seed 1 --count 100 --broker mosquitto
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bridge.board import Board
from bridge.errors import BoardNotFoundError, LinkError
from bridge.fota.journal_rows import read_history
from bridge.fota.journal_values import JournalEntry, JournalStep, Report
from bridge.fota.versions import modem_release
from hil_tests.faults.sweep_plan import EXPECTED, Images, Kill, Kind, Point, Running, make_plan
from hil_tests.faults.sweep_processes import Cloud, Command, Event

JOB_TIMEOUT_S = 300.0
_STARTING = {"start", "ready"}
_TERMINAL = {"SUCCEEDED", "FAILED", "REJECTED", "CANCELED"}


@dataclass
class Result:
    """What a sweep found.

    Attributes:
        kills: In which stage of the journal the agent died, and how often.
        endings: Kind of update and how it ended, and how often.
        faults: What must not have happened.
    """

    kills: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Sweep:
    """One sweep in one directory.

    Args:
        directory: For all that it leaves.
        points: What is done.
        broker: ``builtin`` or ``mosquitto``.
        board: More options of the virtual board.
        say: Told one line a job.
    """

    def __init__(
        self,
        directory: Path,
        points: list[Point],
        *,
        broker: str = "builtin",
        board: tuple[str, ...] = ("--flash", "ideal"),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.result = Result()
        self._directory = directory
        self._points = points
        self._broker = broker
        self._board_options = board
        self._say = say
        self._images = Images(points, directory / "images")
        self._running = Running()
        self._port = directory / "port"
        self._journal = directory / "journal.sqlite3"
        self._agent: Command | None = None
        self._cloud: Cloud

    def run(self) -> Result:
        """Do it all; what goes wrong is in the result."""
        with ExitStack() as stack:
            board = Command(
                self._directory,
                *("board", "--link", str(self._port), "--state", str(self._directory / "board")),
                *("--image", str(self._images.factory_image), "--timing", "real", *self._board_options),
            )
            stack.enter_context(board)
            board.until("ready", 60)
            self._cloud = stack.enter_context(Cloud(self._directory, self._images.directory, self._broker))
            stack.callback(self._stop_agent)
            for point in self._points:
                self._one(point)
        return self.result

    # --- one job -----------------------------------------------------------------------------------------------------

    def _one(self, point: Point) -> None:
        job_id = f"job-{point.number}"
        image, after = self._images.of(point, self._running)
        died: list[str] = []
        started_s = time.monotonic()
        if point.kills and point.kills[0].event in _STARTING:
            self._stop_agent()  # so that it starts with the job in the queue
        else:
            self._start_agent()
        self._cloud.create_job(job_id, image)
        for kill in point.kills:
            self._kill(kill, job_id)
            died.append(self._where(job_id))
        if point.cancels:
            self._cloud.cancel_job(job_id)
        self._start_agent()
        ended = self._wait_for_end(job_id)
        story = self._check(point, job_id, ended, after)
        self.result.kills.update(died)
        self.result.endings[f"{point.kind}: {story}"] += 1
        took_s = time.monotonic() - started_s
        self._say(
            f"{job_id} {point.kind}, killed in {', '.join(died) or 'no stage'}: {story} ({took_s:.1f} s)"
        )

    @property
    def _must_agent(self) -> Command:
        assert self._agent is not None
        return self._agent

    def _start_agent(self) -> None:
        if self._agent is not None:
            return
        self._agent = Command(
            self._directory,
            *(
                "run",
                *self._cloud.agent_arguments,
                "--port",
                str(self._port),
                "--journal",
                str(self._journal),
            ),
            *("--cache-dir", str(self._directory / "cache"), "--allow-network", "loopback"),
        )

    def _stop_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None and agent.process.poll() is None:
            agent.stop()

    def _kill(self, kill: Kill, job_id: str) -> None:
        """Kill the agent after an event of it, or when it has nothing left to do."""
        self._start_agent()
        agent = self._must_agent
        if kill.event != "start":
            self._until_event(agent, kill.event, job_id)
        time.sleep(kill.delay_s)  # this is the point: at no event at all
        agent.kill()
        self._agent = None

    def _until_event(self, agent: Command, wanted: str, job_id: str) -> None:
        deadline_s = time.monotonic() + JOB_TIMEOUT_S
        while time.monotonic() < deadline_s:
            event = agent.next_event(0.5)
            if event is None and self._over(job_id):
                return  # an earlier process got further than this kill wants
            if event is not None and {wanted, "finished"} & {event["event"], event.get("stage")}:
                return

    def _where(self, job_id: str) -> str:
        """In which stage the journal has the job."""
        if not self._journal.exists():
            return "nothing"
        found = [entry for entry, _ in read_history(self._journal, 5) if entry.order.job_id == job_id]
        if not found:
            return "nothing"
        entry = found[0]
        if entry.outcome is not None:
            return "ended" if entry.report is Report.DUE else "reported"
        return str(entry.stage)

    def _wait_for_end(self, job_id: str) -> Event:
        deadline_s = time.monotonic() + JOB_TIMEOUT_S
        while not self._over(job_id) and time.monotonic() < deadline_s:
            self._must_agent.next_event(0.2)
        return self._cloud.execution(job_id)

    def _over(self, job_id: str) -> bool:
        """Whether the cloud has its end, and the journal knows that."""
        settled = all(
            entry.outcome is not None and entry.report is not Report.DUE for entry, _ in self._entries(job_id)
        )
        return settled and self._cloud.execution(job_id)["status"] in _TERMINAL

    def _entries(self, job_id: str) -> list[tuple[JournalEntry, tuple[JournalStep, ...]]]:
        if not self._journal.exists():
            return []
        return [story for story in read_history(self._journal, 10) if story[0].order.job_id == job_id]

    # --- what must be true -------------------------------------------------------------------------------------------

    def _check(self, point: Point, job_id: str, execution: Event, after: Running) -> str:
        status = execution["status"]
        details = execution.get("statusDetails", {}).get("detailsMap", {})
        entries = self._entries(job_id)
        board = self._look()
        took = board == after != self._running
        if board not in (after, self._running):
            self._fault(
                job_id, f"the board runs {board}, neither the old {self._running} nor the new {after}"
            )
        self._check_cloud(point, job_id, status, details, took=took)
        self._check_journal(point, job_id, status, entries, took=took)
        self._running = board
        return status if status != "CANCELED" else f"CANCELED, {'installed' if took else 'not installed'}"

    def _check_cloud(
        self, point: Point, job_id: str, status: str, details: dict[str, str], *, took: bool
    ) -> None:
        expected, reason = EXPECTED[point.kind]
        if status == "CANCELED" and point.cancels:
            return
        if (status, details.get("reason")) != (expected, reason):
            self._fault(job_id, f"ended {status} {details}, not {expected} {reason}")
        if took != (status == "SUCCEEDED"):
            self._fault(
                job_id, f"the cloud has {status}, but the board {'took' if took else 'did not take'} it"
            )
        if self._cloud.executions(job_id) != 1:
            self._fault(job_id, "the job was executed more than once")

    def _check_journal(
        self,
        point: Point,
        job_id: str,
        status: str,
        entries: list[tuple[JournalEntry, tuple[JournalStep, ...]]],
        *,
        took: bool,
    ) -> None:
        if not entries and status == "CANCELED":
            return
        if len(entries) != 1:
            self._fault(job_id, f"{len(entries)} entries in the journal")
            return
        ((entry, steps),) = entries
        told = Report.GONE if status == "CANCELED" else Report.TAKEN
        if entry.report is not told:
            self._fault(job_id, f"the journal has its report as {entry.report}, not {told}")
        if (entry.outcome == "succeeded") != took:
            self._fault(job_id, f"the journal says {entry.outcome}, but took is {took}")
        whats = [step.what for step in steps]
        if whats.count("ended") != 1 or whats.count("reported") > 1:
            self._fault(job_id, f"told or ended more than once: {whats}")
        if "verify" in whats and "transfer" in whats[whats.index("verify") :]:
            self._fault(job_id, f"written again after its reboot: {whats}")

    def _look(self) -> Running:
        """What the board runs, after another reset: nothing may wait or be on trial."""
        deadline_s = time.monotonic() + JOB_TIMEOUT_S
        while True:
            try:
                with Board.open(str(self._port)) as board:
                    board.reset()
                    found = board.identify()
            except (BoardNotFoundError, LinkError):
                if time.monotonic() > deadline_s:
                    raise
            else:
                application = (found.application_version or "").removeprefix("v")
                return Running(application, modem_release(found.modem_version) or "")

    def _fault(self, job_id: str, text: str) -> None:
        self.result.faults.append(f"{job_id}: {text}")
        self._say(f"FAULT {job_id}: {text}")


def main() -> int:
    """Run a sweep by hand and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="kills, at least")
    parser.add_argument("--broker", choices=["builtin", "mosquitto"], default="mosquitto")
    parser.add_argument("--kinds", nargs="+", type=Kind, default=list(Kind), help="what is updated")
    parser.add_argument("--flash", choices=["ideal", "real"], default="ideal")
    parser.add_argument("--directory", type=Path, help="kept; default: a temporary one that is not")
    options = parser.parse_args()
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-sweep-") as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        points = make_plan(options.seed, options.count, options.kinds)
        sweep = Sweep(
            directory, points, broker=options.broker, board=("--flash", options.flash), say=print_line
        )
        result = sweep.run()
    print_line(
        f"{sum(result.kills.values())} kills in {len(points)} jobs, {time.monotonic() - started_s:.0f} s"
    )
    for title, counts in (("killed in", result.kills), ("ended", result.endings)):
        print_line(f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print_line(f"faults: {len(result.faults)}")
    return 1 if result.faults else 0


def print_line(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Hundreds of updates in a row in one process: nothing may grow, neither memory, threads, descriptors nor disk.

Everything is real but the board: agent, journal, cache, TLS to a local cloud, and a pty. The modem chatters all the time,
and the broker drops the agent now and then. By hand:

    python -m hil_tests.faults.soak --updates 500
"""

import argparse
import random
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bridge.board import Board
from bridge.cloud import Endpoint
from bridge.fetch import THIS_HOST
from bridge.fota import UpdateOptions, over_at
from bridge.fota.agent import Agent
from bridge.fota.journal import Journal
from bridge.fota.policy import Policy
from bridge.fota.service import DownloadSettings, running_agent
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer
from hil_tests.faults.soak_measure import Sample, measure, names_of_threads, trends

THING = "soaked"
VERSIONS = ("1.0.0+1", "1.0.0+2")
"""MCUboot's downgrade prevention does not look at the build number, so that the two can take turns."""
MODEMS = ("2.0.2", "2.0.3")
IMAGE_BYTES = 48 * 1024
KEPT_UPDATES = 20
"""Of the journal, so that its file has its size soon."""
_DELTA_EVERY = 5
_CUT_EVERY = 100
"""Farther apart than half a minute: five shorter connections in a row count as another client with our client id."""
_CUT_AT = 10
_URC_PAUSE_S = (0.002, 0.05)
_URCS = (
    "%CESQ: 54,2,16,2",
    "%CESQ: 255,0,255,0",
    '+CEREG: 5,"00B7","00011B07",7',
    "+CSCON: 1",
    "+CSCON: 0",
    "%XTIME: ,,",
    "%MDMEV: SEARCH STATUS 2",
    '+CGEV: ME PDN ACT 0,"quoted"',
    "%XVBATLOWLVL: 3300",
)


@dataclass
class Result:
    """What a soak found.

    Attributes:
        samples: Measurements, in order.
        endings: How jobs ended, and how often.
        urcs: How many unasked lines the modem has said.
        seconds: How long it took.
        hot: Where Python's memory has grown most, for people.
    """

    samples: list[Sample] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    urcs: int = 0
    seconds: float = 0.0
    hot: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        wrong = [f"{count} jobs ended {name}" for name, count in self.endings.items() if name != "SUCCEEDED"]
        return wrong + trends(self.samples)


class Soak:
    """One soak in one directory.

    Args:
        directory: For all that it writes.
        updates: How many.
        seed: For the noise.
        every: After how many updates it is measured.
        trace: Let tracemalloc say where memory goes; takes twice the time.
        after_update: Called after each update; a test plants its leak here.
        say: Told one line a measurement.
    """

    def __init__(
        self,
        directory: Path,
        updates: int,
        *,
        seed: int = 1,
        every: int = 10,
        trace: bool = True,
        after_update: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._updates = updates
        self._seed = seed
        self._every = every
        self._trace = trace
        self._after_update = after_update
        self._say = say
        self._samples = SampleImages(directory / "images")
        self._applications = [
            self._samples.application(version, size_bytes=IMAGE_BYTES) for version in VERSIONS
        ]
        self._deltas = [self._samples.modem_delta(old, new) for old, new in (MODEMS, MODEMS[::-1])]
        self._cloud: LocalCloud

    def run(self) -> Result:
        """Do it all."""
        result = Result()
        started_s = time.monotonic()
        with ExitStack() as stack:
            if self._trace:
                tracemalloc.start()
                stack.callback(tracemalloc.stop)
            factory = self._applications[0].read_bytes()
            board = VirtualBoard(
                factory_image=factory,
                keys=[self._samples.public_key_pem],
                state_dir=self._directory / "board",
            )
            self._cloud = stack.enter_context(LocalCloud(self._directory / "cloud"))
            stack.enter_context(board)
            pty = stack.enter_context(PtyServer(board))
            board.wait_for_event("ready")
            agent = stack.enter_context(self._agent(pty.path))
            noise = stack.enter_context(_Noise(board, self._seed))
            self._work(agent, result)
            result.urcs = noise.said
        result.seconds = time.monotonic() - started_s
        return result

    def _work(self, agent: Agent, result: Result) -> None:
        before: tracemalloc.Snapshot | None = None
        for number in range(1, self._updates + 1):
            result.endings[self._one(agent, number)] += 1
            self._after_update()
            if number % self._every == 0 or number == self._updates:
                result.samples.append(measure(number, self._directory))
                self._say(str(result.samples[-1]))
                if before is None and self._trace:
                    before = tracemalloc.take_snapshot()
        if before is not None:
            grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
            result.hot = [str(line) for line in grown[:10]]

    def _one(self, agent: Agent, number: int) -> str:
        turn, is_delta = divmod(number, _DELTA_EVERY)
        image = self._deltas[(turn + 1) % 2] if is_delta == 0 else self._applications[(number - turn) % 2]
        kind = "modem_fw_update" if is_delta == 0 else "app_fw_update"
        job_id = f"job-{number}"
        document = {"operation": kind, "location": {"url": self._cloud.publish_image(image)}}
        self._cloud.jobs.create_job(job_id, THING, document)
        if number % _CUT_EVERY == _CUT_AT:
            self._cloud.broker.cut(THING)
        agent.run(once=True)
        execution = self._cloud.jobs.describe_execution(job_id, THING)
        reason = execution.status_details.get("reason")
        self._cloud.jobs.delete_job(
            job_id, force=True
        )  # as an operator cleans up; the lab keeps jobs in memory
        return str(execution.status) if reason is None else f"{execution.status} ({reason})"

    @contextmanager
    def _agent(self, port: str) -> Iterator[Agent]:
        thing = self._cloud.add_thing(THING)
        endpoint = Endpoint(
            *self._cloud.mqtt_endpoint, thing.ca_file, thing.cert_file, thing.key_file, client_id=THING
        )
        downloads = DownloadSettings(self._directory / "cache", ca_file=self._cloud.ca_file, rules=THIS_HOST)
        options = UpdateOptions(policy=Policy(allow_downgrade=True, allow_same_version=True))
        with (
            Journal(self._directory / "journal.sqlite3", kept_updates=KEPT_UPDATES) as journal,
            running_agent(
                endpoint,
                THING,
                over_at(lambda: Board.open(port)),
                downloads,
                options=options,
                journal=journal,
                place=port,
            ) as agent,
        ):
            yield agent


class _Noise:
    """The modem says something at odd moments, whatever the board is doing."""

    def __init__(self, board: VirtualBoard, seed: int) -> None:
        self.said = 0
        self._board = board
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="urc-noise")

    def __enter__(self) -> "_Noise":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._chance.uniform(*_URC_PAUSE_S)):
            self._board.modem_says(self._chance.choice(_URCS))
            self.said += 1


def main() -> int:
    """Soak by hand and print figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=10, help="updates between two measurements")
    parser.add_argument("--no-trace", action="store_true", help="without tracemalloc: half the time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        soak = Soak(
            Path(directory),
            options.updates,
            seed=options.seed,
            every=options.every,
            trace=not options.no_trace,
            say=_print,
        )
        result = soak.run()
    _print(
        f"{options.updates} updates in {result.seconds:.0f} s, {result.urcs} unasked lines: {dict(result.endings)}"
    )
    for line in result.hot:
        _print(f"  {line}")
    _print(f"threads at the end: {', '.join(names_of_threads())}")
    for fault in result.faults:
        _print(f"FAULT {fault}")
    return 1 if result.faults else 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

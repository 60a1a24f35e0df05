"""Two acts: a continuous job that every thing works, and a bad one that is stopped after its first few things.

The Jobs service's clock stands still but when a rollout shall go on, so a rollout of minutes takes seconds.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.image import inspect_file
from bridge.lab.broker_faults import Fault
from bridge.lab.jobs_lifecycle import ABORTED
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from hil_tests.fleet.act import Act
from hil_tests.fleet.member import Kind, Member, Surroundings, kind_of

OLD, NEW, BAD = "1.0.0", "2.0.0", "3.0.0"
GROUP: Final = "fleet"
GOOD_JOB, BAD_JOB = "good-update", "bad-update"
IMAGE_BYTES: Final = 16 * 1024
PATIENCE_S: Final = 240.0
RATE_PER_MINUTE: Final = 10
ABORT_PERCENT: Final = 30.0
ABORT_AFTER: Final = 5
EXPECTED: Final = {
    Kind.PLAIN: "SUCCEEDED",
    Kind.CURRENT: "REJECTED",
    Kind.STRANGER: "FAILED",
    Kind.CUT: "SUCCEEDED",
    Kind.DEAF: "SUCCEEDED",
}


class SteppedClock:
    """Epoch seconds that stand still until somebody moves them."""

    def __init__(self) -> None:
        self._now = float(int(time.time()))

    def __call__(self) -> float:
        return self._now

    def pass_a_minute(self) -> None:
        """Move on."""
        self._now += 60


class Fleet:
    """A local cloud with so many things, inside :func:`running_fleet`."""

    def __init__(
        self, cloud: LocalCloud, clock: SteppedClock, samples: SampleImages, directory: Path
    ) -> None:
        self.cloud = cloud
        self.clock = clock
        self.members: list[Member] = []
        self._samples = samples
        self._changed = threading.Condition()
        self._around = Surroundings(
            cloud.mqtt_endpoint, directory / "downloads", self._changed, self._on_transfer
        )
        self.iot: Any = boto3.client(
            "iot",
            endpoint_url=cloud.https_url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            verify=str(cloud.ca_file),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )

    def build(self, count: int) -> None:
        """Make the things with their boards, and start their agents."""

        def image(version: str, key: bytes | None = None) -> bytes:
            return self._samples.application(version, size_bytes=IMAGE_BYTES, key=key).read_bytes()

        own, (private, public) = self._samples.public_key_pem, _another_key()
        usual, strange = (image(OLD), own), (image(OLD, private), public)
        boards = {Kind.CURRENT: (image(NEW), own), Kind.STRANGER: strange}
        with self.cloud.registry.together():
            things = [self.cloud.add_thing(f"board-{number:03}") for number in range(count)]
        for number, thing in enumerate(things):
            kind = kind_of(number)
            factory_image, key = boards.get(kind, usual)
            board = VirtualBoard(factory_image=factory_image, keys=[key])
            self.members.append(Member(thing, kind, board, self._around))
        for member in self.members:
            member.start()

    def work_good_job(self) -> Act:
        """A continuous job on a group to which a quarter of the things come later; the service throttles many a report."""
        began = time.monotonic()
        self.iot.create_thing_group(thingGroupName=GROUP)
        late = self.members[len(self.members) * 3 // 4 :]
        self._join(self.members[: len(self.members) - len(late)])
        for member in self.members:
            if member.kind is Kind.DEAF:
                topic = f"$aws/things/{member.name}/jobs/{GOOD_JOB}/update/accepted"
                self.cloud.broker_faults.arm(Fault.DROP_DELIVERY, topic)
        self.cloud.jobs.faults.throttle(len(self.members) // 2, call="/update")
        self._create(GOOD_JOB, self._samples.application(NEW, size_bytes=IMAGE_BYTES))
        half = (len(self.members) - len(late)) // 2
        self._wait(lambda: self._ended(GOOD_JOB) >= half)
        self._join(late)
        self._wait(lambda: self._ended(GOOD_JOB) == len(self.members))
        act = self._act(GOOD_JOB, began)
        act.throttled = self.cloud.jobs.faults.throttled
        for member in self.members:
            execution = self.cloud.jobs.describe_execution(GOOD_JOB, member.name)
            act.check_truth(execution, member, EXPECTED[member.kind], NEW)
        if act.status != "IN_PROGRESS":
            act.wrong.append(f"a continuous job goes on for ever, this one is {act.status}")
        return act

    def work_bad_job(self) -> Act:
        """An image that dies in a loop, to ten things a minute, given up when three in ten of at least five have failed."""
        began = time.monotonic()
        image = self._samples.application(BAD, size_bytes=IMAGE_BYTES, behaviour={"crash_loop": True})
        before = {member.name: member.version for member in self.members}
        criterion = {
            "failureType": "ALL",
            "action": "CANCEL",
            "thresholdPercentage": ABORT_PERCENT,
            "minNumberOfExecutedThings": ABORT_AFTER,
        }
        self._create(
            BAD_JOB,
            image,
            jobExecutionsRolloutConfig={"maximumPerMinute": RATE_PER_MINUTE},
            abortConfig={"criteriaList": [criterion]},
        )
        while True:
            self._wait(lambda: all(one.status.terminal for one in self.cloud.jobs.list_executions(BAD_JOB)))
            if self._job(BAD_JOB)["status"] != "IN_PROGRESS":
                break
            self.clock.pass_a_minute()
            self.cloud.jobs.advance()
        act = self._act(BAD_JOB, began)
        for member in self.members:
            if member.version != before[member.name]:
                act.wrong.append(f"{member.name} runs {member.version} after {before[member.name]}")
        reason = self._job(BAD_JOB).get("reasonCode")
        if (act.status, reason) != ("CANCELED", ABORTED):
            act.wrong.append(f"the bad job is {act.status} for the reason {reason}")
        return act

    def close(self) -> None:
        """End all agents and boards."""
        for member in self.members:
            member.stop()
        for member in self.members:
            member.close()
        self.iot.close()

    # --- parts ------------------------------------------------------------------------------------------------------

    def _on_transfer(self, name: str, kind: Kind) -> None:
        if kind is Kind.CUT:
            self.cloud.broker.cut(name)

    def _join(self, members: list[Member]) -> None:
        for member in members:
            self.iot.add_thing_to_thing_group(thingGroupName=GROUP, thingName=member.name)

    def _create(self, job_id: str, image: Path, **members: object) -> None:
        found = inspect_file(image)
        document = {
            "operation": "app_fw_update",
            "fwversion": found.version,
            "size": found.size_bytes,
            "sha256": found.sha256,
            "location": {"url": self.cloud.publish_image(image)},
        }
        group = self.iot.describe_thing_group(thingGroupName=GROUP)["thingGroupArn"]
        self.iot.create_job(
            jobId=job_id,
            targets=[group],
            document=json.dumps(document),
            targetSelection="CONTINUOUS",
            timeoutConfig={"inProgressTimeoutInMinutes": 60},
            **members,
        )

    def _job(self, job_id: str) -> Any:
        return self.iot.describe_job(jobId=job_id)["job"]

    def _ended(self, job_id: str) -> int:
        return sum(one.status.terminal for one in self.cloud.jobs.list_executions(job_id))

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait until the service says so; it is asked whenever an agent has ended a job."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not done():
                if broken := [one for one in self.members if one.failure is not None]:
                    raise RuntimeError(f"the agent of {broken[0].name} ended") from broken[0].failure
                # An end may be known here before the service knows of it.
                if not self._changed.wait(1.0) and time.monotonic() > deadline:
                    raise TimeoutError(f"not done in {PATIENCE_S:.0f} s")

    def _act(self, job_id: str, began: float) -> Act:
        job = self._job(job_id)
        act = Act(job_id, len(self.members), seconds=time.monotonic() - began)
        act.status, act.comment = job["status"], job.get("comment", "")
        act.look(self.cloud.jobs.list_executions(job_id), self.members, job["jobProcessDetails"])
        return act


@contextmanager
def running_fleet(count: int, directory: Path) -> Iterator[Fleet]:
    """A local cloud that keeps its jobs on disk, with so many things at work."""
    samples, clock = SampleImages(directory / "images"), SteppedClock()
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud(directory / "cloud", clock=clock))
        fleet = Fleet(cloud, clock, samples, directory)
        stack.callback(fleet.close)
        fleet.build(count)
        yield fleet


def _another_key() -> tuple[bytes, bytes]:
    """A key that no image of the job is signed with: private and public PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return plain, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)

"""Jobs in tests: an image becomes a job, the bridge works it, and two sources must agree before it counts as done."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bridge.cloud import JobExecution
from bridge.errors import BenchError, BridgeError
from bridge.fetch import THIS_HOST, DownloadOptions
from bridge.fota import Finished, Policy, UpdateEvent, UpdateOptions
from bridge.fota.agent import Agent
from bridge.fota.journal import Journal
from bridge.fota.service import DownloadSettings, running_agent
from bridge.fota.versions import modem_release
from bridge.fota.window import Admission
from bridge.image import ImageKind, inspect_file
from bridge.pytest_plugin.cloud import CloudUnderTest, CloudView, Thing
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.updates import EventHook, Story

_NUMBERS: Final = itertools.count(1)
_MODEM_KINDS: Final = frozenset({ImageKind.MODEM_DELTA, ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE})


@dataclass
class Worked:
    """A job that the bridge has worked.

    Attributes:
        story: What happened on the board; empty if there was no job.
        cloud: What the cloud says afterwards.
    """

    story: Story
    cloud: CloudView

    @property
    def status(self) -> str:
        """Status in the cloud."""
        return self.cloud.status

    @property
    def reason(self) -> str | None:
        """Why it did not succeed, as the cloud has it."""
        return self.cloud.details.get("reason")


class Job:
    """A job for the board under test.

    Args:
        bench: Makes and works jobs.
        job_id: Its id.
        image: Its file, if there is one.
    """

    def __init__(self, bench: "JobBench", job_id: str, image: Path | None) -> None:
        self._bench = bench
        self.job_id = job_id
        self.image = image

    @property
    def cloud(self) -> CloudView:
        """What the cloud says now."""
        return self._bench.cloud.view(self.job_id, self._bench.thing.name)

    def cancel(self, *, force: bool = False) -> None:
        """Cancel it."""
        self._bench.cloud.cancel(self.job_id, force=force)

    def work(self, **options: Any) -> Worked:
        """Have the bridge work the next job of the queue, as ``nrf91-bridge run --once`` does.

        Args:
            options: See :meth:`JobBench.work`.
        """
        return self._bench.work(self, **options)


class JobBench:
    """Makes jobs and works them; what ``nrf91_deploy`` is.

    Args:
        device: The board.
        cloud: Where jobs come from.
        thing: Whose jobs.
        directory: For downloads and journals.
        note: Told about each update that was run.
    """

    def __init__(
        self,
        device: DeviceUnderTest,
        cloud: CloudUnderTest,
        thing: Thing,
        directory: Path,
        note: Callable[[Story], None],
    ) -> None:
        self.device = device
        self.cloud = cloud
        self.thing = thing
        self.directory = directory
        self._note = note
        self._made: list[str] = []
        self._fetched: dict[str, int] = {}

    def __call__(self, image: Path, *, options: dict[str, Any] | None = None, **members: object) -> Job:
        """Publish an image and create a job for it.

        Args:
            image: The file.
            options: More for the cloud's ``create_job``, such as ``in_progress_timeout_minutes``.
            members: Members of the document, added to or instead of those that the file gives; None leaves one out.
        """
        return self.order(self.document(image, **members), image=image, options=options)

    def document(self, image: Path, **members: object) -> dict[str, object]:
        """The job document for an image, which is published for it."""
        facts: dict[str, object] = {"operation": "app_fw_update", "size": image.stat().st_size}
        try:
            inspected = inspect_file(image)
        except BridgeError:
            pass  # a test that wants a bad file ordered
        else:
            facts["sha256"] = inspected.sha256
            if inspected.kind in _MODEM_KINDS:
                facts["operation"] = "modem_fw_update"
        wanted = {**facts, "location": {"url": self.cloud.publish(image)}, **members}
        return {name: value for name, value in wanted.items() if value is not None}

    def order(
        self, document: object, *, image: Path | None = None, options: dict[str, Any] | None = None
    ) -> Job:
        """Create a job with a document of one's own."""
        job_id = f"nrf91-test-{os.getpid()}-{next(_NUMBERS)}"
        self.cloud.create_job(job_id, self.thing.name, document, **(options or {}))
        self._made.append(job_id)
        return Job(self, job_id, image)

    def work(
        self,
        job: Job,
        *,
        on_event: EventHook = lambda _event: None,
        transport: str | None = None,
        route: dict[str, Any] | None = None,
        download: DownloadOptions | None = None,
        journal: Journal | None = None,
        admission: Admission | None = None,
        transfer_baud: int | None = None,
        confirm_timeout_s: float = 5.0,
        bench_errors: bool = False,
        **policy: Any,
    ) -> Worked:
        """Work the job at the head of the queue to its end.

        Args:
            job: The job that the test is about.
            on_event: Told about each event of the update.
            transport: Route into flash; None for the bench's.
            route: More of :class:`~bridge.fota.choose_route.RouteOptions`.
            download: How patient downloads are.
            journal: Where the update is written down.
            admission: When jobs may be taken.
            transfer_baud: Bit rate of transfers; 0 stays at the board's, None is the bench's.
            confirm_timeout_s: How long a new application may take to say that it confirmed itself.
            bench_errors: The test wants to see a bench that is at fault.
            policy: More of :class:`~bridge.fota.policy.Policy`.

        Raises:
            BenchError: The bench is at fault, and the test has shown nothing.
            AssertionError: The bridge says SUCCEEDED, and board, cloud and bridge do not agree on it.
        """
        story = Story(job.image.name if job.image else "", job=job.job_id)
        if job.image is not None:
            story.command = self.device.flash_command(job.image, transport, policy)

        def take(_execution: JobExecution, event: UpdateEvent) -> None:
            story.take(event)
            on_event(event)

        with self.agent(
            take,
            transport=transport,
            route=route,
            download=download,
            journal=journal,
            admission=admission,
            transfer_baud=transfer_baud,
            confirm_timeout_s=confirm_timeout_s,
            **policy,
        ) as agent:
            result = agent.run(once=True)
        story.end(result.error if result is not None else None)
        view = job.cloud
        story.status = view.status
        self._note(story)
        if isinstance(story.error, BenchError) and not bench_errors:
            raise story.error
        if view.status == "SUCCEEDED" and result is not None and result.execution.job_id == job.job_id:
            self._prove(job, story, view)
        return Worked(story, view)

    @contextmanager
    def agent(
        self,
        on_event: Callable[[JobExecution, UpdateEvent], None] = lambda _execution, _event: None,
        *,
        transport: str | None = None,
        route: dict[str, Any] | None = None,
        download: DownloadOptions | None = None,
        journal: Journal | None = None,
        admission: Admission | None = None,
        transfer_baud: int | None = None,
        confirm_timeout_s: float = 5.0,
        **policy: Any,
    ) -> Iterator[Agent]:
        """The bridge at work on the board's jobs, for tests that drive it themselves."""
        options = UpdateOptions(
            policy=Policy(**policy),
            transfer_baud=self.device.transfer_baud(transfer_baud),
            confirm_timeout_s=confirm_timeout_s,
        )
        own_cloud = self.cloud.on_this_host
        downloads = DownloadSettings(
            self.directory / "downloads",
            ca_file=self.thing.download_ca_file,
            rules=THIS_HOST if own_cloud else None,
            options=download or (replace(DownloadOptions(), first_backoff_s=0.01) if own_cloud else None),
        )
        with running_agent(
            self.thing.endpoint,
            self.thing.name,
            self.device.route(transport, **(route or {})),
            downloads,
            options=options,
            on_event=on_event,
            admission=admission,
            journal=journal,
            place=self.device.name,
        ) as agent:
            yield agent

    def _prove(self, job: Job, story: Story, view: CloudView) -> None:
        """Two sources: what the cloud was told, and what the board itself says when it is asked once more."""
        finished = story.finished
        assert isinstance(finished, Finished)
        told = view.details.get("running_version")
        if told is not None:
            identity = self.device.identify()
            said = {
                (identity.application_version or "").removeprefix("v").partition("-")[0],
                modem_release(identity.modem_version) or "",
                str(identity.bootloader_version),
            }
            assert told.partition("+")[0] in said, (
                f"the cloud was told that {told} runs; the board says {sorted(said)}"
            )
        assert job.job_id not in self.cloud.open_jobs(self.thing.name), (
            "the job is still open after its success"
        )
        if job.image is not None:
            count = self.cloud.downloads(job.image.name)
            if count is not None:
                self._fetched[job.image.name] = count

    def check_no_second_download(self) -> None:
        """After a success nothing may be fetched once more.

        Raises:
            AssertionError: It was.
        """
        for name, count in self._fetched.items():
            now = self.cloud.downloads(name)
            assert now == count, f"{name} was downloaded again after its success"

    def purge(self) -> list[str]:
        """Delete jobs that earlier runs left on the thing; gives their ids."""
        stale = self.cloud.open_jobs(self.thing.name)
        for job_id in stale:
            self.cloud.remove(job_id)
        return stale

    def close(self) -> None:
        """Delete the jobs that the test made and that have not ended."""
        for job_id in set(self._made) & set(self.cloud.open_jobs(self.thing.name)):
            self.cloud.remove(job_id)

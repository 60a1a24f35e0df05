"""Updates in tests: one image onto the board without any cloud, with its whole story."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.errors import BenchError, BridgeError
from bridge.fota import (
    Expectations,
    Finished,
    ImageAccepted,
    ImageJudged,
    Outcome,
    Policy,
    Progress,
    StageStarted,
    Update,
    UpdateEvent,
    UpdateOptions,
)
from bridge.fota.image_store import KnownImageStore
from bridge.image import FileSource
from bridge.pytest_plugin.device import DeviceUnderTest

EventHook = Callable[[UpdateEvent], None]
"""Told about each event when it happens, on the thread that updates: whatever it does comes right then."""


@dataclass
class Story:
    """How an update went, for proofs, artefacts and reports.

    Attributes:
        image: The file.
        events: All events.
        times_s: When each of them came, in seconds since the start.
        error: Why it did not succeed.
        job: Its job, if it came from one.
        status: What the cloud said in the end, if it came from a job.
        command: The command that does the same on this board, without its port; empty if there was no file.
        began_s: When it began, on the monotonic clock.
        ended_s: When it had ended, and its port was closed.
    """

    image: str
    events: list[UpdateEvent] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    error: BridgeError | None = None
    job: str | None = None
    status: str | None = None
    command: tuple[str, ...] = ()
    began_s: float = field(default_factory=time.monotonic, repr=False)
    ended_s: float = field(default=float("inf"), repr=False)

    def take(self, event: UpdateEvent) -> None:
        """Write down an event."""
        self.events.append(event)
        self.times_s.append(time.monotonic() - self.began_s)

    def end(self, error: BridgeError | None) -> None:
        """Write down that it is over."""
        self.error, self.ended_s = error, time.monotonic()

    @property
    def finished(self) -> Finished:
        """The last event."""
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return self.finished.outcome

    @property
    def reason(self) -> str | None:
        """Code of why it did not succeed."""
        return self.finished.reason

    @property
    def stages(self) -> list[str]:
        """Stages in the order in which they began."""
        return [str(event.stage) for event in self.events if isinstance(event, StageStarted)]

    @property
    def wrote(self) -> int:
        """Bytes that went to the board."""
        return max((event.done_bytes for event in self.events if isinstance(event, Progress)), default=0)

    @property
    def progress(self) -> list[tuple[float, int]]:
        """Seconds since the start, and bytes that the board had taken by then."""
        return [
            (round(at, 4), event.done_bytes)
            for event, at in zip(self.events, self.times_s, strict=True)
            if isinstance(event, Progress)
        ]

    @property
    def size_bytes(self) -> int | None:
        """Size of the image, if it was accepted."""
        return next((event.size_bytes for event in self.events if isinstance(event, ImageAccepted)), None)

    @property
    def judged(self) -> ImageJudged | None:
        """What the whole image was found to be, if it was read to its end."""
        return next((event for event in self.events if isinstance(event, ImageJudged)), None)

    @property
    def attempts(self) -> int:
        """Transfers that were begun; more than one means that something was sent again."""
        return max((event.attempt for event in self.events if isinstance(event, Progress)), default=0)

    @property
    def rate_bytes_per_s(self) -> float:
        """Rate at the end of the transfer."""
        rates = [event.rate_bytes_per_s for event in self.events if isinstance(event, Progress)]
        return rates[-1] if rates else 0.0

    def stage_times_s(self) -> dict[str, float]:
        """How long each stage took."""
        starts = [
            (str(event.stage), at)
            for event, at in zip(self.events, self.times_s, strict=True)
            if isinstance(event, StageStarted)
        ]
        ends = [*(at for _, at in starts[1:]), *self.times_s[-1:]]
        return {stage: round(end - start, 4) for (stage, start), end in zip(starts, ends, strict=False)}


class Updater:
    """Runs updates on one board; what ``nrf91_update`` is.

    Args:
        device: The board.
        note: Told about each update that was run.
    """

    def __init__(self, device: DeviceUnderTest, note: Callable[[Story], None]) -> None:
        self._device = device
        self._note = note

    def __call__(
        self,
        image: Path,
        *,
        transport: str | None = None,
        on_event: EventHook = lambda _event: None,
        expected: Expectations | None = None,
        transfer_baud: int | None = None,
        route: dict[str, Any] | None = None,
        check_only: bool = False,
        member: str | None = None,
        image_store: KnownImageStore | None = None,
        bench_errors: bool = False,
        **policy: Any,
    ) -> Story:
        """Write an image, reboot, prove; or find out why not.

        Args:
            image: The file.
            transport: Route into flash; None for the bench's.
            on_event: Told about each event.
            expected: What an order would say about the image.
            transfer_baud: Bit rate of the transfer; 0 stays at the board's, None is the bench's.
            route: More of :class:`~bridge.fota.choose_route.RouteOptions`.
            check_only: Stop before anything is written.
            member: Image to take out of a package.
            image_store: Where the bases of application deltas are.
            bench_errors: A bench that is at fault is what the test wants to see; else it is raised, because then the test
                has shown nothing.
            policy: More of :class:`~bridge.fota.policy.Policy`.

        Raises:
            BenchError: The bench is at fault, see ``bench_errors``.
        """
        story = Story(image.name, command=self._device.flash_command(image, transport, policy))
        options = UpdateOptions(
            expected=expected or Expectations(),
            policy=Policy(**policy),
            transfer_baud=self._device.transfer_baud(transfer_baud),
            check_only=check_only,
            member=member,
            image_store=image_store,
        )
        try:
            source = FileSource(image)
        except BridgeError as error:
            raise BenchError(f"the image cannot be opened: {error.message}", reason="no-image") from error
        update = Update(source, self._device.route(transport, **(route or {})), options=options)
        with closing(iter(update)) as events:
            for event in events:
                story.take(event)
                on_event(event)
        story.end(update.error)
        self._note(story)
        if isinstance(story.error, BenchError) and not bench_errors:
            raise story.error
        return story

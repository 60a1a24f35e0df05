"""How one update is done, and who may still stop it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.fota.earlier_run import EarlierRun
from bridge.fota.events import Stage, UpdateEvent
from bridge.fota.image_store import KnownImageStore
from bridge.fota.policy import Expectations, Policy

CommitGate = Callable[[Stage], None]
"""Called right before an effect that cannot be taken back (``SCHEDULE``, ``REBOOT``); raises to stop the update."""

Recorder = Callable[[UpdateEvent], None]
"""Called with each event before the effect that it announces; a ``BenchError`` stops an update that may still be stopped."""


@dataclass(frozen=True)
class UpdateOptions:
    """How an update is done.

    Attributes:
        expected: What the order says about the image.
        policy: What this host allows.
        transfer_baud: Line speed for the transfer, or None to stay at the board's.
        confirm_timeout_s: How long a running new image may take to say that it confirmed itself, before the
            bridge resets the board once more to see whether it stays.
        earlier: How far an earlier run of this very update got before it was cut off. What it did is looked for on the
            board: an image that runs already is only verified, one that is scheduled only started.
        check_only: Stop after the checks; nothing is written.
        image_index: MCUboot image that an application image replaces, on boards with several.
        member: Name of the image to take out of a package, where it holds several.
        image_store: Where the bases of application deltas are; without one deltas are refused.
    """

    expected: Expectations = field(default_factory=Expectations)
    policy: Policy = field(default_factory=Policy)
    transfer_baud: int | None = 1_000_000
    confirm_timeout_s: float = 5.0
    earlier: EarlierRun | None = None
    check_only: bool = False
    image_index: int = 0
    member: str | None = None
    image_store: KnownImageStore | None = None

"""What a board runs before and after each test, and bringing it back there.

A board that cannot be brought back is dirty: tests after that one end as bench errors, because what they would find says
nothing.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from bridge.board import BoardIdentity
from bridge.errors import BenchError, BridgeError
from bridge.fota import Outcome
from bridge.fota.versions import modem_release, same_version
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.updates import Updater

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baseline:
    """What a board runs between tests.

    Attributes:
        application: Version of its application.
        modem: Version of its modem firmware.
    """

    application: str | None
    modem: str | None

    @classmethod
    def of(cls, identity: BoardIdentity) -> "Baseline":
        """What a board runs now."""
        return cls(identity.application_version, identity.modem_version)

    def differences(self, identity: BoardIdentity) -> list[str]:
        """What a board runs instead, in words; empty if it is at its baseline."""
        found = []
        if identity.modem_bootloader:
            found.append("it waits in bootloader mode for modem firmware")
        if self.application is not None and not same_version(self.application, identity.application_version):
            found.append(f"application {identity.application_version} instead of {self.application}")
        if self.modem is not None and modem_release(self.modem) != modem_release(identity.modem_version):
            found.append(f"modem {identity.modem_version} instead of {self.modem}")
        return found


def restore(device: DeviceUnderTest, baseline: Baseline, images: Images) -> list[str]:
    """Bring a board back to its baseline.

    Returns:
        What was done; nothing if it was there.

    Raises:
        BenchError: It cannot be brought back (``board-dirty``).
    """
    done: list[str] = []
    try:
        identity = look(device)
        if baseline.modem is not None and modem_release(baseline.modem) != modem_release(
            identity.modem_version
        ):
            image = _modem_image(images, identity, baseline)
            _write(device, image, f"modem {baseline.modem}", done)
        if baseline.application is not None and not same_version(
            baseline.application, identity.application_version
        ):
            _write(device, images.baseline, f"application {baseline.application}", done)
        left = baseline.differences(look(device))
    except BridgeError as error:
        raise _dirty(device, error.message) from error
    if left:
        raise _dirty(device, "; ".join(left))
    return done


def look(device: DeviceUnderTest) -> BoardIdentity:
    """Ask the board; one that does not answer gets its supply switched once, if the bench can.

    Raises:
        BridgeError: It does not answer then either.
    """
    try:
        return device.identify()
    except BridgeError as error:
        device.release()
        if device.bench_board.power is None:
            raise
        _log.warning("%s does not answer (%s); switching its supply", device.name, error.message)
        device.power.cycle()
    return device.identify()


def _modem_image(images: Images, identity: BoardIdentity, baseline: Baseline) -> Path:
    release = modem_release(baseline.modem)
    try:
        delta = images.modem_delta(identity.modem_version)
    except BenchError:
        return images.modem_full(identity.modem_version)
    return delta if f"_to_{release}" in delta.name else images.modem_full(identity.modem_version)


def _write(device: DeviceUnderTest, image: Path, what: str, done: list[str]) -> None:
    story = Updater(device, lambda _story: None)(
        image, allow_downgrade=True, allow_same_version=True, bench_errors=True
    )
    if story.outcome is not Outcome.SUCCEEDED:
        raise BenchError(f"{what} could not be written: {story.finished.message}", reason="board-dirty")
    done.append(f"{what} restored on {device.name}")


def _dirty(device: DeviceUnderTest, why: str) -> BenchError:
    return BenchError(
        f"the board {device.name} is dirty, its baseline could not be restored: {why}",
        reason="board-dirty",
        hint="Restore it by hand, build its MCUboot without downgrade prevention, or run with --nrf91-baseline accept.",
    )

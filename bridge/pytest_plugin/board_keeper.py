"""This process's own board of the bench, from test to test: is it there, is its link any good, and what does it run?

What the bench gets wrong is a bench error (exit family 9), whatever it would be in an update: a board that was there and is
gone, that does not answer, or that cannot be brought back to its baseline.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from bridge.board import BoardIdentity
from bridge.errors import BenchError, BoardNotFoundError, BridgeError
from bridge.fota.port_lock import place_of, port_for_us
from bridge.image import inspect_file
from bridge.pytest_plugin.artifacts import TestRecord
from bridge.pytest_plugin.baseline import Baseline, look, restore
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.link_check import FULL_BYTES, QUICK_BYTES, check_link
from bridge.pytest_plugin.pool import BoardPool
from bridge.pytest_plugin.reporting import as_bench_error
from bridge.pytest_plugin.settings import Settings


class BoardKeeper:
    """Looks after a board before and after each test.

    Args:
        settings: Link check and baseline, as they were asked for.
        pool: Has the board.
        images: Gives the firmware.
    """

    def __init__(self, settings: Settings, pool: BoardPool, images: Callable[[], Images]) -> None:
        self._settings = settings
        self._pool = pool
        self._images = images
        self._dirty: BenchError | None = None
        self._unsure = False
        self._checked = False
        self._baseline: Baseline | None = None

    @contextmanager
    def device(self, record: TestRecord) -> Iterator[DeviceUnderTest]:
        """The board, at its baseline before and after the block.

        Args:
            record: Takes remarks.

        Raises:
            BenchError: The board is dirty or lost, its link is damaged, or others have it.
            BoardNotFoundError: It was never there.
        """
        if self._dirty is not None:
            raise self._dirty
        device = DeviceUnderTest(self._pool.take())
        record.put_on(device)
        if self._baseline is None:
            record.notes += [f"the board {name} of the bench is not there" for name in self._pool.missing]
        self._refuse_a_board_at_work(device)
        try:
            self._prepare(device, record)
            yield device
        finally:
            device.release()
        self._leave(device, record)

    def _refuse_a_board_at_work(self, device: DeviceUnderTest) -> None:
        """An agent keeps its board's port closed between jobs, and would open it in the midst of a test."""
        spec = device.bench_board
        with port_for_us(place_of(spec.port, spec.serial_number or None, spec.transport), "pytest"):
            pass

    def _prepare(self, device: DeviceUnderTest, record: TestRecord) -> None:
        try:
            record.before = identity = look(device)
            self._check_link(device, record)
            if self._baseline is None:
                self._baseline = Baseline.of(identity)
                self._declare_baseline(device, record)
            elif self._unsure:
                record.notes += self._bring_back(device, identity)
        except BoardNotFoundError as error:
            if self._baseline is None:
                raise
            raise self._lost(device, error) from error
        except BridgeError as error:
            raise as_bench_error(error) from error
        self._unsure = False

    def _check_link(self, device: DeviceUnderTest, record: TestRecord) -> None:
        """Once for each board."""
        smoke = self._settings.text("smoke")
        if not self._checked and smoke != "off" and hasattr(device.opened, "at"):
            report = check_link(device.board, FULL_BYTES if smoke == "full" else QUICK_BYTES)
            record.notes.append(f"link check of {device.name}: {report}")
        self._checked = True

    def _declare_baseline(self, device: DeviceUnderTest, record: TestRecord) -> None:
        """With firmware at hand its baseline is what the board has to run, whatever an earlier run has left there."""
        assert self._baseline is not None
        if self._settings.text("images") is None or self._settings.text("baseline") == "accept":
            return
        images = self._images()
        if "application" not in images.kinds or self._baseline.application is None:
            return
        found, declared = self._baseline.application, inspect_file(images.baseline).version
        self._baseline = replace(self._baseline, application=declared)
        done = self._bring_back(device, device.identify())
        if done:
            record.notes += [f"{device.name} was found with {found}", *done]

    def _bring_back(self, device: DeviceUnderTest, identity: BoardIdentity) -> list[str]:
        assert self._baseline is not None
        if not self._baseline.differences(identity):
            return []
        try:
            return restore(device, self._baseline, self._images())
        except BenchError as error:
            self._dirty = error
            raise

    def _leave(self, device: DeviceUnderTest, record: TestRecord) -> None:
        try:
            record.after = now = look(device)
            if self._settings.text("baseline") == "accept" and not now.modem_bootloader:
                self._baseline = Baseline.of(now)
                return
            record.notes += self._bring_back(device, now)
        except BenchError:
            raise
        except BridgeError as error:
            raise self._lost(device, error) from error
        finally:
            device.release()

    def _lost(self, device: DeviceUnderTest, error: BridgeError) -> BenchError:
        """Later tests look again; if it is back by then, it is brought to its baseline first."""
        self._unsure = True
        return BenchError(
            f"the board {device.name} is lost, nobody knows what it runs: {error.message}",
            reason="board-lost",
            hint="Check cable and power; with power control in the bench file its supply is switched once.",
        )

"""One run: its settings, its board, its firmware, its cloud; each made when a test first asks for it."""

import logging
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from bridge import __version__
from bridge.pytest_plugin.keys import NEEDS, RECORD
from bridge.pytest_plugin.markers import Abilities, Needs
from bridge.pytest_plugin.settings import SETTINGS, Settings
from bridge.redaction import redact_text

if TYPE_CHECKING:
    from bridge.errors import BenchError
    from bridge.fota.bench_file import Bench
    from bridge.pytest_plugin.artifacts import TestRecord
    from bridge.pytest_plugin.board_keeper import BoardKeeper
    from bridge.pytest_plugin.cloud import CloudUnderTest
    from bridge.pytest_plugin.device import DeviceUnderTest
    from bridge.pytest_plugin.images import Images
    from bridge.pytest_plugin.pool import BoardPool

_log = logging.getLogger(__name__)

_SAMPLE: Final = "sample"
_VIRTUAL: Final = "virtual"


class BenchSession:
    """What one pytest process knows and holds.

    Args:
        config: pytest's configuration.

    Attributes:
        settings: Who decided what.
        deselected: Reason -> how many tests cannot run here.
        began_at: When the run began, epoch seconds.
        ran: Tests were run, and not only listed.
        board: The board that tests have now.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.settings = Settings(config)
        self.deselected: dict[str, int] = {}
        self.began_at = time.time()
        self.ran = False
        self._config = config
        self._stack = ExitStack()
        self._of_test = ExitStack()
        self._item: pytest.Item | None = None
        self._no_cloud: BenchError | None = None
        self.board: DeviceUnderTest | None = None

    @property
    def is_virtual(self) -> bool:
        """Boards are built here."""
        return self.settings.text("port") == _VIRTUAL

    @property
    def is_used(self) -> bool:
        """Somebody has set something; else this is a suite that has nothing to do with boards."""
        return any(self.settings[setting.name].source != "default" for setting in SETTINGS)

    @cached_property
    def directory(self) -> Path:
        """A directory for this run."""
        factory = self._config._tmp_path_factory  # type: ignore[attr-defined]
        return Path(factory.mktemp("nrf91"))

    @cached_property
    def bench(self) -> "Bench | None":
        """The bench; None for virtual boards.

        Raises:
            BridgeError: There is none, or its file makes no sense.
        """
        from bridge.pytest_plugin.pool import load_bench  # noqa: PLC0415

        return load_bench(self.settings)

    @cached_property
    def images(self) -> "Images":
        """The firmware.

        Raises:
            BenchError: There is none.
        """
        from bridge.errors import BenchError  # noqa: PLC0415
        from bridge.pytest_plugin.images import own_images, sample_images  # noqa: PLC0415

        text = self.settings.text("images")
        if text == _SAMPLE or (text is None and self.is_virtual):
            return sample_images(self.directory / "images")
        directory = self.settings.path("images")
        if directory is None:
            raise BenchError(
                "no firmware was given for this board", reason="no-image", hint="See --nrf91-images."
            )
        return own_images(directory, self.directory / "images")

    @cached_property
    def cloud(self) -> "CloudUnderTest":
        """The cloud, running until the end of the run.

        Raises:
            BenchError: It does not start, cannot be reached, or needs a package that is not installed (``missing-extra``);
                nobody asks it a second time.
        """
        from bridge.errors import BridgeError  # noqa: PLC0415
        from bridge.extras import extra_of, missing_extra  # noqa: PLC0415
        from bridge.pytest_plugin.reporting import as_bench_error  # noqa: PLC0415

        if self._no_cloud is None:
            try:
                return self._open_cloud()
            except BridgeError as error:
                self._no_cloud = as_bench_error(error)
            except ModuleNotFoundError as error:
                extra = extra_of(error)
                if extra is None:
                    raise
                self._no_cloud = as_bench_error(missing_extra("the cloud of a suite needs", error, extra))
        raise self._no_cloud

    def _open_cloud(self) -> "CloudUnderTest":
        from bridge.lab.local_cloud import LocalCloud  # noqa: PLC0415
        from bridge.pytest_plugin.cloud import LabCloud, broker_kind  # noqa: PLC0415

        kind = self.settings.text("cloud") or "local"
        if kind == "aws":
            from bridge.pytest_plugin.cloud_aws import AwsCloud  # noqa: PLC0415 - needs boto3

            return AwsCloud.from_bench(self.bench, self.settings.text("bucket"))
        local = self._stack.enter_context(LocalCloud(broker=broker_kind(kind)))
        return LabCloud(local, "mosquitto" if kind == "mosquitto" else "local")

    @cached_property
    def pool(self) -> "BoardPool":
        """The boards that this process may take.

        Raises:
            BridgeError: See :attr:`bench`.
        """
        from bridge.pytest_plugin.pool import BoardPool  # noqa: PLC0415

        assert self.bench is not None
        worker = getattr(self._config, "workerinput", {}).get("workerid", "gw0")
        pool = BoardPool(
            self.bench.boards,
            worker=int(worker.removeprefix("gw")),
            owner=f"pytest ({worker})",
            wait_s=float(self.settings.text("wait") or 0),
        )
        self._stack.callback(pool.give_back)
        return pool

    def abilities(self) -> Abilities:
        """What this bench can do, without opening a port.

        Raises:
            BridgeError: The bench file makes no sense.
        """
        lab_cloud = self.settings.text("cloud") != "aws"
        if self.is_virtual:
            from bridge.virtual.layout import board_model  # noqa: PLC0415

            board_model(self.settings.text("model") or "nrf9151dk")
            return Abilities(virtual=True, lab_cloud=lab_cloud)
        boards = self.bench.boards if self.bench is not None else ()
        routes = {str(board.transport) for board in boards} if boards else set()
        recovers = {"recovery"} if any(board.recovery for board in boards) else set()
        return Abilities(
            virtual=False,
            routes=frozenset() if "auto" in routes else frozenset(routes | recovers),
            kinds=self.images.kinds if self.settings.text("images") else frozenset(),
            power=bool(boards) and all(board.power is not None for board in boards),
            network=bool(boards) and all("network" in board.groups for board in boards),
            lab_cloud=lab_cloud,
        )

    # --- boards ---------------------------------------------------------------------------------------------

    @cached_property
    def _keeper(self) -> "BoardKeeper":
        from bridge.pytest_plugin.board_keeper import BoardKeeper  # noqa: PLC0415

        return BoardKeeper(self.settings, self.pool, lambda: self.images)

    @contextmanager
    def device(self, needs: Needs) -> Iterator["DeviceUnderTest"]:
        """The board for a test: built for it, or this process's own, at its baseline before and after.

        Args:
            needs: What the test needs.

        Raises:
            BenchError: The board is dirty or lost, its link is damaged, or others have it.
            BoardNotFoundError: It is not there.
        """
        try:
            with self._built(needs) if self.is_virtual else self._keeper.device(self.record()) as self.board:
                self.record().put_on(self.board)
                yield self.board
        finally:
            self.board = None

    @contextmanager
    def _built(self, needs: Needs) -> Iterator["DeviceUnderTest"]:
        from bridge.pytest_plugin.virtual_bench import virtual_device  # noqa: PLC0415

        place = Path(self._config._tmp_path_factory.mktemp("port"))  # type: ignore[attr-defined]
        with virtual_device(needs, self.images, place, self.settings.text("model")) as built:
            yield built

    # --- the running test -----------------------------------------------------------------------------------

    @contextmanager
    def running(self, item: pytest.Item) -> Iterator[None]:
        """A test is on; one that needs a board is written down from before its first fixture until after its last."""
        with ExitStack() as self._of_test:
            self._item = item
            needs = item.stash.get(NEEDS, None)
            if needs is not None and needs.board:
                self.record()
            yield
        self._item = None

    def record(self) -> "TestRecord":
        """What is written down about the running test; from now on, if nobody could foresee that it needs a board."""
        from bridge.pytest_plugin.artifacts import TestRecord  # noqa: PLC0415

        assert self._item is not None, "fixtures of boards are for tests"
        if RECORD not in self._item.stash:
            record = self._item.stash[RECORD] = TestRecord(self._item.nodeid)
            self._of_test.enter_context(record.log.recording())
        return self._item.stash[RECORD]

    # --- the run --------------------------------------------------------------------------------------------

    def header(self) -> str:
        """One line: what decides this run, and who decided."""
        shown = [
            f"{setting.name} {self.settings[setting.name]}"
            for setting in SETTINGS
            if self.settings[setting.name].text is not None
            and (self.settings[setting.name].source != "default" or setting.name == "cloud")
        ]
        if self.settings.text("port") is None and self.settings.text("bench") is None:
            shown.insert(0, "port auto (default)")
        return "nrf91: " + ", ".join(shown)

    def facts(self) -> dict[str, Any]:
        """About the run, for its artefacts."""
        return {
            "schema": 1,
            "nrf91_bridge": __version__,
            "python": sys.version.split()[0],
            "pytest": pytest.__version__,
            "host": platform.node(),
            "settings": {
                setting.name: {
                    "value": self.settings[setting.name].text,
                    "source": self.settings[setting.name].source,
                }
                for setting in SETTINGS
            },
            "deselected": self.deselected,
        }

    def shown_facts(self) -> dict[str, str]:
        """The same in a line, for people."""
        where = {name: redact_text(self.settings[name].text or "") for name in ("port", "model", "cloud")}
        return {
            **{name: text for name, text in where.items() if text},
            "nrf91-bridge": __version__,
            "pytest": pytest.__version__,
        }

    def close(self) -> None:
        """Give everything back."""
        self._stack.close()

"""The fixtures. All names begin with ``nrf91_``; a suite that wants shorter ones makes an alias in its ``conftest.py``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from bridge.pytest_plugin.keys import SESSION
from bridge.pytest_plugin.markers import needs_of

if TYPE_CHECKING:
    from bridge.board import Modem
    from bridge.pytest_plugin.cloud import CloudUnderTest, Thing
    from bridge.pytest_plugin.device import DeviceUnderTest
    from bridge.pytest_plugin.faults import BoardFaults
    from bridge.pytest_plugin.images import Images
    from bridge.pytest_plugin.jobs import JobBench
    from bridge.pytest_plugin.log import BoardLog
    from bridge.pytest_plugin.session import BenchSession
    from bridge.pytest_plugin.updates import Updater

Scope = Literal["function", "class", "module", "session"]


def _board_scope(fixture_name: str, config: pytest.Config) -> Scope:  # noqa: ARG001 - the names are pytest's
    scope = config.stash[SESSION].settings.text("scope")
    return {"class": "class", "module": "module", "session": "session"}.get(scope or "", "function")  # type: ignore[return-value]


def _session(request: pytest.FixtureRequest) -> "BenchSession":
    session: BenchSession = request.config.stash[SESSION]
    return session


@contextmanager
def _bench_errors() -> Iterator[None]:
    """What goes wrong before a test has begun is not the product's fault."""
    from bridge.errors import BridgeError  # noqa: PLC0415
    from bridge.pytest_plugin.reporting import as_bench_error  # noqa: PLC0415

    try:
        yield
    except BridgeError as error:
        raise as_bench_error(error) from error


@pytest.fixture
def nrf91_log(request: pytest.FixtureRequest) -> "BoardLog":
    """What goes over the board's cable in this test; it is searched for what a crashing firmware says after each test."""
    return _session(request).record().log


@pytest.fixture(scope=_board_scope)
def nrf91_board(request: pytest.FixtureRequest) -> Iterator["DeviceUnderTest"]:
    """The board under test: built for the test, or one of the bench that nobody else has, at its baseline."""
    from bridge.errors import BoardNotFoundError  # noqa: PLC0415

    session = _session(request)
    context = session.device(needs_of(request.node))
    try:
        device = context.__enter__()
    except BoardNotFoundError as error:
        if session.settings.flag("require") or error.reason not in {"no-board", "port-missing"}:
            raise
        pytest.skip(f"no board: {error.message} (--nrf91-require makes this an error)")
    try:
        yield device
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
def nrf91_modem(nrf91_board: "DeviceUnderTest") -> "Modem":
    """Typed AT commands of the board."""
    return nrf91_board.modem


@pytest.fixture(scope="session")
def nrf91_images(request: pytest.FixtureRequest) -> "Images":
    """The firmware, by the part that it plays: ``baseline``, ``newer``, ``corrupted`` and more."""
    return _session(request).images


@pytest.fixture(scope="session")
def nrf91_cloud(request: pytest.FixtureRequest) -> "CloudUnderTest":
    """Where jobs come from."""
    return _session(request).cloud


@pytest.fixture
def nrf91_thing(nrf91_cloud: "CloudUnderTest", nrf91_board: "DeviceUnderTest") -> "Thing":
    """The board's thing: with the local cloud a new one for each test, with AWS the one that the bench file names."""
    with _bench_errors():
        return nrf91_cloud.thing_of(nrf91_board.bench_board)


@pytest.fixture
def nrf91_deploy(
    request: pytest.FixtureRequest,
    nrf91_board: "DeviceUnderTest",
    nrf91_cloud: "CloudUnderTest",
    nrf91_thing: "Thing",
    tmp_path: Path,
) -> Iterator["JobBench"]:
    """Makes jobs of images, and has the bridge work them: ``nrf91_deploy(image).work()``."""
    from bridge.pytest_plugin.jobs import JobBench  # noqa: PLC0415

    record = _session(request).record()
    bench = JobBench(nrf91_board, nrf91_cloud, nrf91_thing, tmp_path / "nrf91-jobs", record.stories.append)
    with _bench_errors():
        stale = bench.purge()
    if stale:
        record.notes.append(f"stale jobs of {nrf91_thing.name} were deleted: {', '.join(stale)}")
    record.checks.append(bench.check_no_second_download)
    yield bench
    bench.close()


@pytest.fixture
def nrf91_update(request: pytest.FixtureRequest, nrf91_board: "DeviceUnderTest") -> "Updater":
    """Writes an image without any cloud, and proves it: ``nrf91_update(image).outcome``."""
    from bridge.pytest_plugin.updates import Updater  # noqa: PLC0415

    return Updater(nrf91_board, _session(request).record().stories.append)


@pytest.fixture
def nrf91_faults(nrf91_board: "DeviceUnderTest") -> Iterator["BoardFaults"]:
    """What can go wrong with a virtual board and its cable; tests that use it are deselected on other benches."""
    from bridge.pytest_plugin.faults import BoardFaults  # noqa: PLC0415
    from bridge.pytest_plugin.virtual_bench import VirtualDevice  # noqa: PLC0415

    assert isinstance(nrf91_board, VirtualDevice)
    faults = BoardFaults(nrf91_board)
    yield faults
    faults.clear()

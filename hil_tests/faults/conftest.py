"""Images for all campaigns of a session."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.lab.campaign.run import RunResult
from bridge.lab.campaign.scenario import Images


def story(result: RunResult) -> str:
    """All that there is to say about a run."""
    return "\n".join((f"seed {result.plan.seed}: {result.plan}", *result.timeline, *result.broken))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Every file that a campaign's jobs install."""
    return Images(tmp_path_factory.mktemp("campaign"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of a process that was killed are closed by the kernel; here they are garbage."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Mishaps are logged by the thousand."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)

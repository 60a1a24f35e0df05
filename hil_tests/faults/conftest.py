"""Images for all campaigns of a session."""

import logging
from collections.abc import Iterator

import pytest

from bridge.lab.campaign.scenario import Images


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Every file that a campaign's jobs install."""
    return Images(tmp_path_factory.mktemp("campaign"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Mishaps are logged by the thousand."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)

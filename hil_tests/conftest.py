"""What every test relies on."""

import logging
from collections.abc import Iterator

import pytest

from hil_tests.secret_watch import SecretWatch


def pytest_configure(config: pytest.Config) -> None:
    """Watch the whole suite for secrets that come out."""
    watch = SecretWatch()
    config.pluginmanager.register(watch, "secret-watch")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """The command line configures logging for its process; in a test that must not outlive the test's captured stderr."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)

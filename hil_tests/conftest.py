"""What every test relies on."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hil_tests.secret_watch import SecretWatch


def pytest_configure(config: pytest.Config) -> None:
    """Watch the whole suite for secrets that come out."""
    watch = SecretWatch()
    config.pluginmanager.register(watch, "secret-watch")
    # The same examples each time, so that a failure is about the change at hand; "--hypothesis-profile=default" looks for new
    # ones. How long an example takes says more about a machine that is shared than about the code.
    settings.register_profile("suite", deadline=None, derandomize=True, database=None)
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals, locks and notes of a test are its own, and not this user's; processes that it starts inherit that."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """The command line configures logging for its process; in a test that must not outlive the test's captured stderr."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    for name in logging.root.manager.loggerDict:  # import-linter silences every logger that is there already
        logging.getLogger(name).disabled = False

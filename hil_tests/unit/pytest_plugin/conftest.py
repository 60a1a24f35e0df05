"""pytest in pytest: a suite of its own, in a process of its own settings."""

import importlib

import pytest

from bridge.pytest_plugin.settings import SETTINGS

# A suite inside this process forgets the modules that it was the first to load, and they would be there twice.
for _name in ("bridge.lab.local_cloud", "bridge.lab.sample_images", "imgtool.image", "bridge.pytest_plugin.jobs",
              "bridge.pytest_plugin.link_check", "bridge.pytest_plugin.virtual_bench", "bridge.pytest_plugin.faults",
              "bridge.pytest_plugin.baseline", "bridge.pytest_plugin.pool", "bridge.fota.choose_route"):  # fmt: skip
    importlib.import_module(_name)


@pytest.fixture(autouse=True)
def _nobody_has_set_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project without a test."""
    pytester.makeini("[pytest]\n")
    return pytester

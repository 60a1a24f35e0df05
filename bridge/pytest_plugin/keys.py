"""Where the plugin keeps its things in pytest's configuration and in tests."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bridge.pytest_plugin.artifacts import TestRecord
    from bridge.pytest_plugin.markers import Needs
    from bridge.pytest_plugin.session import BenchSession

SESSION: "pytest.StashKey[BenchSession]" = pytest.StashKey()
RECORD: "pytest.StashKey[TestRecord]" = pytest.StashKey()
NEEDS: "pytest.StashKey[Needs]" = pytest.StashKey()

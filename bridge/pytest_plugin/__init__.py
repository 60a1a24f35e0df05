"""pytest plugin for suites that run on nRF91 boards, virtual or real: fixtures, options, and the discipline of a bench.

pytest loads it by itself once ``nrf91-bridge`` is installed. See ``docs/hil-tests.md``.
"""

from bridge.pytest_plugin.fixtures import (
    nrf91_board,
    nrf91_cloud,
    nrf91_deploy,
    nrf91_faults,
    nrf91_images,
    nrf91_log,
    nrf91_modem,
    nrf91_thing,
    nrf91_update,
)
from bridge.pytest_plugin.hooks import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_report_header,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_runtest_teardown,
    pytest_sessionfinish,
    pytest_sessionstart,
    pytest_terminal_summary,
    pytest_testnodedown,
    pytest_unconfigure,
)

__all__ = [
    "nrf91_board",
    "nrf91_cloud",
    "nrf91_deploy",
    "nrf91_faults",
    "nrf91_images",
    "nrf91_log",
    "nrf91_modem",
    "nrf91_thing",
    "nrf91_update",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_report_header",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_sessionstart",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "pytest_unconfigure",
]

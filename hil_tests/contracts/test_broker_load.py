"""The broker holds a thousand TLS connections and loses nothing; the figures are for reading, mosquitto's beside them.

``python -m hil_tests.contracts.broker_load`` is the whole comparison.
"""

from pathlib import Path

import pytest

from hil_tests.contracts.broker_load import measure, table
from hil_tests.lab_rig import Certificates

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]

CONNECTIONS = 1000
MESSAGES = 1000


def test_given_a_thousand_connections_then_all_live_and_every_message_arrives_in_order(
    tmp_path: Path,
) -> None:
    certificates = Certificates(tmp_path)
    ours = measure("builtin", certificates, connections=CONNECTIONS, messages=MESSAGES)
    theirs = measure("mosquitto", certificates, connections=CONNECTIONS // 10, messages=MESSAGES)
    print(table([ours, theirs]))  # noqa: T201 - the figures
    # asyncio's own read buffer would be 256 KiB for each.
    assert ours.kib_per_connection < 200

"""MQTT.js, in both versions of MQTT, gets along with our broker."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil_tests.contracts.sdk_jobs import THING
from hil_tests.lab_rig import HOST, JobsRig, builtin_jobs

pytestmark = pytest.mark.contract

DRIVER = Path(__file__).parent / "mqttjs" / "driver.js"
MODULES = Path(sys.prefix) / "share" / "mqttjs" / "node_modules"
"""Where ``scripts/test`` installs what the lock file says."""
COUNT = 200


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsRig]:
    with builtin_jobs(tmp_path_factory.mktemp("mqttjs")) as rig:
        yield rig


def run_driver(rig: JobsRig, version: int) -> dict[str, Any]:
    node = shutil.which("node") or shutil.which("nodejs")
    assert node is not None, "Node.js is missing; scripts/test installs it"
    assert MODULES.is_dir(), "MQTT.js is missing; scripts/test installs it"
    cert_file, key_file = rig.certificates.thing(THING)
    options = {
        "url": f"mqtts://{HOST}:{rig.port}",
        "ca": str(rig.certificates.ca_file),
        "cert": str(cert_file),
        "key": str(key_file),
        "version": version,
        "count": COUNT,
        "denied": "$aws/things/somebody-else/jobs/get",
    }
    done = subprocess.run(
        [node, str(DRIVER), json.dumps(options)],
        env={**os.environ, "NODE_PATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_given_mqtt_3_1_1_then_messages_come_in_order_and_a_denied_publish_ends_it(rig: JobsRig) -> None:
    seen = run_driver(rig, 4)
    assert seen["received"] == list(range(COUNT))
    assert seen["connack"]["returnCode"] == 0
    assert "denied" not in seen, "there is no PUBACK that could say it"


def test_given_mqtt_5_then_properties_aliases_and_reasons_arrive(rig: JobsRig) -> None:
    seen = run_driver(rig, 5)
    assert seen["received"] == list(range(COUNT))
    connack = seen["connack"]["properties"]
    assert (connack["topicAliasMaximum"], connack["receiveMaximum"]) == (8, 100)
    assert seen["denied"] == 0x87
    properties = seen["properties"]
    assert properties["contentType"] == "text/plain"
    assert properties["responseTopic"] == "lab/answer"
    assert bytes(properties["correlationData"]["data"]) == b"42"
    assert properties["userProperties"]["unit"] == ["a", "b"]
    assert properties["messageExpiryInterval"] in range(50, 61)
    assert "topicAlias" not in properties
    assert "disconnect" not in seen

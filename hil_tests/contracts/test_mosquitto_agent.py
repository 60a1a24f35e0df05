"""The agent works a job whose every message goes through mosquitto."""

from pathlib import Path

import pytest

from bridge.board import Board
from bridge.cloud import Endpoint
from bridge.fetch import THIS_HOST
from bridge.fota import Outcome, UpdateOptions, over_at
from bridge.fota.service import DownloadSettings, running_agent
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import running_version
from bridge.virtual.pty_server import PtyServer

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("client_id", ["thing-m", "bench-host-7"])
def test_a_job_goes_from_the_broker_to_the_board_and_back(tmp_path: Path, client_id: str) -> None:
    samples = SampleImages(tmp_path / "images")
    factory_image = samples.application("1.0.0").read_bytes()
    board = VirtualBoard(factory_image=factory_image, keys=[samples.public_key_pem])
    with LocalCloud(tmp_path / "cloud", broker="mosquitto") as cloud, board, PtyServer(board) as pty:
        thing = cloud.add_thing("thing-m")
        url = cloud.publish_image(samples.application("2.0.0"))
        cloud.jobs.create_job("job-1", "thing-m", {"operation": "app_fw_update", "location": {"url": url}})
        endpoint = Endpoint(
            *cloud.mqtt_endpoint, thing.ca_file, thing.cert_file, thing.key_file, client_id=client_id
        )
        downloads = DownloadSettings(tmp_path / "cache", ca_file=cloud.ca_file, rules=THIS_HOST)
        with running_agent(
            endpoint, "thing-m", over_at(lambda: Board.open(pty.path)), downloads, options=UpdateOptions()
        ) as agent:
            result = agent.run(once=True)
        assert result is not None
        assert result.finished.outcome is Outcome.SUCCEEDED
        execution = cloud.jobs.describe_execution("job-1", "thing-m")
        assert (execution.status, execution.status_details["running_version"]) == ("SUCCEEDED", "2.0.0")
        assert running_version(board.flash, board.layout) == "2.0.0"

"""The agent works a job whose every message goes through mosquitto."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.cloud import Endpoint
from bridge.fetch import THIS_HOST
from bridge.fota import Outcome, UpdateOptions, over_at
from bridge.fota.gateway import Gateway
from bridge.fota.service import DownloadSettings, ThingOnBoard, running_agent, running_agents
from bridge.lab.jobs_mqtt_front import SERVICE_NAME
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.pki import LabPki
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


def test_two_things_share_a_connection_and_each_job_ends_on_its_own_board(tmp_path: Path) -> None:
    """The identity is the Jobs service's own, which mosquitto's ACL lets reach all things; at AWS a policy does that."""
    samples = SampleImages(tmp_path / "images")
    names = ("thing-m", "thing-n")
    downloads_dir = tmp_path / "cache"
    with LocalCloud(tmp_path / "cloud", broker="mosquitto") as cloud, ExitStack() as stack:
        cert_file, key_file = LabPki(tmp_path / "cloud").issue_client(SERVICE_NAME)
        endpoint = Endpoint(
            *cloud.mqtt_endpoint, cloud.ca_file, cert_file, key_file, client_id="bench-host-7"
        )
        url = cloud.publish_image(samples.application("2.0.0"))
        boards = {}
        for name in names:
            cloud.add_thing(name)
            cloud.jobs.create_job(
                f"job-{name}", name, {"operation": "app_fw_update", "location": {"url": url}}
            )
            boards[name] = stack.enter_context(
                VirtualBoard(
                    factory_image=samples.application("1.0.0").read_bytes(), keys=[samples.public_key_pem]
                )
            )
        routes = [over_at(_opener(stack.enter_context(PtyServer(boards[name])).path)) for name in names]
        things = [ThingOnBoard(name, route) for name, route in zip(names, routes, strict=True)]
        downloads = DownloadSettings(downloads_dir, ca_file=cloud.ca_file, rules=THIS_HOST)
        with running_agents(endpoint, things, downloads) as agents:
            results = Gateway(dict(zip(names, agents, strict=True))).run(once=True)
        for name, board in boards.items():
            result = results[name]
            assert result is not None
            assert result.finished.outcome is Outcome.SUCCEEDED
            assert cloud.jobs.describe_execution(f"job-{name}", name).status == "SUCCEEDED"
            assert running_version(board.flash, board.layout) == "2.0.0"


def _opener(port: str) -> Callable[[], Board]:
    return lambda: Board.open(port)

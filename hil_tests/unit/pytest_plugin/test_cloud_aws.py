"""``--nrf91-cloud aws``: jobs by boto3, on a local cloud that answers like AWS."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.cloud.deploy import CloudAccess, ControlPlane
from bridge.errors import UsageError
from bridge.fota.bench_file import BenchBoard, BoardCredentials
from bridge.lab.local_cloud import LocalCloud
from bridge.pytest_plugin.cloud_aws import AwsCloud
from bridge.pytest_plugin.images import sample_images
from bridge.pytest_plugin.jobs import JobBench
from bridge.pytest_plugin.markers import Needs
from bridge.pytest_plugin.updates import Story
from bridge.pytest_plugin.virtual_bench import virtual_device

THING = "bench-1"


@pytest.fixture
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AwsCloud, BenchBoard]]:
    """An account with one thing, and the board that works its jobs."""
    state = tmp_path_factory.mktemp("cloud")  # the cloud may keep the URLs that it was given
    with LocalCloud(state) as local:
        files = local.add_thing(THING)
        access = CloudAccess.of_local_cloud(state)
        assert access.bucket is not None
        assert access.mqtt_endpoint is not None
        with ControlPlane(access) as plane:
            cloud = AwsCloud(plane, access.bucket, access.mqtt_endpoint, local.ca_file)
            credentials = BoardCredentials(files.ca_file, files.cert_file, files.key_file)
            yield cloud, BenchBoard("desk", "1", thing=THING, credentials=credentials)


def test_a_job_that_was_made_by_boto3_is_worked_and_stale_ones_are_deleted(
    account: tuple[AwsCloud, BenchBoard], tmp_path: Path
) -> None:
    cloud, board = account
    images = sample_images(tmp_path / "images")
    stories: list[Story] = []
    with virtual_device(Needs(board=True), images, tmp_path, None) as device:
        bench = JobBench(device, cloud, cloud.thing_of(board), tmp_path / "jobs", stories.append)
        cloud.create_job("stale", THING, {"operation": "app_fw_update"})
        assert bench.purge() == ["stale"]
        unwanted = bench(images.newer)
        unwanted.cancel()
        done = bench(images.newer).work()
        assert (done.status, done.cloud.details["running_version"]) == ("SUCCEEDED", "2.0.0")
        assert device.version() == "2.0.0"
        assert unwanted.cloud.status == "CANCELED"
        assert cloud.open_jobs(THING) == []
        bench.check_no_second_download()  # S3 does not count, and so nothing is claimed
        bench.close()
    assert [story.status for story in stories] == ["SUCCEEDED"]


def test_a_board_without_a_thing_or_an_account_without_a_bucket_is_told(
    account: tuple[AwsCloud, BenchBoard],
) -> None:
    cloud, board = account
    with pytest.raises(UsageError, match="names no thing"):
        cloud.thing_of(replace(board, thing=None))
    with pytest.raises(UsageError, match="bucket"):
        AwsCloud.from_bench(None, None)

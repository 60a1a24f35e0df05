"""``--nrf91-cloud aws``: jobs by boto3, on a local cloud that answers like AWS; accounts that cannot be used."""

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
from hil_tests.unit.pytest_plugin.test_real_boards import served

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


AWS = ("--nrf91-cloud=aws", "--nrf91-images=sample", "--nrf91-smoke=off", "-p", "no:cacheprovider")
JOB = """
def test_job(nrf91_deploy, nrf91_images):
    assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"

def test_none(): pass
"""


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A host without any setting of AWS's."""
    for name in (
        *("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    return monkeypatch


def test_a_suite_works_jobs_by_the_settings_that_other_aws_tools_use(
    suite: pytest.Pytester,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    nobody: pytest.MonkeyPatch,
) -> None:
    suite.makepyfile(JOB)
    state = tmp_path_factory.mktemp("cloud")  # the cloud may keep the URLs that it was given
    with LocalCloud(state) as local, served(tmp_path) as (port,):
        files = local.add_thing(THING)
        access = CloudAccess.of_local_cloud(state)
        assert access.access_key is not None
        nobody.setenv("AWS_ENDPOINT_URL", str(access.endpoint_url))
        nobody.setenv("AWS_CA_BUNDLE", str(access.ca_file))
        nobody.setenv("AWS_DEFAULT_REGION", str(access.region))
        nobody.setenv("AWS_ACCESS_KEY_ID", access.access_key[0])
        nobody.setenv("AWS_SECRET_ACCESS_KEY", access.access_key[1])
        suite.path.joinpath("bench.toml").write_text(
            f"""
            [cloud]
            ca = "{local.ca_file}"
            download_ca = "{local.ca_file}"
            [boards.1]
            port = "{port}"
            thing = "{THING}"
            cert = "{files.cert_file}"
            key = "{files.key_file}"
            """
        )
        arguments = ("--nrf91-bench=bench.toml", *AWS)
        suite.runpytest(*arguments, f"--nrf91-bucket={access.bucket}").assert_outcomes(passed=2)
        result = suite.runpytest(*arguments, "--nrf91-bucket=nobodys-bucket")
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(["*BENCH ERROR (not-found)*upload * to the bucket nobodys-bucket*"])


@pytest.mark.parametrize(
    ("environment", "arguments", "told"),
    [
        ({}, [], "BENCH ERROR (no-bucket)*needs a bucket*"),
        ({}, ["--nrf91-bucket=b"], "BENCH ERROR (no-credentials)*there are no AWS credentials*"),
        (
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
            ["--nrf91-bucket=b"],
            "BENCH ERROR (no-region)*no AWS region is set*",
        ),
        ({"AWS_PROFILE": "nobody"}, ["--nrf91-bucket=b"], "BENCH ERROR (bad-aws-options)*profile (nobody)*"),
        (
            {
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
                "AWS_DEFAULT_REGION": "mars north",
            },
            ["--nrf91-bucket=b"],
            "BENCH ERROR (bad-aws-options)*mars north*",
        ),
        (
            {
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            },
            ["--nrf91-bucket=b"],
            "BENCH ERROR (api-unreachable)*cannot ask for the broker's address*",
        ),
    ],
)
def test_an_account_that_cannot_be_used_is_the_fault_of_the_bench(
    suite: pytest.Pytester,
    nobody: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: list[str],
    told: str,
) -> None:
    nobody.setattr("bridge.cloud.deploy._ATTEMPTS", 1)  # nobody is waited for
    for name, value in environment.items():
        nobody.setenv(name, value)
    suite.makepyfile(JOB)
    result = suite.runpytest("--nrf91-port=virtual", *AWS, *arguments)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*{told}"])
    assert "--profile" not in result.stdout.str()

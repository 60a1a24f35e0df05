"""The operator's code against moto, a stand-in for AWS that nobody here wrote: a second opinion on what it does have."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from moto import mock_aws

from bridge.cloud.deploy import CloudAccess, ControlPlane
from bridge.cloud.deploy_jobs import JobsControl
from bridge.cloud.deploy_order import JobOrder, PresignSettings, document_for
from bridge.cloud.deploy_things import ThingFiles, ThingMaker
from bridge.cloud.deploy_upload import ImageBucket
from bridge.errors import CloudError
from bridge.image import inspect_file
from bridge.lab.sample_images import SampleImages

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    access = CloudAccess(region="eu-west-1", access_key=("testing", "testing"))
    with mock_aws(), ControlPlane(access) as opened:
        yield opened


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SampleImages(tmp_path_factory.mktemp("images")).application("2.0.0", size_bytes=20_000)


def test_an_uploaded_image_comes_back_in_ranges(plane: ControlPlane, image: Path) -> None:
    bucket, inspected, content = ImageBucket(plane, "firmware"), inspect_file(image), image.read_bytes()
    assert [bucket.ensure(), bucket.ensure()] == [True, False]
    place = bucket.place(inspected, image.name)
    assert [bucket.upload(place, inspected, image) for _ in range(2)] == [True, False]
    s3: Any = plane.s3
    link = s3.generate_presigned_url("get_object", {"Bucket": place.bucket, "Key": place.key})
    part = requests.get(link, headers={"Range": "bytes=100-199"}, timeout=10)
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(content)}"
    whole = requests.get(link, headers={"If-Match": part.headers["ETag"]}, timeout=10)
    assert whole.content == content
    assert requests.get(link, headers={"If-Match": '"other"'}, timeout=10).status_code == 412
    where = s3.get_bucket_location(Bucket="firmware")["LocationConstraint"]
    assert where == "eu-west-1"


def test_a_job_arrives_as_it_was_ordered(plane: ControlPlane, image: Path) -> None:
    iot: Any = plane.iot
    arn = iot.create_thing(thingName="thing-a")["thingArn"]
    inspected = inspect_file(image)
    bucket = ImageBucket(plane, "firmware")
    document = document_for(inspected, bucket.place(inspected, image.name).placeholder, board="nrf9151dk")
    jobs = JobsControl(plane)
    assert jobs.target_arns(["thing-a"], []) == [arn]
    order = JobOrder(
        "job-1",
        document,
        presign=PresignSettings("arn:aws:iam::123456789012:role/firmware", 300),
        rollout_per_minute=10,
        abort_on_failed_percent=20.0,
        timeout_minutes=30,
        retries=2,
    )
    job_arn = jobs.create(order, [arn])
    found = jobs.describe("job-1")
    assert (found.arn, found.targets, found.continuous) == (job_arn, (arn,), False)
    assert found.members["presignedUrlConfig"] == {
        "roleArn": "arn:aws:iam::123456789012:role/firmware",
        "expiresInSec": 300,
    }
    assert found.members["jobExecutionsRolloutConfig"] == {"maximumPerMinute": 10}
    assert found.members["abortConfig"]["criteriaList"][0]["thresholdPercentage"] == 20.0
    assert jobs.document("job-1") == document
    assert [each.thing_name for each in jobs.executions("job-1")] == ["thing-a"]
    with pytest.raises(CloudError) as caught:
        jobs.target_arns(["nobody"], [])
    assert caught.value.reason == "not-found"


def test_a_thing_is_made_and_everything_attached(plane: ControlPlane, tmp_path: Path) -> None:
    """moto's certificates have keys of their own, whatever the request holds, so it cannot judge a second run."""
    made = ThingMaker(plane).make(ThingFiles(tmp_path, "thing-b"))
    assert made.made == ("key", "thing", "policy", "certificate")
    iot: Any = plane.iot
    principals = iot.list_thing_principals(thingName="thing-b")["principals"]
    assert [arn.rpartition("/")[2] for arn in principals] == [made.certificate_id]
    policy = json.loads(iot.get_policy(policyName=made.policy_name)["policyDocument"])
    resources = json.dumps([each["Resource"] for each in policy["Statement"]])
    assert "arn:aws:iot:eu-west-1:123456789012:client/thing-b" in resources
    assert not {"REGION", "ACCOUNT", "THING"} & set(resources.replace("/", ":").replace('"', ":").split(":"))

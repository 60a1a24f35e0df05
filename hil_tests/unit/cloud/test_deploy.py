"""The operator's commands against a running local cloud: things made and checked, jobs created, watched, ended."""

import json
import shlex
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.session
import pytest
from botocore.exceptions import ClientError

from bridge.cli.app import run
from bridge.cloud.deploy import CloudAccess, ControlPlane
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """Reason of the last line."""
        return str(self.events[-1]["reason"])


@dataclass
class Desk:
    """An operator's desk: a cloud, images, the command line."""

    cloud: LocalCloud
    image: Path
    modem_delta: Path
    directory: Path
    command: Callable[..., Answer]

    def __call__(self, line: str, *more: str) -> Answer:
        """Run a command with ``--json`` against the cloud."""
        return self.command(*shlex.split(line), *more, "--cloud-state", str(self.cloud.state_dir), "--json")

    def plain(self, line: str) -> Answer:
        """The same for people."""
        return self.command(*shlex.split(line), "--cloud-state", str(self.cloud.state_dir))

    def finish(self, thing: str, status: str, **details: str) -> None:
        """Work a thing's next job as a device would."""
        execution = self.cloud.jobs.device.start_next(thing)
        assert execution is not None
        self.cloud.jobs.device.update(thing, execution.job_id, status=status, details=details)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalCloud, Path, Path]]:
    directory = tmp_path_factory.mktemp("deploy")
    samples = SampleImages(directory / "images")
    image = samples.application("2.0.0", size_bytes=20_000)
    delta = samples.modem_delta("1.3.6", "1.3.7", size_bytes=20_000)
    with LocalCloud(directory / "state") as cloud:
        cloud.add_thing("thing-a")
        cloud.add_thing("thing-b")
        yield cloud, image, delta


@pytest.fixture(scope="module", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Each command has a session of its own; that it reads AWS's models again is not what is tested."""
    loader = botocore.loaders.Loader(include_default_search_paths=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.loaders, "create_loader", lambda _path=None: loader)
        patch.setattr(botocore.session, "create_loader", lambda _path=None: loader, raising=False)
        yield


@pytest.fixture
def desk(
    scene: tuple[LocalCloud, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Desk]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *arguments])
        capsys.readouterr()
        code = run()
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    cloud, image, delta = scene
    yield Desk(cloud, image, delta, tmp_path, command)
    for job in cloud.jobs.list_jobs():
        cloud.jobs.delete_job(job.job_id, force=True)


def test_a_job_is_created_with_everything_that_the_image_tells(desk: Desk) -> None:
    answer = desk(
        f"job create --image {desk.image} --thing thing-a --thing thing-b --presign --board nrf9151dk --job-id j1"
        " --description tuesday --timeout-min 30 --retries 2 --rollout-per-minute 50"
        " --abort-on-failed-percent 20 --abort-min-things 3"
    )
    assert answer.code == 0, answer
    created = answer.events[0]
    assert (created["event"], created["job"]) == ("job-created", "j1")
    document = created["document"]
    assert (document["operation"], document["fwversion"], document["board"]) == (
        "app_fw_update",
        "2.0.0",
        "nrf9151dk",
    )
    assert document["size"] == desk.image.stat().st_size
    shown = desk("job show j1").events[0]
    assert shown["document"] == document
    assert {each["thing"]: each["status"] for each in shown["executions"]} == dict.fromkeys(
        ("thing-a", "thing-b"), "QUEUED"
    )
    assert desk.cloud.jobs.describe_job("j1").description == "tuesday"
    assert created["request"]["presignedUrlConfig"] == {"expiresInSec": 3600}
    assert created["request"]["jobExecutionsRolloutConfig"] == {"maximumPerMinute": 50}
    assert [each["failureType"] for each in created["request"]["abortConfig"]["criteriaList"]] == [
        "FAILED",
        "TIMED_OUT",
    ]


def test_the_device_gets_a_url_that_opens_the_image(desk: Desk) -> None:
    import requests  # noqa: PLC0415

    created = desk(f"job create --image {desk.modem_delta} --thing thing-a --presign --presign-expires 60")
    document: Any = desk.cloud.jobs.device.document(created.events[0]["job"])
    answer = requests.get(document["location"]["url"], verify=str(desk.cloud.ca_file), timeout=10)
    assert answer.content == desk.modem_delta.read_bytes()
    assert (document["operation"], document["fwversion"]) == ("modem_fw_update", "1.3.7")
    assert document["location"]["url"].partition("?")[0].endswith(desk.modem_delta.name)


def test_the_same_image_is_sent_once(desk: Desk) -> None:
    first = desk(
        f"job create --image {desk.image} --thing thing-a --presign --job-id one --bucket other-bucket"
    )
    again = desk(
        f"job create --image {desk.image} --thing thing-a --presign --job-id two --bucket other-bucket"
    )
    assert [each.split(" ")[0] for each in first.events[0]["remarks"]] == ["made", "uploaded"]
    assert [each.split(":")[0] for each in again.events[0]["remarks"]] == ["already there"]


def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    line = f"job create --image {desk.image} --thing thing-a --presign --dry-run --bucket never-made"
    answer = desk(line)
    assert (answer.code, answer.events[0]["event"]) == (0, "job-planned")
    assert "never-made" not in desk.cloud.buckets.names
    assert desk("job list").events == []
    assert "would create job" in desk.plain(line).out


def test_an_image_that_nobody_could_read_is_no_job(desk: Desk) -> None:
    answer = desk(f"job create --image {desk.image} --thing thing-a")
    assert (answer.code, answer.error) == (8, "image-not-public")
    assert "--presign" in answer.events[-1]["hint"]
    assert desk("job list").events == []


def test_an_image_at_a_url_is_looked_at_first(desk: Desk) -> None:
    url = desk.cloud.publish_image(desk.image)
    created = desk(f"job create --url {url} --thing thing-a").events[0]
    assert created["document"]["location"] == {"url": url}
    assert (created["document"]["fwversion"], created["document"]["size"]) == (
        "2.0.0",
        desk.image.stat().st_size,
    )
    broken = desk.cloud.images.publish(b"no image at all" * 100, "broken.bin")
    assert desk(f"job create --url {broken} --thing thing-a").code == 5
    assert desk(f"job create --url {url}x --thing thing-a").code in {5, 8}


@pytest.mark.parametrize(
    ("more", "code", "reason"),
    [
        ("--image broken.bin --thing thing-a", 5, "not-an-image"),
        ("--image {image} --thing thing-a --board nrf52840dk", 5, "wrong-board"),
        ("--image {image} --thing thing-a --slot-size 16384", 5, "too-large"),
        ("--image {delta} --thing thing-a --board nrf9160dk", 5, "wrong-board"),
        ("--image {image} --thing nobody", 8, "not-found"),
        ("--image {image} --group nobody", 8, "not-found"),
        ("--image {image}", 2, "usage"),
        ("--thing thing-a", 2, "usage"),
        ("--image {image} --thing thing-a --job-id no/id --presign", 2, "bad-job-id"),
        ("--image {image} --thing thing-a --presign --abort-min-things 3", 2, "usage"),
        ("--url http://127.0.0.1/x --thing thing-a --presign", 2, "usage"),
        ("--image {image} --thing thing-a --presign --bucket No", 8, "refused-by-cloud"),
    ],
)
def test_what_cannot_be_a_job_is_refused(desk: Desk, more: str, code: int, reason: str) -> None:
    (desk.directory / "broken.bin").write_bytes(b"\0" * 4096)
    answer = desk("job create " + more.format(image=desk.image, delta=desk.modem_delta))
    assert (answer.code, answer.error) == (code, reason), answer
    assert desk("job list").events == []


def test_a_job_id_is_taken_once(desk: Desk) -> None:
    line = f"job create --image {desk.image} --thing thing-a --presign --job-id j1"
    assert desk(line).code == 0
    assert (desk(line).code, desk(line).error) == (2, "job-exists")


def test_watch_follows_all_things_and_its_exit_code_tells(desk: Desk) -> None:
    desk(f"job create --image {desk.image} --thing thing-a --thing thing-b --presign --job-id j1")
    first_seen = threading.Event()

    def work() -> None:
        first_seen.wait(30)
        desk.finish("thing-a", "SUCCEEDED", stage="done", running_version="2.0.0", from_version="1.0.0")
        desk.finish("thing-b", "SUCCEEDED", stage="done", running_version="2.0.0")

    worker = threading.Thread(target=work)
    worker.start()
    threading.Timer(0.3, first_seen.set).start()
    answer = desk("job watch j1 --interval 0.2 --timeout 60")
    worker.join()
    assert answer.code == 0, answer
    ended = {
        each["thing"]: (each["status"], each["details"].get("running_version"))
        for each in answer.events
        if each["event"] == "execution"
    }
    assert ended == dict.fromkeys(("thing-a", "thing-b"), ("SUCCEEDED", "2.0.0"))
    assert (answer.events[-1]["event"], answer.events[-1]["counters"]) == ("job-ended", {"SUCCEEDED": 2})
    plain = desk.plain("job watch j1")
    assert (plain.code, "thing-a: SUCCEEDED" in plain.out) == (0, True)
    assert "thing-b" in desk.plain("job show j1").out


def test_watch_tells_what_went_wrong(desk: Desk) -> None:
    desk(f"job create --image {desk.image} --thing thing-a --thing thing-b --presign --job-id j1")
    desk.finish("thing-a", "SUCCEEDED")
    desk.finish("thing-b", "FAILED", reason="reverted", message="the board went back to 1.0.0")
    answer = desk("job watch j1")
    assert (answer.code, answer.error) == (8, "job-failed")
    assert "thing-b: the board went back to 1.0.0" in answer.events[-1]["message"]
    assert "1 SUCCEEDED, 1 FAILED" in answer.events[-1]["message"]


def test_watch_ends_with_a_cancelled_job_with_time_and_with_an_unknown_one(desk: Desk) -> None:
    desk(f"job create --image {desk.image} --thing thing-a --presign --job-id j1")
    waited = desk("job watch j1 --interval 0.2 --timeout 0.3")
    assert (waited.code, waited.error) == (8, "watch-timeout")
    assert desk("job cancel j1 --comment wrong-version").code == 0
    answer = desk("job watch j1")
    assert (answer.code, answer.error) == (8, "job-canceled")
    assert "wrong-version" in answer.events[-1]["message"]
    unknown = desk("job watch none")
    assert (unknown.code, unknown.error) == (8, "not-found")
    assert "region" in unknown.events[-1]["hint"]


def test_cancel_and_delete_need_force_for_what_is_in_progress(desk: Desk) -> None:
    desk(f"job create --image {desk.image} --thing thing-a --presign --job-id j1")
    desk.cloud.jobs.device.start_next("thing-a")
    refused = desk("job cancel j1 --thing thing-a")
    assert (refused.code, refused.error) == (8, "invalid-state-transition")
    assert desk("job delete j1").error == "invalid-state-transition"
    assert desk("job cancel j1 --thing thing-a --force").code == 0
    assert desk.cloud.jobs.describe_execution("j1", "thing-a").status == "CANCELED"
    assert desk("job delete j1 --force").code == 0
    assert desk("job show j1").error == "not-found"


def test_lists_have_all_pages(desk: Desk) -> None:
    for number in range(3):
        desk.cloud.jobs.create_job(f"j{number}", ["thing-a"], {"operation": "app_fw_update"})
    desk.cloud.jobs.cancel_job("j1")
    assert {each["job"] for each in desk("job list").events} == {"j0", "j1", "j2"}
    assert [each["job"] for each in desk("job list --status CANCELED").events] == ["j1"]
    assert len(desk("job list --limit 2").events) == 2
    of_thing = desk("job list --thing thing-a").events
    assert {(each["job"], each["status"]) for each in of_thing} == {
        ("j0", "QUEUED"),
        ("j1", "CANCELED"),
        ("j2", "QUEUED"),
    }
    assert "j2" in desk.plain("job list").out
    assert desk("job document j0").events[0]["document"] == {"operation": "app_fw_update"}


def test_a_continuous_job_on_a_group_goes_on_for_who_joins(desk: Desk) -> None:
    with ControlPlane(CloudAccess.of_local_cloud(desk.cloud.state_dir)) as plane:
        iot: Any = plane.iot
        iot.create_thing_group(thingGroupName="bench")
        iot.add_thing_to_thing_group(thingGroupName="bench", thingName="thing-a")
        created = desk(f"job create --image {desk.image} --group bench --presign --continuous --job-id j1")
        assert created.events[0]["targets"] == ["arn:aws:iot:us-east-1:000000000000:thinggroup/bench"]
        desk.finish("thing-a", "SUCCEEDED")
        assert desk("job watch j1 --until-idle").code == 0
        iot.add_thing_to_thing_group(thingGroupName="bench", thingName="thing-b")
        desk.finish("thing-b", "FAILED", message="no power")
        ended = desk("job watch j1 --until-idle")
        assert (ended.code, ended.error) == (8, "job-failed")
        assert desk("job list").events[0]["continuous"] is True


def test_a_thing_is_made_once_and_its_key_stays(desk: Desk) -> None:
    made = desk("thing create dev-1 --out things").events[0]
    assert made["made"] == ["key", "thing", "policy", "certificate"]
    key = Path(made["key"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes(), Path(made["cert"]).read_bytes()
    again = desk("thing create dev-1 --out things").events[0]
    assert (again["made"], again["certificate_id"]) == ([], made["certificate_id"])
    assert (key.read_bytes(), Path(made["cert"]).read_bytes()) == before
    findings = desk("thing check dev-1 --out things")
    assert findings.code == 0, findings
    assert [each["check"] for each in findings.events[:-1]] == [
        *("files", "registry", "address", "tls", "connect", "subscribe", "publish", "jobs")
    ]


def test_a_key_without_certificate_is_kept_and_a_certificate_without_key_is_refused(desk: Desk) -> None:
    made = desk("thing create dev-2 --out things").events[0]
    key = Path(made["key"]).read_bytes()
    Path(made["cert"]).unlink()
    again = desk("thing create dev-2 --out things").events[0]
    assert again["made"] == ["certificate"]
    assert Path(made["key"]).read_bytes() == key
    Path(made["key"]).unlink()
    refused = desk("thing create dev-2 --out things")
    assert (refused.code, refused.error) == (2, "bad-certificate")


def test_a_certificate_of_another_cloud_is_named_so(desk: Desk, tmp_path: Path) -> None:
    made = desk("thing create dev-3 --out things").events[0]
    desk.cloud.registry.set_status(made["certificate_id"], "INACTIVE")
    arn = desk.cloud.registry.certificate(made["certificate_id"]).arn
    desk.cloud.registry.detach_thing("dev-3", arn)
    desk.cloud.registry.detach_policy(made["policy"], arn)
    desk.cloud.registry.delete_certificate(made["certificate_id"])
    refused = desk("thing create dev-3 --out things")
    assert (refused.code, refused.error) == (8, "certificate-unknown")
    assert desk("thing check dev-3 --out things").error == "certificate-unknown"


POLICY = """{{"Version": "2012-10-17", "Statement": [{statements}]}}"""
CONNECT = '{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}'
SUBSCRIBE = '{"Effect": "Allow", "Action": "iot:Subscribe", "Resource": "*"}'
PUBLISH = '{"Effect": "Allow", "Action": "iot:Publish", "Resource": "*"}'


@pytest.mark.parametrize(
    ("number", "statements", "reason", "hint"),
    [
        (1, [PUBLISH], "connection-refused-by-broker", "iot:Connect on client/dev-p1"),
        (
            2,
            [CONNECT, PUBLISH],
            "subscription-refused",
            "iot:Subscribe on topicfilter/$aws/things/dev-p2/jobs/*",
        ),
        (3, [CONNECT, SUBSCRIBE], "publish-refused", "iot:Publish on topic/$aws/things/dev-p3/jobs/*"),
    ],
)
def test_check_names_what_the_policy_lacks(
    desk: Desk, number: int, statements: list[str], reason: str, hint: str
) -> None:
    Path("policy.json").write_text(POLICY.format(statements=", ".join(statements)))
    assert desk(f"thing create dev-p{number} --policy-file policy.json").code == 0
    answer = desk(f"thing check dev-p{number}")
    assert (answer.code, answer.error) == (8, reason), answer
    assert hint in answer.events[-1]["hint"]


def test_check_names_what_else_is_missing(desk: Desk) -> None:
    made = desk("thing create dev-4").events[0]
    registry, arn = desk.cloud.registry, desk.cloud.registry.certificate(made["certificate_id"]).arn
    registry.set_status(made["certificate_id"], "INACTIVE")
    answer = desk("thing check dev-4")
    assert (answer.code, answer.error) == (8, "certificate-inactive")
    assert [each["reason"] for each in answer.events if not each.get("good", True)] == [
        "certificate-inactive",
        "connection-refused-by-broker",
    ]
    registry.set_status(made["certificate_id"], "ACTIVE")
    registry.detach_policy(made["policy"], arn)
    assert desk("thing check dev-4").error == "policy-missing"
    registry.attach_policy(made["policy"], arn)
    registry.detach_thing("dev-4", arn)
    assert desk("thing check dev-4").error == "thing-not-attached"
    desk("thing create dev-4")
    assert desk("thing check dev-4").code == 0
    assert desk("thing check dev-4 --client-id other").error == "connection-refused-by-broker"
    desk.cloud.jobs.remove_thing("dev-4")
    assert desk("thing check dev-4").code == 8


def test_a_gateway_may_work_for_other_things_and_for_no_more(desk: Desk) -> None:
    desk("thing create bench-1")
    desk("thing create other-1")
    made = desk("thing create gateway --works-for bench-*").events[0]
    files = ["--cert", made["cert"], "--key", made["key"], "--client-id", "gateway"]
    host, port = desk.cloud.mqtt_endpoint
    broker = ["--endpoint", f"{host}:{port}", "--ca", str(desk.cloud.ca_file)]
    assert desk.command("thing", "check", "bench-1", "--json", *broker, *files).code == 0
    assert (
        desk.command("thing", "check", "other-1", "--json", *broker, *files).error == "subscription-refused"
    )
    many = [word for number in range(20) for word in ("--works-for", f"thing-{number}")]
    refused = desk("thing create gateway-2", *many)
    assert (refused.code, refused.error) == (2, "policy-too-large")


def test_check_waits_while_the_jobs_service_is_busy(desk: Desk) -> None:
    desk("thing create dev-6")
    desk.cloud.jobs.faults.throttle(2)
    assert desk("thing check dev-6").code == 0
    desk.cloud.jobs.faults.throttle()
    try:
        busy = desk("thing check dev-6 --timeout 1")
    finally:
        desk.cloud.jobs.faults.clear()
    assert (busy.code, busy.error) == (8, "jobs-refused")
    assert "RequestThrottled" in busy.events[-1]["message"]


def test_a_file_name_becomes_a_key_without_awkward_letters(desk: Desk) -> None:
    awkward = desk.directory / "my app (2)+ä.bin"
    awkward.write_bytes(desk.image.read_bytes())
    created = desk("job create --thing thing-a --presign", "--image", str(awkward))
    assert created.events[0]["document"]["location"]["url"].endswith("/my_app__2___.bin}")


def test_check_without_the_operators_rights(desk: Desk) -> None:
    desk("thing create dev-5")
    host, port = desk.cloud.mqtt_endpoint
    ca = desk.cloud.ca_file

    def check(*more: str) -> Answer:
        return desk.command("thing", "check", "dev-5", "--json", *more)

    good = check("--endpoint", f"{host}:{port}", "--ca", str(ca))
    assert (good.code, [each["check"] for each in good.events[:2]]) == (0, ["files", "address"])
    assert check("--endpoint", f"{host}:{port}").error == "tls"
    assert check("--endpoint", "no-such-host.invalid", "--ca", str(ca)).error == "endpoint-unknown"
    assert check("--endpoint", f"{host}:1", "--ca", str(ca)).error == "broker-unreachable"
    assert (check().code, check().error) == (2, "no-credentials")
    missing = check("--endpoint", f"{host}:{port}", "--ca", str(ca), "--cert", "none.pem")
    assert (missing.code, missing.error) == (2, "bad-certificate")


def test_the_registry_refuses_what_aws_would_refuse_and_what_it_would_otherwise_ignore(desk: Desk) -> None:
    assert desk("thing create in-use --out things").code == 0
    with ControlPlane(CloudAccess.of_local_cloud(desk.cloud.state_dir)) as plane:
        iot: Any = plane.iot
        with pytest.raises(iot.exceptions.InvalidRequestException, match="still attached"):
            iot.delete_thing(thingName="in-use")
        (principal,) = iot.list_thing_principals(thingName="in-use")["principals"]
        iot.detach_thing_principal(thingName="in-use", principal=principal)
        iot.delete_thing(thingName="in-use")
        for ignored in (
            {"thingTypeName": "tracker"},
            {"attributePayload": {"attributes": {"site": "lab"}}},
            {"billingGroupName": "lab"},
        ):
            with pytest.raises(iot.exceptions.InvalidRequestException, match=next(iter(ignored))):
                iot.create_thing(thingName="typed", **ignored)
        with pytest.raises(iot.exceptions.ResourceNotFoundException):
            iot.describe_thing(thingName="typed")
        with pytest.raises(ClientError, match="not emulated by the local cloud: GET /thing-types") as caught:
            iot.list_thing_types()
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"

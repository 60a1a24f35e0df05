"""Eclipse mosquitto: its broker carries our Jobs service, and its clients get along with our broker."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import CloudError
from bridge.lab.jobs_mqtt_front import SERVICE_NAME, MqttClientFront, ServiceLogin
from bridge.lab.jobs_service import JobsService
from bridge.lab.jobs_store import JobsStore
from bridge.lab.mosquitto import Mosquitto, ServerFiles
from hil_tests.contracts.sdk_jobs import THING, work_a_job
from hil_tests.lab_rig import HOST, Certificates, JobsRig, builtin_jobs, mosquitto_jobs

pytestmark = pytest.mark.contract


@pytest.fixture
def on_mosquitto(tmp_path: Path) -> Iterator[JobsRig]:
    with mosquitto_jobs(tmp_path) as rig:
        yield rig


@pytest.fixture
def builtin(tmp_path: Path) -> Iterator[JobsRig]:
    with builtin_jobs(tmp_path) as rig:
        rig.store.add_thing(THING)
        yield rig


def login_options(rig: JobsRig, thing: str = THING) -> list[str]:
    cert_file, key_file = rig.certificates.thing(thing)
    return [
        *("-h", HOST, "-p", str(rig.port), "--cafile", str(rig.certificates.ca_file)),
        *("--cert", str(cert_file), "--key", str(key_file)),
    ]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_given_the_service_on_mosquitto_then_the_sdk_works_a_job(on_mosquitto: JobsRig) -> None:
    work_a_job(on_mosquitto)


def test_given_mosquitto_then_a_thing_cannot_publish_for_another(on_mosquitto: JobsRig) -> None:
    on_mosquitto.store.add_thing(THING)
    on_mosquitto.store.create_job("job-1", THING, {})
    run(
        "mosquitto_pub",
        *login_options(on_mosquitto, "thing-b"),
        *("-q", "1", "-t", f"$aws/things/{THING}/jobs/job-1/update", "-m", '{"status": "FAILED"}'),
    )
    assert on_mosquitto.store.describe_execution("job-1", THING).status == "QUEUED"


def test_given_no_broker_then_the_service_says_so(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    with socket.create_server((HOST, 0)) as unused:
        port = unused.getsockname()[1]
    login = ServiceLogin(HOST, port, certificates.ca_file, *certificates.thing(SERVICE_NAME))
    with pytest.raises(CloudError) as caught:
        JobsService(JobsStore(), MqttClientFront(login)).start()
    assert caught.value.reason == "broker"


def test_given_a_missing_file_then_mosquittos_own_words_are_in_the_error(
    on_mosquitto: JobsRig, tmp_path: Path
) -> None:
    files = ServerFiles(tmp_path / "missing.pem", *on_mosquitto.certificates.server)
    with pytest.raises(CloudError, match="missing") as caught:
        Mosquitto(tmp_path / "second", files, service_name=SERVICE_NAME).start()
    assert caught.value.reason == "mosquitto-failed"


def test_given_no_mosquitto_then_a_hint_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    files = ServerFiles(tmp_path, tmp_path, tmp_path)
    with pytest.raises(CloudError) as caught:
        Mosquitto(tmp_path, files, service_name=SERVICE_NAME).start()
    assert caught.value.reason == "mosquitto-missing"
    assert caught.value.hint


@pytest.mark.parametrize("qos", ["0", "1"])
def test_given_mosquitto_sub_on_our_broker_then_it_hears_mosquitto_pub(builtin: JobsRig, qos: str) -> None:
    watch = [*login_options(builtin), "-i", "watcher", "-c", "-q", "1", "-t", "lab/#"]
    assert run("mosquitto_sub", *watch, "-E").returncode == 0, "subscribed, session kept"
    for number in range(3):
        sent = run(
            "mosquitto_pub", *login_options(builtin), "-q", "1", "-t", f"lab/{number}", "-m", f"m{number}"
        )
        assert sent.returncode == 0, sent.stderr
    heard = run("mosquitto_sub", *watch, "-C", "3", "-W", "10", "-v")
    assert heard.stdout.splitlines() == ["lab/0 m0", "lab/1 m1", "lab/2 m2"]


def test_given_mosquitto_pub_without_rights_then_our_broker_disconnects_it(builtin: JobsRig) -> None:
    sent = run(
        "mosquitto_pub", *login_options(builtin), "-q", "1", "-t", "$aws/things/other/jobs/get", "-m", "{}"
    )
    assert sent.returncode != 0


def test_given_mosquitto_sub_without_rights_then_its_subscription_is_denied(builtin: JobsRig) -> None:
    heard = run(
        "mosquitto_sub", *login_options(builtin), "-q", "1", "-t", "$aws/things/other/jobs/#", "-W", "5"
    )
    assert "denied" in heard.stderr + heard.stdout


def test_given_no_client_certificate_then_our_broker_lets_nobody_in(builtin: JobsRig) -> None:
    without = login_options(builtin)[:6]
    assert run("mosquitto_pub", *without, "-t", "lab/x", "-m", "x").returncode != 0


def test_given_mosquittos_clients_in_mqtt_5_then_properties_arrive(builtin: JobsRig) -> None:
    five = ("-V", "mqttv5")
    watch = [*login_options(builtin), *five, "-i", "watcher", "-c", "-x", "60", "-q", "1", "-t", "lab/five"]
    assert run("mosquitto_sub", *watch, "-E").returncode == 0, "subscribed, session kept"
    told = ("content-type", "text/plain"), ("response-topic", "lab/answer"), ("user-property", "k", "v")
    notes = [word for one in told for word in ("-D", "publish", *one)]
    sent = run(
        "mosquitto_pub", *login_options(builtin), *five, "-q", "1", "-t", "lab/five", "-m", "x", *notes
    )
    assert sent.returncode == 0, sent.stderr
    heard = run("mosquitto_sub", *watch, "-C", "1", "-W", "10", "-F", "%t %p %C %R %P")
    assert heard.stdout.strip() == "lab/five x text/plain lab/answer k:v"


def test_given_mosquittos_clients_in_mqtt_5_when_denied_then_they_say_why(builtin: JobsRig) -> None:
    other = [*login_options(builtin), "-V", "mqttv5", "-q", "1", "-t", "$aws/things/other/jobs/get"]
    sent = run("mosquitto_pub", *other, "-m", "{}")
    assert "Not authorized" in sent.stderr + sent.stdout
    heard = run("mosquitto_sub", *other, "-W", "5")
    assert "denied" in heard.stderr + heard.stdout


def test_given_the_version_before_3_1_1_then_our_broker_says_that_it_does_not_speak_it(
    builtin: JobsRig,
) -> None:
    sent = run("mosquitto_pub", *login_options(builtin), "-V", "mqttv31", "-t", "lab/x", "-m", "x")
    assert "unacceptable protocol version" in (sent.stderr + sent.stdout).lower()

"""The local cloud as one object: everything reachable, credentials that survive, a clean start and end."""

import json
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import CloudError, UsageError
from bridge.lab.broker_faults import Fault
from bridge.lab.broker_limits import BrokerLimits
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.mqtt_packets import ConnAck, Connect, Publish, SubAck, Subscribe
from hil_tests.unit.lab.test_broker import SocketClient


def get(cloud: LocalCloud, url: str) -> bytes:
    context = ssl.create_default_context(cafile=str(cloud.ca_file))
    with urllib.request.urlopen(url, context=context, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def thing_context(cloud: LocalCloud, name: str) -> ssl.SSLContext:
    credentials = cloud.add_thing(name)
    context = ssl.create_default_context(cafile=str(credentials.ca_file))
    context.load_cert_chain(credentials.cert_file, credentials.key_file)
    return context


def test_given_a_local_cloud_then_images_api_and_broker_answer_and_all_threads_end(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    image = tmp_path / "image.bin"
    image.write_bytes(b"firmware")
    with LocalCloud() as cloud:
        context = thing_context(cloud, "thing-a")
        url = cloud.publish_image(image)
        assert get(cloud, url) == b"firmware"
        assert b"thing-a" in get(cloud, f"{cloud.https_url}/things")
        host, port = cloud.mqtt_endpoint
        assert f"{host}:{port}".encode() in get(cloud, f"{cloud.https_url}/endpoint")
        cloud.jobs.create_job("j", "thing-a", {"location": {"url": url}})
        cloud.broker_faults.arm(Fault.DROP_PUBACK, "$aws/#")
        with SocketClient(cloud.broker, context) as client:
            client.send(
                Connect("thing-a"), Publish("$aws/things/thing-a/jobs/start-next", b"", qos=1, packet_id=1)
            )
            assert client.next() == ConnAck(0)
            reply = client.next()
        assert isinstance(reply, Publish)
        assert url.encode() in reply.payload
        assert cloud.jobs.describe_execution("j", "thing-a").status == "IN_PROGRESS"
    assert set(threading.enumerate()) == before
    assert not cloud.ca_file.exists()


def test_given_a_presigned_placeholder_then_each_reading_opens_the_private_image() -> None:
    with LocalCloud() as cloud:
        cloud.add_thing("thing-a")
        plain = cloud.images.publish(b"secret firmware", "image.bin", presigned_only=True)
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            get(cloud, plain)
        refused.value.close()
        placeholder = "${aws:iot:s3-presigned-url:https://s3.eu-west-1.amazonaws.com/bucket/image.bin}"
        cloud.jobs.create_job("j", "thing-a", {"url": placeholder}, presigned_expires_in_s=60)
        document: Any = cloud.jobs.device.document("j")
        assert get(cloud, document["url"]) == b"secret firmware"


def test_given_a_document_in_a_bucket_then_a_job_can_name_it() -> None:
    with LocalCloud() as cloud:
        cloud.add_thing("thing-a")
        bucket = cloud.buckets.names[0]
        cloud.buckets.put(bucket, "jobs/doc.json", b'{"operation": "x"}', {})
        cloud.buckets.put(bucket, "binary", b"\xff\xfe", {})

        def create(key: str) -> int:
            source = f"https://s3.eu-west-1.amazonaws.com/{bucket}/{key}"
            body = json.dumps({"targets": [cloud.thing_arn("thing-a")], "documentSource": source})
            context = ssl.create_default_context(cafile=str(cloud.ca_file))
            request = urllib.request.Request(f"{cloud.https_url}/jobs/j", body.encode(), method="PUT")
            try:
                with urllib.request.urlopen(request, context=context, timeout=10) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                error.close()
                return error.code

        assert (create("none"), create("binary"), create("jobs/doc.json")) == (400, 400, 200)
        assert cloud.jobs.device.document("j") == {"operation": "x"}


def test_given_a_state_directory_then_certificates_and_jobs_survive(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with LocalCloud(state) as cloud:
        first = cloud.add_thing("thing-a")
        ca, certificate = first.ca_file.read_bytes(), first.cert_file.read_bytes()
        cloud.jobs.create_job("j", "thing-a", {})
    with LocalCloud(state) as cloud:
        second = cloud.add_thing("thing-a")
        assert (second.ca_file.read_bytes(), second.cert_file.read_bytes()) == (ca, certificate)
        assert [one.job_id for one in cloud.jobs.device.pending("thing-a")] == ["j"]


def test_given_a_taken_port_then_the_start_fails_and_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with LocalCloud() as running:
        taken = int(running.https_url.rsplit(":", 1)[1])
        with pytest.raises(CloudError) as caught, LocalCloud(https_port=taken):
            pass
        assert caught.value.reason == "port-in-use"
    assert set(threading.enumerate()) == before


def test_given_mosquitto_then_the_same_cloud_without_broker_faults(tmp_path: Path) -> None:
    with LocalCloud(broker="mosquitto") as cloud:
        cloud.add_thing("thing-a")
        assert cloud.mqtt_endpoint[1] > 0
        with pytest.raises(UsageError, match="built-in"):
            _ = cloud.broker_faults


def test_given_an_unknown_broker_then_a_usage_error() -> None:
    with pytest.raises(UsageError, match="emqx"):
        LocalCloud(broker="emqx")  # type: ignore[arg-type]  # what a command line could pass


def test_given_its_own_words_then_it_says_what_it_does_not_emulate() -> None:
    with LocalCloud() as cloud:
        assert any("job templates" in line for line in cloud.not_emulated)
        assert cloud.thing_arn("thing-a").endswith(":thing/thing-a")


def test_given_quotas_then_the_broker_keeps_them_and_mosquitto_cannot() -> None:
    limits = BrokerLimits(subscriptions=1)
    with (
        LocalCloud(limits=limits) as cloud,
        SocketClient(cloud.broker, thing_context(cloud, "thing-a")) as client,
    ):
        client.connect("thing-a")
        wanted = [(f"$aws/things/thing-a/jobs/{name}", 1) for name in ("notify", "notify-next")]
        client.send(Subscribe(1, tuple(wanted)))
        assert client.next() == SubAck(1, (1, 0x80))
    with pytest.raises(UsageError, match="built-in"):
        LocalCloud(broker="mosquitto", limits=limits)

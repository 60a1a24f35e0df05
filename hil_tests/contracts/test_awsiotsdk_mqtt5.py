"""The AWS IoT Device SDK's MQTT 5 client on our broker: its Jobs client, properties, reasons, sessions."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import pytest
from awscrt import mqtt5, mqtt_request_response
from awsiot import V2ServiceException, iotjobs, mqtt5_client_builder

from bridge.lab.mqtt_reasons import ReasonCode
from hil_tests.contracts.sdk_jobs import PATIENCE_S, THING
from hil_tests.lab_rig import HOST, JobsRig, builtin_jobs

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsRig]:
    with builtin_jobs(tmp_path_factory.mktemp("awsiotsdk")) as rig:
        rig.store.add_thing(THING)
        yield rig


class Mqtt5Device:
    """A started client and what it heard."""

    def __init__(self, rig: JobsRig, client_id: str, **options: Any) -> None:
        self.received: SimpleQueue[Any] = SimpleQueue()
        self.disconnected: SimpleQueue[Any] = SimpleQueue()
        connections: SimpleQueue[Any] = SimpleQueue()
        self._stopped: Future[None] = Future()
        cert_file, key_file = rig.certificates.thing(THING)
        self.client = mqtt5_client_builder.mtls_from_path(
            endpoint=HOST,
            port=rig.port,
            cert_filepath=str(cert_file),
            pri_key_filepath=str(key_file),
            ca_filepath=str(rig.certificates.ca_file),
            client_id=client_id,
            on_publish_received=lambda data: self.received.put(data.publish_packet),
            on_lifecycle_connection_success=connections.put,
            on_lifecycle_connection_failure=connections.put,
            on_lifecycle_disconnection=lambda data: self.disconnected.put(data.disconnect_packet),
            on_lifecycle_stopped=lambda _: self._stopped.set_result(None),
            **options,
        )
        self.client.start()
        self.connection = connections.get(timeout=PATIENCE_S)
        assert self.connection.connack_packet is not None, self.connection.exception

    def subscribe(self, *filters: str) -> list[int]:
        """Subscribe at QoS 1 and give the reason codes."""
        wanted = [mqtt5.Subscription(one, mqtt5.QoS.AT_LEAST_ONCE) for one in filters]
        packet = mqtt5.SubscribePacket(wanted)
        return [int(code) for code in self.client.subscribe(packet).result(PATIENCE_S).reason_codes]

    def publish(self, topic: str, **members: Any) -> int:
        """Publish at QoS 1 and give the PUBACK's reason."""
        packet = mqtt5.PublishPacket(topic=topic, qos=mqtt5.QoS.AT_LEAST_ONCE, **members)
        return int(self.client.publish(packet).result(PATIENCE_S).puback.reason_code)

    def stop(self) -> None:
        """Disconnect."""
        self.client.stop()
        self._stopped.result(PATIENCE_S)


@contextmanager
def device(rig: JobsRig, client_id: str = "mqtt5-device", **options: Any) -> Iterator[Mqtt5Device]:
    one = Mqtt5Device(rig, client_id, **options)
    try:
        yield one
    finally:
        one.stop()


def test_given_the_v2_jobs_client_over_mqtt_5_then_it_works_a_job_and_reads_refusals(rig: JobsRig) -> None:
    rig.store.create_job("job-1", THING, {"operation": "x"})
    options = mqtt_request_response.ClientOptions(
        max_request_response_subscriptions=8, max_streaming_subscriptions=2, operation_timeout_in_seconds=5
    )
    with device(rig) as one:
        jobs = iotjobs.IotJobsClientV2(one.client, options)
        start = iotjobs.StartNextPendingJobExecutionRequest(thing_name=THING)
        started = jobs.start_next_pending_job_execution(start).result(PATIENCE_S)
        assert started.execution.job_document == {"operation": "x"}
        update = iotjobs.UpdateJobExecutionRequest(thing_name=THING, job_id="job-1", status="SUCCEEDED")
        update.expected_version = 9
        with pytest.raises(V2ServiceException) as refused:
            jobs.update_job_execution(update).result(PATIENCE_S)
        assert refused.value.modeled_error.code == "VersionMismatch"
        update.expected_version = started.execution.version_number
        jobs.update_job_execution(update).result(PATIENCE_S)
        del jobs
    assert rig.store.describe_execution("job-1", THING).status == "SUCCEEDED"


def test_given_a_connection_then_it_negotiates_what_aws_negotiates(rig: JobsRig) -> None:
    with device(rig) as one:
        connack, settings = one.connection.connack_packet, one.connection.negotiated_settings
    # As the SDK printed them for AWS IoT Core.
    assert connack.session_expiry_interval_sec is None
    assert connack.assigned_client_identifier is None
    assert (connack.receive_maximum, connack.maximum_qos) == (100, mqtt5.QoS.AT_LEAST_ONCE)
    assert (connack.maximum_packet_size, connack.topic_alias_maximum) == (149_504, 8)
    assert (connack.retain_available, connack.wildcard_subscriptions_available) == (True, True)
    assert (connack.subscription_identifiers_available, connack.shared_subscription_available) == (
        False,
        True,
    )
    assert connack.server_keep_alive_sec == 1200
    assert settings.topic_alias_maximum_to_client == 0
    assert not settings.rejoined_session


def test_given_properties_and_outbound_aliases_then_messages_arrive_whole(rig: JobsRig) -> None:
    aliases = mqtt5.TopicAliasingOptions(
        outbound_behavior=mqtt5.OutboundTopicAliasBehaviorType.LRU, outbound_cache_max_size=8
    )
    options = mqtt5.ClientOptions(host_name=HOST, port=rig.port, topic_aliasing_options=aliases)
    with device(rig, client_options=options) as one:
        assert one.subscribe("lab/five/#") == [1]
        for number in range(20):
            reason = one.publish(
                f"lab/five/{number % 10}",
                payload=f"{number}",
                content_type="text/plain",
                response_topic="lab/answer",
                correlation_data=b"\x01\x02",
                payload_format_indicator=mqtt5.PayloadFormatIndicator.AWS_MQTT5_PFI_UTF8,
                user_properties=[mqtt5.UserProperty("a", "1"), mqtt5.UserProperty("a", "2")],
            )
            assert reason == 0
        heard = [one.received.get(timeout=PATIENCE_S) for _ in range(20)]
    assert [(item.topic, item.payload) for item in heard] == [
        (f"lab/five/{number % 10}", f"{number}".encode()) for number in range(20)
    ]
    last = heard[-1]
    assert (last.content_type, last.response_topic, last.correlation_data_bytes) == (
        "text/plain",
        "lab/answer",
        b"\x01\x02",
    )
    assert [(item.name, item.value) for item in last.user_properties] == [("a", "1"), ("a", "2")]


def test_given_what_the_policy_denies_then_the_sdk_reads_the_reasons(rig: JobsRig) -> None:
    with device(rig) as one:
        assert one.subscribe("lab/x", "$aws/things/other/jobs/#") == [1, ReasonCode.NOT_AUTHORIZED]
        assert one.publish("$aws/things/other/jobs/get", payload="{}") == ReasonCode.NOT_AUTHORIZED
        one.client.publish(mqtt5.PublishPacket(topic="elsewhere", qos=mqtt5.QoS.AT_MOST_ONCE))
        assert one.disconnected.get(timeout=PATIENCE_S).reason_code == ReasonCode.NOT_AUTHORIZED


def test_given_a_second_client_with_the_same_id_then_the_first_is_told(rig: JobsRig) -> None:
    with device(rig, "same") as first:
        second = Mqtt5Device(rig, "same")
        assert first.disconnected.get(timeout=PATIENCE_S).reason_code == ReasonCode.SESSION_TAKEN_OVER
        first.client.stop()
        second.stop()


def test_given_a_session_with_expiry_then_it_is_rejoined(rig: JobsRig) -> None:
    options = {
        "session_behavior": mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
        "connect_options": mqtt5.ConnectPacket(client_id="keeper", session_expiry_interval_sec=60),
    }
    with device(rig, "keeper", **options) as first:
        first.subscribe("lab/kept")
    with device(rig, "other") as other:
        assert other.publish("lab/kept", payload="while away") == 0
    with device(rig, "keeper", **options) as again:
        assert again.connection.negotiated_settings.rejoined_session
        assert again.received.get(timeout=PATIENCE_S).payload == b"while away"

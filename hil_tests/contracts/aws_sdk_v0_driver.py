"""AWSIoTPythonSDK (the generation before awsiotsdk) works a job; prints what it saw as one JSON object.

A program of its own, because the SDK warns about its old TLS calls. Arguments: host, port, CA, key, certificate, thing.
"""

import json
import sys
import threading
from queue import SimpleQueue
from typing import Any

from AWSIoTPythonSDK.core.jobs.thingJobManager import (
    jobExecutionStatus,
    jobExecutionTopicReplyType,
    jobExecutionTopicType,
)
from AWSIoTPythonSDK.MQTTLib import AWSIoTMQTTThingJobsClient

PATIENCE_S = 20.0


def main() -> None:
    host, port, ca_file, key_file, cert_file, thing = sys.argv[1:]
    # The client id is not the thing's name: the certificate decides.
    client = AWSIoTMQTTThingJobsClient("old-sdk", thing, QoS=1)
    client.configureEndpoint(host, int(port))
    client.configureCredentials(ca_file, key_file, cert_file)
    client.configureConnectDisconnectTimeout(PATIENCE_S)
    client.configureMQTTOperationTimeout(PATIENCE_S)
    assert client.connect(60)
    answers: SimpleQueue[tuple[str, dict[str, Any]]] = SimpleQueue()

    def heard(_client: object, _data: object, message: Any) -> None:
        answers.put((message.topic.rsplit("/", 1)[1], json.loads(message.payload)))

    accepted, rejected = (
        jobExecutionTopicReplyType.JOB_ACCEPTED_REPLY_TYPE,
        jobExecutionTopicReplyType.JOB_REJECTED_REPLY_TYPE,
    )
    for reply in (accepted, rejected):
        client.createJobSubscription(heard, jobExecutionTopicType.JOB_START_NEXT_TOPIC, reply)
        client.createJobSubscription(heard, jobExecutionTopicType.JOB_UPDATE_TOPIC, reply, "+")
    notified = threading.Event()
    client.createJobSubscription(lambda *_: notified.set(), jobExecutionTopicType.JOB_NOTIFY_NEXT_TOPIC)

    client.sendJobsStartNext(statusDetails={"stage": "fetch"})
    verdict, started = answers.get(timeout=PATIENCE_S)
    execution = started["execution"]
    succeeded = jobExecutionStatus.JOB_EXECUTION_SUCCEEDED
    client.sendJobsUpdate(execution["jobId"], succeeded, expectedVersion=99)
    refusal, refused = answers.get(timeout=PATIENCE_S)
    client.sendJobsUpdate(execution["jobId"], succeeded, expectedVersion=execution["versionNumber"])
    ending, _ = answers.get(timeout=PATIENCE_S)
    result = {
        "started": [verdict, execution["jobId"], execution["jobDocument"]],
        "refused": [refusal, refused["code"]],
        "ended": ending,
        "notified": notified.wait(PATIENCE_S),
    }
    client.disconnect()
    print(json.dumps(result))  # noqa: T201 - the result is for the test


if __name__ == "__main__":
    main()

"""Requests and answers of the Jobs device API over HTTPS, against AWS's own description of it."""

import json
import re
from typing import Any

import botocore.session
import pytest

from bridge.cloud import JobStatus
from bridge.cloud.job_messages import build_get, build_update
from bridge.cloud.jobs_https_codec import HttpsAnswer, HttpsRequest, pending_request, read_answer, to_https
from bridge.errors import CloudError
from hil_tests.unit.cloud.scripted import queued

MODEL = botocore.session.get_session().get_service_model("iot-jobs-data")
JOBS_OPERATIONS = [name for name in MODEL.operation_names if "JobExecution" in name]
PREFIX = "$aws/things/floor:2/jobs"


def update_of(token: str) -> bytes:
    return build_update(token, queued(), JobStatus.IN_PROGRESS, {"stage": "FETCH"}, step_timeout_minutes=60)


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("GetPendingJobExecutions", pending_request("floor:2")),
        ("DescribeJobExecution", to_https(f"{PREFIX}/job-1/get", build_get("t", execution_number=3))),
        ("DescribeJobExecution", to_https(f"{PREFIX}/$next/get", build_get("t"))),
        ("UpdateJobExecution", to_https(f"{PREFIX}/job-1/update", update_of("t"))),
    ],
)
def test_given_a_request_then_it_is_the_models_with_the_models_members(
    operation: str, request_: HttpsRequest
) -> None:
    model = MODEL.operation_model(operation)
    members = dict(model.input_shape.members)
    path, _, query = request_.target.partition("?")
    names = {pair.split("=")[0] for pair in query.split("&") if pair}
    body: dict[str, Any] = json.loads(request_.body or b"{}")
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(model.http["requestUri"]))
    match = re.fullmatch(pattern, path)

    assert request_.method == model.http["method"]
    assert match is not None
    assert match["thingName"] == "floor%3A2"
    assert names == {name for name in names if members[name].serialization["location"] == "querystring"}
    assert all("location" not in members[name].serialization for name in body)
    for name, value in body.items():
        assert isinstance(
            value, {"string": str, "map": dict, "long": int, "boolean": bool}[members[name].type_name]
        )


def test_given_a_request_then_its_token_stays_at_home() -> None:
    request = to_https(f"{PREFIX}/job-1/update", update_of("secret-token"))
    assert request.token == "secret-token"
    assert b"secret-token" not in (request.body or b"")


@pytest.mark.parametrize(
    "topic", [f"{PREFIX}/start-next", f"{PREFIX}/a/b/get", "lab/x", f"{PREFIX}/../update", PREFIX]
)
def test_given_another_topic_then_it_is_refused(topic: str) -> None:
    with pytest.raises(CloudError) as caught:
        to_https(topic, b"{}")
    assert caught.value.reason == "bad-topic"


def errors_of_the_model() -> list[tuple[str, int]]:
    shapes = {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for name in JOBS_OPERATIONS
        for shape in MODEL.operation_model(name).error_shapes
    }
    return sorted(shapes.items())


@pytest.mark.parametrize(("name", "status"), errors_of_the_model())
@pytest.mark.parametrize(
    "form", ["{}", "{}:http://internal.amazon.com/coral/com.amazonaws.iot/", "com.amazonaws.iot#{}"]
)
def test_given_an_error_of_the_model_then_it_has_a_code_of_its_own(name: str, status: int, form: str) -> None:
    accepted, body = read_answer(HttpsAnswer(status, form.format(name), b'{"message":"why"}'))
    same_without_name, by_status = read_answer(
        HttpsAnswer(status, "", json.dumps({"__type": form.format(name)}).encode())
    )
    assert (accepted, same_without_name) == (False, False)
    assert body["code"] == by_status["code"]
    assert body["code"] != name  # translated
    assert body["message"] == "why"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HttpsAnswer(200, "", b"<html>log in to the guest network</html>"), id="portal"),
        pytest.param(HttpsAnswer(200, "", b"[]"), id="no object"),
        pytest.param(HttpsAnswer(404, "", b"<html>no such page</html>"), id="another server"),
        pytest.param(HttpsAnswer(302, "", b""), id="redirect"),
    ],
)
def test_given_an_answer_of_something_else_then_no_job_is_believed_to_be_gone(answer: HttpsAnswer) -> None:
    with pytest.raises(CloudError) as caught:
        read_answer(answer)
    assert caught.value.reason == "bad-reply"


@pytest.mark.parametrize(
    ("status", "code"), [(429, "RequestThrottled"), (502, "ServiceUnavailable"), (403, "Forbidden")]
)
def test_given_a_status_without_a_name_then_it_says_enough(status: int, code: str) -> None:
    assert read_answer(HttpsAnswer(status, "", b"<html/>"))[1]["code"] == code


def test_given_an_empty_answer_then_there_is_no_job() -> None:
    assert read_answer(HttpsAnswer(200, "", b"")) == (True, {})

"""A connection without a network, and a Jobs service that answers as the test says."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bridge.cloud import Connection, Endpoint, JobExecution, JobsClient, JobStatus
from bridge.cloud.job_requests import JobsTiming
from bridge.errors import CloudError

THING = "thing-a"
PREFIX = f"$aws/things/{THING}/jobs/"
PATIENCE = JobsTiming(request_s=20.0, reply_s=20.0, busy_min_s=0.0, busy_max_s=0.0)

Answer = tuple[str, Mapping[str, object]]
"""``accepted`` or ``rejected``, and the body without its token."""


class ScriptedConnection(Connection):
    """Answers each request with the next step of a script; a step may do anything before, or not answer."""

    def __init__(self, *script: Callable[["ScriptedConnection", dict[str, Any]], Answer | None]) -> None:
        super().__init__(Endpoint("localhost", client_id="not-the-thing"))
        self.script = list(script)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.broken: CloudError | None = None

    @property
    def failure(self) -> CloudError | None:
        return self.broken

    def wait_ready(self, timeout_s: float = 0.0) -> None:
        if self.broken is not None:
            raise self.broken

    def send(self, topic: str, payload: bytes) -> int:
        request = json.loads(payload)
        self.requests.append((topic, request))
        answer = self.script.pop(0)(self, request)
        if answer is not None:
            self.answer(topic, *answer, token=request["clientToken"])
        return len(self.requests)

    def answer(self, topic: str, verdict: str, body: Mapping[str, object], *, token: str) -> None:
        self.message(f"{topic}/{verdict}", json.dumps({**body, "clientToken": token}).encode())

    def reconnect(self) -> None:
        """What listeners are told when the connection is lost and comes back."""
        for listener in self._notified_listeners():
            listener.on_lost()
            listener.on_ready()


def always(verdict: str, **body: object) -> Callable[[ScriptedConnection, dict[str, Any]], Answer]:
    return lambda _connection, _request: (verdict, body)


def never(connection: ScriptedConnection, _request: dict[str, Any]) -> None:
    """The reply is lost, together with the connection, which then comes back."""
    connection.reconnect()


def execution_body(**members: object) -> dict[str, object]:
    return {
        "jobId": "job-1",
        "thingName": THING,
        "status": "QUEUED",
        "versionNumber": 1,
        "executionNumber": 1,
        "jobDocument": {"operation": "app_fw_update"},
        **members,
    }


def state(status: str, version: int, **details: str) -> dict[str, object]:
    return {"status": status, "versionNumber": version, "statusDetails": details}


def queued() -> JobExecution:
    return JobExecution("job-1", 1, 1, JobStatus.QUEUED)


def client(connection: Connection, timing: JobsTiming = PATIENCE) -> JobsClient:
    return JobsClient(connection, THING, timing=timing)

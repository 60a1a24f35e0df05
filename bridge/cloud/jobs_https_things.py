"""What a channel over HTTPS knows of a listener's thing: its name, its queue, and how to tell that it changed; no I/O."""

import json
import re
from collections.abc import Mapping
from typing import Final

from bridge.cloud.channel import Listener

_JOBS_FILTER: Final = re.compile(r"\$aws/things/([a-zA-Z0-9:_-]+)/jobs/.*")


def thing_of(listener: Listener) -> str | None:
    """The thing whose jobs a listener is after."""
    matches = (_JOBS_FILTER.fullmatch(name) for name in listener.filters)
    return next((match[1] for match in matches if match), None)


def notification_topic(thing_name: str) -> str:
    """Where MQTT would tell that the queue changed."""
    return f"$aws/things/{thing_name}/jobs/notify"


def pending_state(body: Mapping[str, object]) -> object:
    """What of GetPendingJobExecutions tells one queue from another: jobs, executions, and where they stand.

    Versions are left out: they rise with each report of our own.
    """
    state: list[tuple[object, ...]] = []
    for members in ("inProgressJobs", "queuedJobs"):
        jobs = body.get(members)
        state.extend(
            (members, *(job.get(name) for name in ("jobId", "executionNumber", "queuedAt")))
            for job in (jobs if isinstance(jobs, list) else [])
            if isinstance(job, Mapping)
        )
    return sorted(state, key=str)


def encode_reply(body: Mapping[str, object], token: str) -> bytes:
    """A reply as it would come over MQTT."""
    return json.dumps({**body, "clientToken": token}).encode()

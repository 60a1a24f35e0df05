"""AWS IoT: connection, Jobs client, job documents."""

from bridge.cloud.backoff import Backoff
from bridge.cloud.connection import Connection
from bridge.cloud.document import DocumentError, JobDocument, parse_document
from bridge.cloud.endpoint import Endpoint
from bridge.cloud.job_execution import TAKEN_OVER, JobExecution, JobGoneError, JobStatus
from bridge.cloud.job_requests import JobsTiming
from bridge.cloud.jobs import JobsClient
from bridge.cloud.jobs_link import JobsLink, JobsOver

__all__ = [
    "TAKEN_OVER",
    "Backoff",
    "Connection",
    "DocumentError",
    "Endpoint",
    "JobDocument",
    "JobExecution",
    "JobGoneError",
    "JobStatus",
    "JobsClient",
    "JobsLink",
    "JobsOver",
    "JobsTiming",
    "parse_document",
]

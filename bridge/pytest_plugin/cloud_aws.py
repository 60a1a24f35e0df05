"""AWS IoT under test: jobs and images by the control plane that operators use; things are those of the bench file.

Images go into a bucket, and jobs get presigned URLs of them. What a run puts there under ``nrf91-test/`` is left to the
bucket's lifecycle rules. Missing credentials, a wrong region or an account that may not are the bench's fault.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from bridge.cloud import Endpoint
from bridge.cloud.deploy import CloudAccess, ControlPlane, translated
from bridge.cloud.deploy_jobs import JobsControl
from bridge.cloud.endpoint import MQTT_TLS_PORT
from bridge.errors import BenchError, BridgeError, UsageError
from bridge.fota.bench_file import Bench, BenchBoard
from bridge.pytest_plugin.cloud import CloudKind, CloudView, Thing
from bridge.pytest_plugin.reporting import as_bench_error

_PREFIX: Final = "nrf91-test"
_URL_LIFE_S: Final = 3600
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_OF_THE_ACCOUNT: Final = frozenset(
    {"bad-credentials", "not-authorized", "throttled", "api-unreachable", "tls", "aws"}
)
"""Refusals that have nothing to do with what was asked for."""

_HINTS: Final = {
    "no-credentials": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    "no-region": "Set AWS_DEFAULT_REGION, or the region of the profile.",
}


@contextmanager
def _on_bench(reasons: frozenset[str] | None = _OF_THE_ACCOUNT) -> Iterator[None]:
    """Make bench errors of refusals with one of these reasons; of all for None."""
    try:
        yield
    except BridgeError as error:
        if reasons is None or error.reason in reasons:
            raise as_bench_error(error) from error
        raise


class AwsCloud:
    """AWS IoT Core and S3.

    Args:
        plane: The control plane.
        bucket: Where images go.
        host: Broker, ``HOST`` or ``HOST:PORT``.
        download_ca_file: CA of the image server; None for the system's.
    """

    kind: CloudKind = "aws"

    def __init__(
        self, plane: ControlPlane, bucket: str, host: str, download_ca_file: Path | None = None
    ) -> None:
        self._plane = plane
        self._jobs = JobsControl(plane)
        self._bucket = bucket
        self._host = host
        self._download_ca_file = download_ca_file

    @classmethod
    def from_bench(cls, bench: Bench | None, bucket: str | None) -> Self:
        """The account that boto3's configuration leads to.

        Raises:
            BenchError: Credentials or region are missing.
            UsageError: boto3 is missing, or nobody told the bucket.
            CloudError: AWS cannot be asked for its endpoint.
        """
        if bucket is None:
            raise UsageError(
                "--nrf91-cloud aws needs a bucket for images", reason="no-bucket", hint="See --nrf91-bucket."
            )
        try:
            plane = ControlPlane(CloudAccess(bucket=bucket))
        except UsageError as error:
            hint = _HINTS.get(error.reason, error.hint)
            raise BenchError(error.message, reason=error.reason, hint=hint) from error
        host = (bench.endpoint if bench is not None else None) or plane.describe_endpoint()
        return cls(plane, bucket, host, bench.download_ca_file if bench is not None else None)

    @property
    def on_this_host(self) -> bool:
        """The API is that of a local cloud, by ``AWS_ENDPOINT_URL`` for example."""
        return urlsplit(str(self._plane.s3.meta.endpoint_url)).hostname in _LOOPBACK

    def thing_of(self, board: BenchBoard) -> Thing:
        """The thing whose jobs a board works.

        Raises:
            UsageError: The bench file names none, or no certificate of it.
        """
        files = board.credentials
        if board.thing is None or files is None:
            raise UsageError(
                f"the bench file names no thing with a certificate for the board {board.name}",
                reason="no-thing",
            )
        host, _, port = self._host.partition(":")
        endpoint = Endpoint(
            host,
            int(port or MQTT_TLS_PORT),
            files.ca_file,
            files.cert_file,
            files.key_file,
            client_id=board.thing,
        )
        return Thing(board.thing, endpoint, self._download_ca_file)

    def publish(self, image: Path, name: str | None = None) -> str:
        """Upload it, and give a presigned URL."""
        where = {"Bucket": self._bucket, "Key": f"{_PREFIX}/{name or image.name}"}
        with _on_bench(None), translated(f"upload {image.name} to the bucket {self._bucket}"):
            self._plane.s3.put_object(**where, Body=image.read_bytes())
            return str(
                self._plane.s3.generate_presigned_url("get_object", Params=where, ExpiresIn=_URL_LIFE_S)
            )

    def create_job(self, job_id: str, thing: str, document: object, **options: Any) -> None:
        """Create a snapshot job for one thing; options are members of the CreateJob request."""
        text = document if isinstance(document, str) else json.dumps(document)
        with _on_bench(None):
            targets = self._jobs.target_arns([thing], [])
        with _on_bench(), translated(f"create the job {job_id}"):
            self._plane.iot.create_job(
                jobId=job_id, targets=targets, document=text, targetSelection="SNAPSHOT", **options
            )

    def view(self, job_id: str, thing: str) -> CloudView:
        """What AWS says about a job."""
        with _on_bench():
            found = self._jobs.execution(job_id, thing)
        return CloudView(found.status, found.details)

    def cancel(self, job_id: str, *, force: bool = False) -> None:
        """Cancel a job."""
        with _on_bench():
            self._jobs.cancel(job_id, force=force)

    def remove(self, job_id: str) -> None:
        """Delete a job."""
        with _on_bench():
            self._jobs.delete(job_id, force=True)

    def open_jobs(self, thing: str) -> list[str]:
        """Jobs of a thing that are queued or in progress."""
        with _on_bench():
            return [job_id for job_id, state in self._jobs.executions_of_thing(thing) if not state.ended]

    def downloads(self, image: str) -> int | None:
        """S3 does not count."""
        return None

"""AWS IoT under test: jobs and images by boto3, with the credentials that boto3 finds; things are those of the bench file.

Images go into a bucket, and jobs get presigned URLs of them. What a run puts there under ``nrf91-test/`` is left to the
bucket's lifecycle rules. Source: the AWS IoT and S3 APIs as botocore describes them.
"""

from pathlib import Path
from typing import Any, Final

from bridge.cloud import Endpoint
from bridge.errors import CloudError, UsageError
from bridge.fota.bench_file import Bench, BenchBoard
from bridge.pytest_plugin.cloud import CloudKind, CloudView, Thing

_PREFIX: Final = "nrf91-test"
_URL_LIFE_S: Final = 3600
_OPEN: Final = ("IN_PROGRESS", "QUEUED")


class AwsCloud:
    """AWS IoT Core and S3.

    Args:
        iot: boto3's client for ``iot``.
        s3: boto3's client for ``s3``.
        bucket: Where images go.
        host: Broker, ``HOST`` or ``HOST:PORT``.
        download_ca_file: CA of the image server; None for the system's.
    """

    kind: CloudKind = "aws"

    def __init__(
        self, iot: Any, s3: Any, bucket: str, host: str, download_ca_file: Path | None = None
    ) -> None:
        self._iot = iot
        self._s3 = s3
        self._bucket = bucket
        self._host = host
        self._download_ca_file = download_ca_file

    @classmethod
    def from_bench(cls, bench: Bench | None, bucket: str | None) -> "AwsCloud":
        """The account that boto3's configuration leads to.

        Raises:
            UsageError: boto3 is missing, or nobody told the bucket.
            CloudError: AWS cannot be asked for its endpoint.
        """
        try:
            import boto3  # noqa: PLC0415 - only for AWS
        except ImportError as error:
            raise UsageError(
                "--nrf91-cloud aws needs boto3", reason="missing-extra", hint="Install boto3."
            ) from error
        if bucket is None:
            raise UsageError(
                "--nrf91-cloud aws needs a bucket for images", reason="no-bucket", hint="See --nrf91-bucket."
            )
        iot, s3 = boto3.client("iot"), boto3.client("s3")
        host = bench.endpoint if bench is not None else None
        host = host or _ask(iot.describe_endpoint, endpointType="iot:Data-ATS")["endpointAddress"]
        return cls(iot, s3, bucket, host, bench.download_ca_file if bench is not None else None)

    def thing_of(self, board: BenchBoard) -> Thing:
        """The thing whose jobs a board works.

        Raises:
            UsageError: The bench file names none, or no certificate of it.
        """
        if board.thing is None or board.credentials is None:
            raise UsageError(
                f"the bench file names no thing with a certificate for the board {board.name}",
                reason="no-thing",
            )
        host, _, port = self._host.partition(":")
        files = board.credentials
        endpoint = Endpoint(
            host, int(port or 8883), files.ca_file, files.cert_file, files.key_file, client_id=board.thing
        )
        return Thing(board.thing, endpoint, self._download_ca_file)

    def publish(self, image: Path, name: str | None = None) -> str:
        """Upload it, and give a presigned URL."""
        key = f"{_PREFIX}/{name or image.name}"
        _ask(self._s3.upload_file, str(image), self._bucket, key)
        where = {"Bucket": self._bucket, "Key": key}
        return str(_ask(self._s3.generate_presigned_url, "get_object", Params=where, ExpiresIn=_URL_LIFE_S))

    def create_job(self, job_id: str, thing: str, document: object, **options: Any) -> None:
        """Create a snapshot job for one thing."""
        import json  # noqa: PLC0415

        text = document if isinstance(document, str) else json.dumps(document)
        target = _ask(self._iot.describe_thing, thingName=thing)["thingArn"]
        _ask(
            self._iot.create_job,
            jobId=job_id,
            targets=[target],
            document=text,
            targetSelection="SNAPSHOT",
            **options,
        )

    def view(self, job_id: str, thing: str) -> CloudView:
        """What AWS says about a job."""
        found = _ask(self._iot.describe_job_execution, jobId=job_id, thingName=thing)["execution"]
        details = found.get("statusDetails", {}).get("detailsMap", {})
        return CloudView(found["status"], details, found.get("versionNumber", 0))

    def cancel(self, job_id: str, *, force: bool = False) -> None:
        """Cancel a job."""
        _ask(self._iot.cancel_job, jobId=job_id, force=force)

    def remove(self, job_id: str) -> None:
        """Delete a job."""
        _ask(self._iot.delete_job, jobId=job_id, force=True)

    def open_jobs(self, thing: str) -> list[str]:
        """Jobs of a thing that are queued or in progress."""
        found = [
            summary
            for status in _OPEN
            for summary in _ask(self._iot.list_job_executions_for_thing, thingName=thing, status=status)[
                "executionSummaries"
            ]
        ]
        return [
            each["jobId"] for each in sorted(found, key=lambda each: each["jobExecutionSummary"]["queuedAt"])
        ]

    def downloads(self, image: str) -> int | None:
        """S3 does not count."""
        return None


def _ask(question: Any, *arguments: Any, **members: Any) -> Any:
    """Call boto3; its errors, of which each service has its own, become ours."""
    try:
        return question(*arguments, **members)
    except Exception as error:
        if not type(error).__module__.startswith(("botocore", "boto3")):
            raise
        raise CloudError(f"AWS: {error}", reason="aws") from error

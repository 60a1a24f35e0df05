"""What a job shall be, and the CreateJob request made of it. No I/O.

Source: botocore's ``iot`` model (CreateJobRequest and its parts, limits in their shapes).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from bridge.cloud.document import MAX_DOCUMENT_CHARS, Operation
from bridge.cloud.job_messages import check_job_id
from bridge.errors import UsageError
from bridge.image import FirmwareImage, ImageKind

_MODEM_KINDS: Final = frozenset({ImageKind.MODEM_DELTA, ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE})
_FAILURES: Final = ("FAILED", "TIMED_OUT")
"""REJECTED is left out: a board that has the version already is no reason to stop a rollout."""
DEFAULT_URL_LIFE_S: Final = 3600


@dataclass(frozen=True)
class PresignSettings:
    """How AWS IoT makes the URL that a device gets.

    Attributes:
        role_arn: Role that AWS IoT takes on to read the object; the local cloud needs none.
        expires_s: Life of each URL, 60 to 3600 seconds from the moment that the device asks.
    """

    role_arn: str | None = None
    expires_s: int = DEFAULT_URL_LIFE_S


@dataclass(frozen=True)
class JobOrder:
    """A job to be created.

    Attributes:
        job_id: Its id.
        document: The job document.
        description: For people.
        presign: For documents with a placeholder.
        continuous: Also for things that join the groups later.
        rollout_per_minute: So many things are told a minute.
        abort_on_failed_percent: Cancel the job when so many of the things that are through have failed.
        abort_min_things: But not before so many are through.
        timeout_minutes: An execution that is in progress for longer has failed.
        retries: So often an execution that failed or timed out is queued again.
    """

    job_id: str
    document: Mapping[str, object]
    description: str = ""
    presign: PresignSettings | None = None
    continuous: bool = False
    rollout_per_minute: int | None = None
    abort_on_failed_percent: float | None = None
    abort_min_things: int = 1
    timeout_minutes: int | None = None
    retries: int | None = None

    def to_request(self, target_arns: Sequence[str]) -> dict[str, Any]:
        """The CreateJob request.

        Raises:
            UsageError: The document is too long, or an id or a number is not possible.
        """
        text = json.dumps(self.document, ensure_ascii=False)
        if len(text) > MAX_DOCUMENT_CHARS:
            raise UsageError(
                f"the job document has {len(text)} characters; {MAX_DOCUMENT_CHARS} are allowed",
                reason="bad-document",
            )
        optional: dict[str, Any] = {
            "description": self.description,
            "presignedUrlConfig": self.presign and _presigned(self.presign),
            "jobExecutionsRolloutConfig": self.rollout_per_minute
            and {"maximumPerMinute": self.rollout_per_minute},
            "abortConfig": self._abort(),
            "timeoutConfig": self.timeout_minutes and {"inProgressTimeoutInMinutes": self.timeout_minutes},
            "jobExecutionsRetryConfig": self.retries
            and {"criteriaList": [{"failureType": "ALL", "numberOfRetries": self.retries}]},
        }
        return {
            "jobId": check_job_id(self.job_id),
            "targets": list(target_arns),
            "document": text,
            "targetSelection": "CONTINUOUS" if self.continuous else "SNAPSHOT",
            **{name: value for name, value in optional.items() if value},
        }

    def _abort(self) -> dict[str, Any] | None:
        if self.abort_on_failed_percent is None:
            return None
        return {
            "criteriaList": [
                {
                    "failureType": failure,
                    "action": "CANCEL",
                    "thresholdPercentage": self.abort_on_failed_percent,
                    "minNumberOfExecutedThings": self.abort_min_things,
                }
                for failure in _FAILURES
            ]
        }


@dataclass(frozen=True)
class StoredImage:
    """Where an uploaded image is.

    Attributes:
        bucket: Bucket.
        key: Key; its last part is the file's name, from which the versions of a modem delta are read.
        region: The bucket's region.
        host: ``s3.REGION.amazonaws.com``, or that of a local cloud with its port.
    """

    bucket: str
    key: str
    region: str
    host: str = field(default="")

    @property
    def url(self) -> str:
        """URL of the object, path style, which works for every bucket name."""
        return f"https://{self.host or s3_host(self.region)}/{self.bucket}/{quote(self.key)}"

    @property
    def placeholder(self) -> str:
        """What AWS IoT replaces by a presigned URL each time a device reads the document.

        The host is AWS's own form of it also for a local cloud, which knows what is meant.
        """
        return f"${{aws:iot:s3-presigned-url:https://{s3_host(self.region)}/{self.bucket}/{quote(self.key)}}}"


def s3_host(region: str) -> str:
    """S3's host name in a region."""
    return f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def operation_of(kind: ImageKind) -> Operation:
    """What the job document calls an update of this kind."""
    return "modem_fw_update" if kind in _MODEM_KINDS else "app_fw_update"


def document_for(
    image: FirmwareImage, location: str, *, board: str | None = None, image_index: int = 0
) -> dict[str, object]:
    """Nordic's AWS FOTA job document with the members that we add.

    Args:
        image: What the URL leads to.
        location: Its URL, or the placeholder for one.
        board: Board or chip that it is meant for.
        image_index: MCUboot image number.
    """
    members: dict[str, object] = {
        "operation": operation_of(image.kind),
        "fwversion": image.version,
        "size": image.size_bytes,
        "location": {"url": location},
        "sha256": image.sha256,
        "board": board,
        "image_index": image_index or None,
    }
    return {name: value for name, value in members.items() if value is not None}


def new_job_id(image: FirmwareImage, now: datetime | None = None) -> str:
    """An id that tells what and when: ``app-2-0-0-20261126T213000``."""
    time = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S")
    what = f"{image.kind.value}-{image.version or ''}"
    return f"{re.sub(r'[^a-zA-Z0-9]+', '-', what).strip('-')[:48]}-{time}"


def _presigned(settings: PresignSettings) -> dict[str, Any]:
    role = {"roleArn": settings.role_arn} if settings.role_arn else {}
    return {**role, "expiresInSec": settings.expires_s}

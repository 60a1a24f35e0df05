"""Images into a bucket: made if it is missing, one object for one content, never sent twice.

Source: S3 API Reference (HeadBucket, CreateBucket with its location constraint, PutObject with a SHA-256 checksum).
"""

import base64
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from bridge.cloud.deploy import NOT_FOUND_REASON, ControlPlane, translated
from bridge.cloud.deploy_order import StoredImage
from bridge.errors import CloudError, UsageError
from bridge.image import FirmwareImage

_DEFAULT_REGION: Final = "us-east-1"
_PREFIX: Final = "images"
_SHA256: Final = "sha256"
_AWKWARD: Final = re.compile(r"[^A-Za-z0-9._-]")
_TIMEOUT_S: Final = 10.0


class ImageBucket:
    """A bucket for images.

    Args:
        plane: The cloud.
        name: Name of the bucket.

    Attributes:
        name: The same.
    """

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self._plane = plane
        self.name = name

    def ensure(self) -> bool:
        """Make the bucket if it is not there; AWS makes it private.

        Returns:
            Whether it was made now.

        Raises:
            CloudError: It belongs to someone else, or we may not.
        """
        if self.exists():
            return False
        where = {} if self._plane.region == _DEFAULT_REGION else {"LocationConstraint": self._plane.region}
        with translated(f"create the bucket {self.name}"):
            self._plane.s3.create_bucket(
                Bucket=self.name, **({"CreateBucketConfiguration": where} if where else {})
            )
        return True

    def exists(self) -> bool:
        """Whether the bucket is there and ours to use.

        Raises:
            CloudError: We may not use it, or the cloud does not answer.
        """
        return self._head("look at the bucket", self._plane.s3.head_bucket, Bucket=self.name) is not None

    def place(self, image: FirmwareImage, file_name: str) -> StoredImage:
        """Where an image belongs: under its digest and its name.

        Only letters that look the same in every form of a URL are kept: the key goes through AWS IoT's placeholder, S3's
        signature and the device's own parser.
        """
        host = urlsplit(self._plane.access.endpoint_url or "").netloc
        plain = _AWKWARD.sub("_", file_name)
        return StoredImage(self.name, f"{_PREFIX}/{image.sha256}/{plain}", self._plane.region, host)

    def holds(self, place: StoredImage, image: FirmwareImage) -> bool:
        """Whether the whole image is there already."""
        head = self._head("look for the image", self._plane.s3.head_object, Bucket=self.name, Key=place.key)
        return head is not None and (head["ContentLength"], head["Metadata"].get(_SHA256)) == (
            image.size_bytes,
            image.sha256,
        )

    def upload(self, place: StoredImage, image: FirmwareImage, file: Path) -> bool:
        """Upload an image, checked by S3 against its SHA-256, unless it is there.

        Returns:
            Whether it was sent.

        Raises:
            CloudError: S3 refuses, or cannot be reached.
            UsageError: The file cannot be read any more.
        """
        if self.holds(place, image):
            return False
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}", reason="unreadable") from error
        with translated(f"upload {file.name} to the bucket {self.name}"):
            self._plane.s3.put_object(
                Bucket=self.name,
                Key=place.key,
                Body=content,
                ContentType="application/octet-stream",
                Metadata={_SHA256: image.sha256},
                ChecksumSHA256=base64.b64encode(bytes.fromhex(image.sha256)).decode(),
            )
        return True

    def _head(self, what: str, call: Any, **arguments: str) -> dict[str, Any] | None:
        try:
            with translated(f"{what} in {self.name}"):
                answer: dict[str, Any] = call(**arguments)
                return answer
        except CloudError as error:
            if error.reason == NOT_FOUND_REASON:
                return None
            raise


def is_public(url: str, ca_file: Path | None) -> bool:
    """Whether everybody can read what a URL names, as a device without AWS credentials would.

    Raises:
        CloudError: The server cannot be reached.
    """
    verify = True if ca_file is None else str(ca_file)
    try:
        with requests.get(
            url, headers={"Range": "bytes=0-0"}, verify=verify, timeout=_TIMEOUT_S, stream=True
        ) as answer:
            return answer.ok
    except requests.RequestException as error:
        raise CloudError(
            f"cannot look whether {url} can be read: {error}", reason="api-unreachable"
        ) from error

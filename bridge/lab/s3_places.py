"""Objects named by URLs, in every form that job documents use.

Source: AWS IoT Developer Guide, "Presigned URLs" (``https://s3.REGION.amazonaws.com/BUCKET/KEY``; botocore's model still
documents ``BUCKET/KEY``), and S3 User Guide, "Virtual hosting" (``https://BUCKET.s3.REGION.amazonaws.com/KEY``).
"""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from bridge.lab.s3_errors import S3Error
from bridge.lab.s3_service import Place
from bridge.lab.s3_store import BucketStore

_VIRTUAL_HOST: Final = re.compile(r"(.+)\.s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")


def find_object(url: str, store: BucketStore) -> Place | None:
    """The object of the store that a URL, or ``bucket/key``, names; None if there is none."""
    for place in _readings(url):
        try:
            store.get(place.bucket, place.key)
        except S3Error:
            continue
        return place
    return None


def _readings(url: str) -> list[Place]:
    split = urlsplit(url)
    path = unquote(split.path).removeprefix("/")
    bucket, _, key = path.partition("/")
    readings = [Place(bucket, key)]
    if match := _VIRTUAL_HOST.fullmatch(split.hostname or ""):
        readings.insert(0, Place(match[1], path))
    return readings

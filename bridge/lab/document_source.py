"""Job documents that a job names by an S3 URL instead of bringing them. Source: ``documentSource`` of botocore's CreateJob."""

from collections.abc import Callable

from bridge.lab.jobs_limits import invalid
from bridge.lab.s3_places import find_object
from bridge.lab.s3_store import BucketStore


def document_reader(buckets: BucketStore) -> Callable[[str], str]:
    """Give a function that reads the object behind an S3 URL, once, when the job is created.

    The function raises JobsRejectedError (InvalidRequest) when there is no such object, or when it is no text.
    """

    def read(url: str) -> str:
        place = find_object(url, buckets)
        if place is None:
            raise invalid(f"documentSource {url[:200]!r} names no object in the local cloud's buckets")
        try:
            return buckets.path(buckets.get(place.bucket, place.key)).read_text(encoding="utf-8")
        except ValueError:
            raise invalid(f"the object {place.name} is no UTF-8 text") from None

    return read

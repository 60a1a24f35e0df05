"""Where the devices of a job shall find its image: at a URL that is given, or in a bucket that it is uploaded to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.cli.job_image import JobImage
from bridge.errors import CloudError, UsageError

if TYPE_CHECKING:
    from bridge.cloud.deploy import ControlPlane


@dataclass(frozen=True)
class Location:
    """Where the devices shall find the image.

    Attributes:
        text: For the job document: a URL, or the placeholder for one.
        remarks: What a person should see.
    """

    text: str
    remarks: tuple[str, ...] = ()


def locate(
    plane: "ControlPlane",
    found: JobImage,
    url: str | None,
    bucket: str | None,
    *,
    presign: bool,
    dry_run: bool,
) -> Location:
    """Find or make the place of a job's image.

    Args:
        plane: The cloud.
        found: The image.
        url: Where it is already.
        bucket: Where it is uploaded to, instead.
        presign: Whether the cloud signs a URL for each device, so that the bucket can be private.
        dry_run: Change nothing.

    Raises:
        UsageError: There is neither a URL nor a bucket.
        CloudError: The image cannot be uploaded, or no board could read it there.
    """
    from bridge.cloud.deploy_upload import ImageBucket, is_public  # noqa: PLC0415

    if url is not None:
        plain = url.lower().startswith("http:")
        return Location(
            url, ("boards' hosts refuse http unless they are told to --allow-http",) if plain else ()
        )
    assert found.file is not None
    if bucket is None:
        raise UsageError("give a --bucket to upload the image to", reason="no-bucket")
    store = ImageBucket(plane, bucket)
    place = store.place(found.image, found.file.name)
    remarks = []
    if dry_run:
        if not store.exists():
            remarks.append(f"the bucket {bucket} would be made")
        return Location(place.placeholder if presign else place.url, tuple(remarks))
    if store.ensure():
        remarks.append(f"made the bucket {bucket}")
    sent = store.upload(place, found.image, found.file)
    remarks.append(f"{'uploaded' if sent else 'already there:'} {place.key}")
    if presign:
        return Location(place.placeholder, tuple(remarks))
    if not is_public(place.url, plane.access.ca_file):
        raise CloudError(
            f"the image is uploaded, but {place.url} cannot be read without a signature, so no board could fetch it",
            reason="image-not-public",
            hint="Add --presign; the bucket can then stay private.",
        )
    return Location(place.url, tuple(remarks))

"""What the cache has of an image before, and gets of it after the download."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.errors import CloudError
from bridge.fetch.arrival import Arrival
from bridge.fetch.cache import ImageCache, digest_key, location_key, object_key
from bridge.fetch.part_file import PartFacts, PartFile

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What to download.

    Attributes:
        url: Where from.
        expected_size: Size that it must have.
        expected_sha256: Digest that it must have, hex in lower case.
        refresh_url: Gives a fresh URL.
    """

    url: str = field(repr=False)
    expected_size: int | None
    expected_sha256: str | None
    refresh_url: Callable[[], str] | None


class ImageStore:
    """The files of one download.

    Args:
        order: What is wanted.
        arrival: Gets the file to use.
        cache: Where files are.

    Attributes:
        inherited: Whether the first bytes come from an earlier download.
    """

    def __init__(self, order: Order, arrival: Arrival, cache: ImageCache) -> None:
        self._order = order
        self._arrival = arrival
        self._cache = cache
        self.inherited = False

    def take_finished(self) -> bool:
        """Use a complete file with the digest, after a look whether it still has it."""
        sha256 = self._order.expected_sha256
        found = None if sha256 is None else self._cache.open_complete(digest_key(sha256))
        if sha256 is None or found is None:
            return False
        if found.sha256() != sha256:
            _log.warning("a file in the cache went bad and is fetched again")
            found.close()
            self._cache.remove(digest_key(sha256))
            return False
        self._arrival.adopt(found, found.size_bytes)
        self.check_size(found.size_bytes)
        self._arrival.complete()
        return True

    def take_object(self, facts: PartFacts) -> bool:
        """Use a complete file of this very object, if the cache has it; digests have files of their own."""
        if self._order.expected_sha256 is not None or facts.etag is None or facts.size_bytes is None:
            return False
        found = self._cache.open_complete(object_key(self._order.url, facts.etag, facts.size_bytes))
        if found is None:
            return False
        if found.size_bytes != facts.size_bytes:
            found.close()
            return False
        found.facts = facts
        self._arrival.adopt(found, found.size_bytes)
        self._arrival.confirm(facts)
        return True

    def open_part(self) -> None:
        """Continue what an earlier download left, if that is safe, or begin an empty file."""
        sha256 = self._order.expected_sha256
        part = self._cache.open_part(digest_key(sha256) if sha256 else location_key(self._order.url))
        if not self._is_usable(part):
            part.truncate(0)
            part.remember(PartFacts())
        self.inherited = part.size_bytes > 0
        self._arrival.adopt(part, part.size_bytes)

    def has_right_digest(self) -> bool:
        """Whether the complete file has the digest that is wanted, if one is."""
        sha256 = self._order.expected_sha256
        return sha256 is None or self._arrival.part.sha256() == sha256

    def check_size(self, size_bytes: int) -> None:
        """Compare with the size that is wanted.

        Raises:
            CloudError: Reason ``wrong-size``.
        """
        expected = self._order.expected_size
        if expected is not None and size_bytes != expected:
            raise CloudError(
                f"the image has {size_bytes} bytes, {expected} are expected",
                reason="wrong-size",
                hint="Was the job document made for another build of this file?",
            )

    def finish(self) -> None:
        """Publish the complete file under its content, if its content has a name.

        Raises:
            CloudError: It has another digest (reason ``wrong-sha256``); the bytes are dropped.
        """
        part, sha256, etag = self._arrival.part, self._order.expected_sha256, self._arrival.part.facts.etag
        if not self.has_right_digest():
            found = part.sha256()
            error = CloudError(
                f"the image has SHA-256 {found}, {sha256} is expected",
                reason="wrong-sha256",
                hint="Was the job document made for another build of this file?",
            )
            self._arrival.fail(error, drop=True)
            raise error
        if not part.is_published and sha256 is not None:
            part.publish(self._cache.path(digest_key(sha256)))
        elif not part.is_published and etag is not None:
            key = object_key(self._order.url, etag, self._arrival.received_bytes)
            part.publish(self._cache.path(key))
        self._arrival.complete()

    def _is_usable(self, part: PartFile) -> bool:
        """Whether there is a way to make sure that the rest will belong to what is here, and nothing speaks against it."""
        facts, expected = part.facts, self._order.expected_size
        sizes = {size for size in (facts.size_bytes, expected) if size is not None}
        holds_together = facts.etag is not None or self._order.expected_sha256 is not None
        return holds_together and len(sizes) < 2 and all(part.size_bytes <= size for size in sizes)

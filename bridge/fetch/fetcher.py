"""The thread's work: ask, judge, store, and when something goes wrong try again as long as it makes sense.

``If-Match`` or ``If-Range``: within one run each further range carries ``If-Match`` with the strong ETag, because readers may
have taken bytes already: a changed object must answer 412 and send nothing. A file that an earlier process left is
continued with ``If-Range``: nobody has read from it, so a changed object may as well come whole in the same answer. Neither is
trusted alone: aiohttp and moto ignore ``If-Range``, starlette ignores ``If-Match``; the ETag of each 206 is compared too.
Without a strong ETag only a known SHA-256 makes it safe to put ranges together; else the file is asked for whole, and bytes
that are here already are compared with those that come again. There is no HEAD request: the method is part of a presigned
URL's signature.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from bridge.errors import CloudError
from bridge.fetch.answer import Ask, Body, Changed, Denied, Known, Later, PastEnd, RangesUnusable, Redirect
from bridge.fetch.arrival import Arrival
from bridge.fetch.cache import ImageCache, PartFacts, digest_key, location_key, object_key
from bridge.fetch.failure import RetryableError
from bridge.fetch.http_client import Answer, HttpClient
from bridge.fetch.options import Clock, DownloadOptions
from bridge.fetch.patience import Patience
from bridge.fetch.redact import redact_url

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

    url: str
    expected_size: int | None
    expected_sha256: str | None
    refresh_url: Callable[[], str] | None


class Fetcher:
    """Brings one image into an arrival.

    Args:
        order: What.
        arrival: Where the readers wait.
        cache_dir: Where files live.
        client: Sends the requests; cut from outside to end this early.
        closed: Ends waits.
        options: How patient it is.
        clock: By which time.
    """

    def __init__(
        self,
        order: Order,
        arrival: Arrival,
        cache_dir: Path,
        client: HttpClient,
        *,
        closed: Event,
        options: DownloadOptions,
        clock: Clock,
    ) -> None:
        self._order = order
        self._arrival = arrival
        self._cache_dir = cache_dir
        self._client = client
        self._closed = closed
        self._options = options
        self._patience = Patience(options, clock, closed)
        self._url = order.url
        self._whole = False
        self._answers = 0
        self._inherited = self._rechecked = False
        self._ended = False
        self._left_restarts = options.restarts
        self._left_refreshes = options.refreshes

    @property
    def retries(self) -> int:
        """How often something had to be asked for again."""
        return self._patience.retries

    def run(self) -> None:
        """Download, check, publish.

        Raises:
            BridgeError: It cannot be had.
        """
        with ImageCache(self._cache_dir) as cache:
            if self._take_from_cache(cache):
                return
            self._open_part(cache)
            while True:
                while not self._is_whole():
                    self._step(cache)
                if self._check(cache):
                    return

    # Cache and disk.

    def _take_from_cache(self, cache: ImageCache) -> bool:
        """Use a complete file with the digest, after a look whether it still has it."""
        sha256 = self._order.expected_sha256
        found = None if sha256 is None else cache.open_complete(digest_key(sha256))
        if sha256 is None or found is None:
            return False
        if found.sha256() != sha256:
            _log.warning("a file in the cache went bad and is fetched again")
            found.close()
            cache.remove(digest_key(sha256))
            return False
        self._arrival.adopt(found, found.size_bytes)
        self._check_size(found.size_bytes)
        self._arrival.complete()
        return True

    def _open_part(self, cache: ImageCache) -> None:
        sha256, size_bytes = self._order.expected_sha256, self._order.expected_size
        part = cache.open_part(digest_key(sha256) if sha256 else location_key(self._order.url))
        facts = part.facts
        limit = next((size for size in (facts.size_bytes, size_bytes) if size is not None), None)
        usable = (
            (facts.etag is not None or sha256 is not None)
            and (size_bytes is None or facts.size_bytes in {None, size_bytes})
            and (limit is None or part.size_bytes <= limit)
        )
        if not usable:
            part.truncate(0)
            part.remember(PartFacts())
        self._inherited = part.size_bytes > 0
        self._arrival.adopt(part, part.size_bytes)

    def _check(self, cache: ImageCache) -> bool:
        """Check the complete file and publish it; False if it must be fetched once more."""
        arrival, sha256 = self._arrival, self._order.expected_sha256
        self._check_size(arrival.received_bytes)
        if sha256 is not None and (found := arrival.part.sha256()) != sha256:
            if (self._inherited or self._answers > 1) and not self._rechecked:
                # Put together from several answers: perhaps it is not the server that is wrong.
                _log.warning("the image's SHA-256 is wrong; fetching it once more, in one piece")
                self._rechecked = self._whole = True
                self._restart()
                return False
            arrival.part.truncate(0)
            raise CloudError(
                f"the image has SHA-256 {found}, {sha256} is expected",
                reason="wrong-sha256",
                hint="Was the job document made for another build of this file?",
            )
        etag = arrival.part.facts.etag
        if sha256 is not None:
            arrival.part.publish(cache.path(digest_key(sha256)))
        elif etag is not None:
            arrival.part.publish(cache.path(object_key(self._order.url, etag, arrival.received_bytes)))
        arrival.complete()
        return True

    def _check_size(self, size_bytes: int) -> None:
        expected = self._order.expected_size
        if expected is not None and size_bytes != expected:
            raise CloudError(
                f"the image has {size_bytes} bytes, {expected} are expected",
                reason="wrong-size",
                hint="Was the job document made for another build of this file?",
            )

    # Requests.

    def _is_whole(self) -> bool:
        size_bytes = self._arrival.size_bytes
        return self._ended or (self._arrival.confirmed and self._arrival.received_bytes == size_bytes)

    def _step(self, cache: ImageCache) -> None:
        """One request, and what its failure asks for."""
        if self._closed.is_set():
            raise CloudError("the download was closed", reason="closed")
        try:
            self._request(cache)
        except RetryableError as error:
            # What a redirect pointed to may be gone; the URL that was given leads to its successor.
            _log.info("%s; %d bytes are here", error, self._arrival.received_bytes)
            failure = error
        else:
            return
        self._patience.pause_or_give_up(failure, self._arrival.received_bytes)

    def _request(self, cache: ImageCache) -> None:
        ask = self._next_ask()
        known = self._known()
        with self._client.get(
            self._url, self._headers(ask), ask, known, self._patience.timeouts_s()
        ) as answer:
            match answer.verdict:
                case Body() as body:
                    self._take(answer, body, cache)
                case Changed():
                    self._restart()
                case RangesUnusable(why):
                    self._go_whole(why)
                case PastEnd(size_bytes):
                    self._past_end(ask, size_bytes)
                case Later(status, retry_after_s):
                    raise RetryableError(
                        f"the image server answers HTTP {status}",
                        reason=f"http-{status}",
                        pause_s=retry_after_s,
                        hint="The server is overloaded or broken; try again later.",
                    )
                case Denied(status):
                    self._refresh(status)
                case Redirect():  # pragma: no cover - the client follows them
                    raise AssertionError("a redirect was not followed")

    def _next_ask(self) -> Ask:
        received, size_bytes = self._arrival.received_bytes, self._arrival.part.facts.size_bytes
        if self._whole:
            return Ask(0, None)
        if size_bytes is not None and received >= size_bytes > 0:
            received = size_bytes - 1  # all is here, but not confirmed: one byte brings the ETag
        return Ask(received, received + self._options.fragment_bytes - 1)

    def _known(self) -> Known:
        facts = self._arrival.part.facts if self._arrival.received_bytes else PartFacts()
        return Known(facts.etag, facts.size_bytes, self._order.expected_size, self._options.max_size_bytes)

    def _headers(self, ask: Ask) -> dict[str, str]:
        if ask.end is None:
            return {}
        headers = {"Range": f"bytes={ask.start}-{ask.end}"}
        etag = self._arrival.part.facts.etag
        if etag is not None and self._arrival.received_bytes:
            headers["If-Match" if self._arrival.confirmed else "If-Range"] = etag
        return headers

    # Answers.

    def _take(self, answer: Answer, body: Body, cache: ImageCache) -> None:
        arrival = self._arrival
        if (
            answer.ends_with_connection
            and self._order.expected_size is None
            and not self._order.expected_sha256
        ):
            raise CloudError(
                "the image server tells neither length nor end of the image, so that a lost connection looks complete",
                reason="no-length",
                hint="Name size or sha256 in the job document.",
            )
        if body.start == 0 and arrival.received_bytes and not self._continues(body):
            self._restart()
        facts = PartFacts(body.etag, body.size_bytes)
        if arrival.received_bytes == 0 and self._take_object(facts, cache):
            return
        arrival.confirm(facts)
        self._store(answer, body)
        if body.size_bytes is None:
            self._ended = True
        elif not self._is_whole() and body.etag is None and self._order.expected_sha256 is None:
            self._go_whole("no strong ETag holds the ranges together")

    def _continues(self, body: Body) -> bool:
        """Whether a whole file may be the one whose first bytes are here; they are compared then."""
        facts = self._arrival.part.facts
        if self._arrival.confirmed:
            etag_fits = facts.etag is None or body.etag in {None, facts.etag}
        else:
            etag_fits = facts.etag is not None and body.etag == facts.etag
        size_fits = body.size_bytes is None or facts.size_bytes in {None, body.size_bytes}
        return etag_fits and size_fits

    def _take_object(self, facts: PartFacts, cache: ImageCache) -> bool:
        """Use a complete file of this very object, if the cache has it."""
        if self._order.expected_sha256 is not None or facts.etag is None or facts.size_bytes is None:
            return False
        found = cache.open_complete(object_key(self._order.url, facts.etag, facts.size_bytes))
        if found is None:
            return False
        if found.size_bytes != facts.size_bytes:
            found.close()
            return False
        found.facts = facts
        self._arrival.adopt(found, found.size_bytes)
        self._arrival.confirm(facts)
        return True

    def _store(self, answer: Answer, body: Body) -> None:
        self._answers += 1
        offset, limit = body.start, self._limit(body)
        self._patience.begin_body()
        for data in answer.chunks():
            if offset + len(data) > limit:
                self._too_long(body, limit)
            new_bytes = self._arrival.write(offset, data)
            offset += len(data)
            if new_bytes:
                self._left_refreshes = self._options.refreshes
            self._patience.progress(len(data), new_bytes)
        if body.length is not None and offset - body.start != body.length:
            raise RetryableError(
                f"the body ended after {offset - body.start} of {body.length} bytes", reason="truncated"
            )

    def _limit(self, body: Body) -> int:
        """Offset that the body must not pass."""
        if body.length is not None:
            return body.start + body.length
        expected = self._order.expected_size
        return self._options.max_size_bytes if expected is None else expected

    def _too_long(self, body: Body, limit: int) -> None:
        if body.length is not None:
            raise RetryableError("the body is longer than announced", reason="bad-range")
        if self._order.expected_size is None:
            raise CloudError(
                f"a file of more than {limit} bytes is no image for this board", reason="too-large"
            )
        raise CloudError(f"the image has more than the {limit} bytes that are expected", reason="wrong-size")

    def _past_end(self, ask: Ask, size_bytes: int | None) -> None:
        """416: complete if this is just the end, else something is wrong with what we believe."""
        arrival = self._arrival
        trusted = (arrival.confirmed and arrival.part.facts.etag) or self._order.expected_sha256
        if size_bytes == ask.start == arrival.received_bytes and (trusted or size_bytes == 0):
            arrival.confirm(PartFacts(arrival.part.facts.etag, size_bytes))
        elif ask.start == 0:
            self._go_whole("416 for the first byte")
        else:
            self._restart()

    def _restart(self) -> None:
        self._left_restarts -= 1
        if self._left_restarts < 0:
            raise CloudError(
                "the image on the server changes again and again while it is downloaded",
                reason="changed-on-server",
                hint="Give every build a file name of its own.",
            )
        _log.warning("the image on the server is not the one that the download began with; starting again")
        self._ended = False
        self._arrival.restart()

    def _go_whole(self, why: str) -> None:
        if self._whole:
            raise RetryableError(f"the image server's answer makes no sense: {why}", reason="bad-range")
        _log.info("asking for the whole image: %s", why)
        self._whole = True
        self._patience.count_retry()

    def _refresh(self, status: int) -> None:
        """Never trust a presigned URL twice: ask for a fresh one."""
        if self._order.refresh_url is None or self._left_refreshes == 0:
            raise CloudError(
                f"the image server denies the image at {redact_url(self._url)}: HTTP {status}",
                reason=f"http-{status}",
                offset=self._arrival.received_bytes,
                hint="Has the URL expired, or does the server want a client certificate?",
            )
        self._left_refreshes -= 1
        _log.info("HTTP %d: asking for a fresh URL", status)
        self._patience.count_retry()
        self._url = self._order.refresh_url()

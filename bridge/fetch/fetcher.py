"""The thread's work: ask, judge, store, and when something goes wrong try again as long as it makes sense."""

import logging
from pathlib import Path

from bridge.clock import Event
from bridge.errors import CloudError, ImageRefusedError
from bridge.fetch.answer import Ask, Body, Changed, Denied, Later, PastEnd, RangesUnusable, Redirect
from bridge.fetch.arrival import Arrival
from bridge.fetch.cache import ImageCache
from bridge.fetch.failure import RetryableError
from bridge.fetch.options import Clock, DownloadOptions
from bridge.fetch.part_file import PartFacts
from bridge.fetch.patience import Patience
from bridge.fetch.question import Question, next_question
from bridge.fetch.redact import redact_url
from bridge.fetch.store import ImageStore, Order
from bridge.fetch.web import Web, WebAnswer

_log = logging.getLogger(__name__)


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
        client: Web,
        *,
        closed: Event,
        options: DownloadOptions,
        clock: Clock,
    ) -> None:
        self._order = order
        self._arrival = arrival
        self._cache_dir = cache_dir
        self._store: ImageStore
        self._client = client
        self._closed = closed
        self._options = options
        self._patience = Patience(options, clock, closed)
        self._url = order.url
        self._whole = False
        self._answers = 0
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
            store = self._store = ImageStore(self._order, self._arrival, cache)
            if store.take_finished():
                return
            store.open_part()
            self._fetch()
            if not store.has_right_digest() and (store.inherited or self._answers > 1):
                # Put together from several answers: perhaps it is not the server that is wrong.
                _log.warning("the image's SHA-256 is wrong; fetching it once more, in one piece")
                self._whole = True
                self._restart()
                self._fetch()
            store.finish()

    def _fetch(self) -> None:
        while not self._is_whole():
            self._step()
        self._store.check_size(self._arrival.received_bytes)

    def _is_whole(self) -> bool:
        size_bytes = self._arrival.size_bytes
        return self._ended or (self._arrival.confirmed and self._arrival.received_bytes == size_bytes)

    def _step(self) -> None:
        """One request, and what its failure asks for."""
        if self._closed.is_set():
            raise CloudError("the download was closed", reason="closed")
        try:
            self._request()
        except RetryableError as error:
            _log.info("%s; %d bytes are here", error, self._arrival.received_bytes)
            failure = error
        else:
            return
        self._patience.pause_or_give_up(failure, self._arrival.received_bytes)

    def _request(self) -> None:
        question = self._question()
        with self._client.get(self._url, question, self._patience.timeouts_s()) as answer:
            match answer.verdict:
                case Body() as body:
                    self._take(answer, body)
                case Changed():
                    self._restart()
                case RangesUnusable(why):
                    self._go_whole(why)
                case PastEnd(size_bytes):
                    self._past_end(question.ask, size_bytes)
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

    def _question(self) -> Question:
        arrival = self._arrival
        return next_question(
            arrival.part.facts,
            arrival.received_bytes,
            confirmed=arrival.confirmed,
            whole=self._whole,
            fragment_bytes=self._options.fragment_bytes,
            expected_size=self._order.expected_size,
            max_size_bytes=self._options.max_size_bytes,
        )

    def _take(self, answer: WebAnswer, body: Body) -> None:
        arrival = self._arrival
        self._refuse_unknown_end(answer, body)
        if arrival.received_bytes and not self._continues(body):
            self._restart()
            if body.start > 0:
                return
        facts = PartFacts(body.etag, body.size_bytes)
        if body.start > 0 and body.etag is None:
            facts = PartFacts(arrival.part.facts.etag, body.size_bytes)
        if arrival.received_bytes == 0 and self._store.take_object(facts):
            return
        if facts.size_bytes is not None:
            arrival.part.check_room(facts.size_bytes)  # before anybody sends the first bytes to a board
        arrival.confirm(facts)
        end = self._receive(answer, body)
        if body.size_bytes is None:
            self._end_at(end)
        elif not self._is_whole() and facts.etag is None and self._order.expected_sha256 is None:
            self._go_whole("no strong ETag holds the ranges together")

    def _refuse_unknown_end(self, answer: WebAnswer, body: Body) -> None:
        told = body.length is not None or not answer.ends_with_connection
        if not told and self._order.expected_size is None and not self._order.expected_sha256:
            raise CloudError(
                "the image server tells neither length nor end of the image, so that a lost connection looks complete",
                reason="no-length",
                hint="Name size or sha256 in the job document.",
            )

    def _continues(self, body: Body) -> bool:
        """Whether the body can belong to the object whose first bytes are here.

        Within one run a missing ETag is forgiven: a range was asked for with ``If-Match``, and a whole file is compared.
        """
        facts, received_bytes = self._arrival.part.facts, self._arrival.received_bytes
        if self._arrival.confirmed:
            etag_fits = body.etag is None or facts.etag in {None, body.etag}
        else:
            etag_fits = body.etag is not None and body.etag == facts.etag
            etag_fits = etag_fits or (body.start > 0 and self._order.expected_sha256 is not None)
        size_fits = body.size_bytes is None or (
            facts.size_bytes in {None, body.size_bytes} and body.size_bytes >= received_bytes
        )
        return etag_fits and size_fits

    def _receive(self, answer: WebAnswer, body: Body) -> int:
        """Store a body; gives the offset behind it."""
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
        return offset

    def _end_at(self, end: int) -> None:
        """A body without a length ended, and so does the file."""
        if end < self._arrival.received_bytes:
            self._restart()  # more had come before: it became shorter
        else:
            self._ended = True

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
            raise ImageRefusedError(
                f"the file has more than the {limit} bytes that are allowed", reason="too-large"
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

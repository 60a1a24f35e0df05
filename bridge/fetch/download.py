"""An image that is being downloaded: readable from its first byte on, while the rest is still coming.

Sources: RFC 9110 (semantics) and 9112 (HTTP/1.1); what users of Nordic's download library suffer from is a list of what not to
do: no resume after a restart, endless 416, no redirects, lengths limited, 200 refused.
"""

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bridge.clock import event, thread
from bridge.errors import BridgeError, ImageRefusedError, UsageError
from bridge.fetch.arrival import Arrival
from bridge.fetch.fetcher import Fetcher
from bridge.fetch.hosts import HostRules
from bridge.fetch.http_client import HttpClient
from bridge.fetch.options import Clock, DownloadOptions, MonotonicClock
from bridge.fetch.redact import redact_url
from bridge.fetch.store import Order
from bridge.fetch.web import Web
from bridge.image.names import file_name

_log = logging.getLogger(__name__)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CLOSE_TIMEOUT_S: Final = 2.0
"""A thread that resolves a name or waits for a TCP handshake cannot be interrupted; it ends by itself."""


@dataclass(frozen=True)
class DownloadProgress:
    """Where a download is.

    Attributes:
        received_bytes: Bytes that are here.
        total_bytes: Size of the image, once known.
        retries: How often something had to be asked for again.
    """

    received_bytes: int
    total_bytes: int | None
    retries: int


class Download:
    """A download as an :class:`~bridge.image.ImageSource`; one background thread fetches, any number of threads read.

    Files are kept in a cache: a complete image under its content, an unfinished one to be continued by the next download
    of the same digest or place, also by another process and with a newly signed URL.

    Args:
        url: What to fetch; http or https, of any length.
        cache_dir: Where files are kept.
        expected_size: Size in bytes that the image must have.
        expected_sha256: Digest (hex) that it must have; a file in the cache that has it is used without any request.
        ca_file: Authority that the server's certificate must come from (PEM); None for the system's.
        client_cert: Certificate and key (PEM), for servers that want one; shown to the URL's host only.
        refresh_url: Called in the background thread for a fresh URL when the server says 400, 401 or 403; may raise.
        rules: From where images may be fetched; by default over https, and not from private networks or this host.
        options: How patient it is.
        clock: Time and waiting; tests bring their own.
        web: Who sends the requests, instead of a client over HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        cache_dir: Path,
        expected_size: int | None = None,
        expected_sha256: str | None = None,
        ca_file: Path | None = None,
        client_cert: tuple[Path, Path] | None = None,
        refresh_url: Callable[[], str] | None = None,
        rules: HostRules | None = None,
        options: DownloadOptions | None = None,
        clock: Clock | None = None,
        web: Web | None = None,
    ) -> None:
        sha256 = expected_sha256.strip().lower() if expected_sha256 else None
        self._options = options = options or DownloadOptions()
        self._rules = rules = rules or HostRules()
        self._order = Order(url, expected_size, sha256, refresh_url)
        self._closed = event()
        self._arrival = Arrival()
        self._client = web or HttpClient(ca_file, client_cert, rules=rules, max_redirects=options.redirects)
        self._fetcher = Fetcher(
            self._order,
            self._arrival,
            cache_dir,
            self._client,
            closed=self._closed,
            options=options,
            clock=clock or MonotonicClock(),
        )
        self._thread = thread(self._run, "download")
        self._fetching: int | None = None

    @property
    def name(self) -> str:
        """Last part of the URL's path."""
        return file_name(self._order.url)

    @property
    def expected_sha256(self) -> str | None:
        """The digest that was ordered, if one was."""
        return self._order.expected_sha256

    @property
    def progress(self) -> DownloadProgress:
        """Where it is now."""
        arrival = self._arrival
        return DownloadProgress(arrival.received_bytes, arrival.size_bytes, self._fetcher.retries)

    @property
    def generation(self) -> int:
        """Counts up when bytes that were read became void (see :class:`~bridge.fetch.SourceRestartedError`)."""
        return self._arrival.generation

    def start(self) -> None:
        """Begin to fetch; everything that goes wrong is raised by the methods that wait."""
        self._thread.start()

    def wait_size(self) -> int:
        """Block until the total size is known, in bytes; for an answer without a length this is its end.

        Raises:
            SourceRestartedError: See :meth:`read`.
            BridgeError: The download failed.
        """
        return self._arrival.wait_size()

    def read(self, offset: int, size: int) -> bytes:
        """Block until the bytes are here; fewer only at the end of the image, none at or past it.

        Raises:
            SourceRestartedError: The image changed on the server after some of it had been given out. Raised once;
                the new image follows.
            CloudError: The download failed: reasons ``http-404`` and the like, ``truncated``, ``stalled``,
                ``connection-lost``, ``unreachable``, ``tls``, ``wrong-size``, ``wrong-sha256``, ``bad-range``,
                ``bad-redirect``, ``insecure-redirect``, ``too-many-redirects``,
                ``content-encoding``, ``no-length``, ``changed-on-server``, ``timeout``, ``closed``.
            ImageRefusedError: It may not be fetched: ``bad-url``, ``scheme-refused``, ``host-refused``,
                ``address-refused``, ``too-large``.
            BenchError: The disk: ``no-space``, ``cache-unusable``.
            UsageError: ``bad-ca-file``, ``bad-client-certificate``, ``bad-proxy``, ``bad-sha256``.
            BridgeError: What ``refresh_url`` raised.
        """
        return self._arrival.read(offset, size)

    def wait_complete(self) -> None:
        """Block until all bytes are here, and size and digest are found as expected.

        Raises:
            BridgeError: As :meth:`read`.
        """
        self._arrival.wait_complete()

    def interrupt(self) -> None:
        """See :class:`~bridge.image.source.InterruptibleSource`."""
        if not self._arrival.is_complete:
            self.close()

    def close(self) -> None:
        """Stop at once, also in the middle of a silence; what is unfinished stays in the cache. May be called twice."""
        self._closed.set()
        self._client.cut()
        if self._thread.is_alive() and threading.get_ident() != self._fetching:
            self._thread.join(_CLOSE_TIMEOUT_S)
        self._arrival.close()
        if not self._thread.is_alive():
            self._client.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        self._fetching = threading.get_ident()
        shown = redact_url(self._order.url)
        _log.info("downloading %s", shown)
        try:
            self._check()
            self._fetcher.run()
        except BridgeError as error:
            _log.info("the download of %s failed: %s", shown, error.message)
            self._arrival.fail(error)
        except Exception as error:  # noqa: BLE001 - readers would wait for ever for a thread that died
            # Neither its text nor a traceback: they may quote the URL.
            _log.error("the download of %s broke: %s", shown, type(error).__name__)
            self._arrival.fail(BridgeError(f"the download broke: {type(error).__name__}", reason="internal"))
        else:
            _log.info("downloaded %s: %s", shown, self.progress)
        finally:
            self._client.close()

    def _check(self) -> None:
        # Before a look into the cache, so that it does not depend on what happens to be there.
        self._rules.check_url(self._order.url)
        size_bytes, limit_bytes = self._order.expected_size, self._options.max_size_bytes
        if size_bytes is not None and size_bytes > limit_bytes:
            raise ImageRefusedError(
                f"the image is said to have {size_bytes} bytes; at most {limit_bytes} are allowed",
                reason="too-large",
            )
        sha256 = self._order.expected_sha256
        if sha256 is not None and not _SHA256.fullmatch(sha256):  # it becomes part of a file name
            raise UsageError("the expected SHA-256 is not 64 hexadecimal digits", reason="bad-sha256")
        self._client.check()

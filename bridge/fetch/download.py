"""An image that is being downloaded: readable from its first byte on, while the rest is still coming.

One thread fetches piece by piece into a file; readers wait on a condition. Sources: RFC 9110; what users of Nordic's download
library complain about (no resume after a reboot, endless 416, no redirects, short URLs).
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter

from bridge.errors import BridgeError, CloudError
from bridge.fetch.answers import (
    REDIRECTS,
    ChangedError,
    Piece,
    TryAgainError,
    check_encoding,
    read_partial,
    read_whole,
    redirect_target,
    refusal,
    size_in_refusal,
)
from bridge.fetch.cache import PartialFile
from bridge.fetch.patience import DownloadOptions, Patience
from bridge.fetch.redact import hide_queries_in_logs, redact_url
from bridge.fetch.translation import Translation

_log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 32 * 1024
_MAX_REDIRECTS: Final = 10
_MAX_URL_REFRESHES: Final = 2
_MAX_RESTARTS: Final = 3


class Download:
    """A download as an :class:`~bridge.image.ImageSource`.

    Between the pieces of one run the object is pinned with ``If-Match``: a server that has another one by now answers 412. A
    partial file of an earlier run is continued with ``If-Range``, so that a file that changed meanwhile comes whole in the same
    answer. Servers without strong ETags are held to size and, where there is one, to ``Last-Modified``.

    Args:
        url: What to fetch; http or https, of any length.
        cache_dir: Where files live, finished and unfinished.
        expected_size: Size in bytes that the file must have.
        expected_sha256: Digest in hex that it must have; a finished file in the cache is used without asking.
        ca_file: Authority that signed the server's certificate; None for the system's.
        client_cert: Certificate and key files, for servers that want one.
        refresh_url: Gives a freshly signed URL when the server says 401 or 403.
        options: How patient it is.
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
        options: DownloadOptions | None = None,
    ) -> None:
        self._url = url
        self._cache_dir = cache_dir
        self._expected_size = expected_size
        self._expected_sha256 = expected_sha256.lower() if expected_sha256 else None
        self._verify: bool | str = True if ca_file is None else str(ca_file)
        self._cert = None if client_cert is None else (str(client_cert[0]), str(client_cert[1]))
        self._refresh_url = refresh_url
        self._options = options or DownloadOptions()
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._file: PartialFile | None = None
        self._total_bytes: int | None = None
        self._consumed_bytes = 0
        self._complete = False
        self._error: BridgeError | None = None
        self._answer: requests.Response | None = None
        self._resuming = False
        self._retries = 0
        self._thread = threading.Thread(target=self._run, name="download", daemon=True)

    @property
    def name(self) -> str:
        """Last part of the URL's path."""
        return unquote(urlsplit(self._url).path.rpartition("/")[2])

    @property
    def received_bytes(self) -> int:
        """Bytes that are here."""
        return self._file.received_bytes if self._file is not None else 0

    @property
    def retries(self) -> int:
        """How often something had to be asked for again."""
        return self._retries

    def start(self) -> None:
        """Begin to fetch."""
        hide_queries_in_logs()
        self._thread.start()

    def wait_size(self) -> int:
        """Block until the total size is known, in bytes.

        Raises:
            CloudError: The download failed.
        """
        with self._news:
            self._news.wait_for(lambda: self._total_bytes is not None or self._error is not None)
            if self._total_bytes is None:
                self._raise_error()
            assert self._total_bytes is not None
            return self._total_bytes

    def read(self, offset: int, size: int) -> bytes:
        """Block until the bytes are here; fewer only at the end of the file.

        Raises:
            CloudError: The download failed before they came.
        """
        with self._news:
            self._news.wait_for(
                lambda: self.received_bytes >= offset + size or self._complete or self._error is not None
            )
            if self.received_bytes < offset + size and not self._complete:
                self._raise_error()
            assert self._file is not None
            data = self._file.read(offset, min(size, max(0, self.received_bytes - offset)))
            self._consumed_bytes = max(self._consumed_bytes, offset + len(data))
            return data

    def wait_complete(self) -> None:
        """Block until all bytes are here and size and digest are as expected.

        Raises:
            CloudError: The download failed (reasons ``wrong-size``, ``wrong-sha256``, ``truncated``, ...).
        """
        with self._news:
            self._news.wait_for(lambda: self._complete or self._error is not None)
            if not self._complete:
                self._raise_error()

    def close(self) -> None:
        """Stop; an unfinished file stays in the cache. May be called twice."""
        self._closed.set()
        answer = self._answer
        if answer is not None:
            try:
                answer.raw.shutdown()
            except (ValueError, OSError, RuntimeError) as error:
                _log.debug("nothing to interrupt: %s", error)
        if self._thread.is_alive():
            self._thread.join()
        if self._file is not None:
            self._file.close()

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._file = PartialFile(self._cache_dir, self._url, self._expected_sha256)
            self._resuming = self._file.received_bytes > 0
            with requests.Session() as session:
                # One loop of our own decides about retries; two would multiply.
                session.mount("https://", HTTPAdapter(max_retries=0))
                session.mount("http://", HTTPAdapter(max_retries=0))
                self._fetch_all(session, self._file)
            self._finish(self._file)
        except BridgeError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a reader must never wait for a thread that died
            self._fail(CloudError(f"the download broke: {type(error).__name__}", reason="internal"))
            _log.exception("download of %s", redact_url(self._url))

    def _fail(self, error: BridgeError) -> None:
        with self._news:
            self._error = error
            self._news.notify_all()

    def _raise_error(self) -> None:
        """Raise a copy: several readers may raise it, and each adds its own stage."""
        error = self._error
        assert error is not None
        raise type(error)(error.message, reason=error.reason, offset=error.offset, hint=error.hint) from error

    def _fetch_all(self, session: requests.Session, file: PartialFile) -> None:
        patience = Patience(self._options)
        refreshes = restarts = 0
        while file.identity.size_bytes is None or file.received_bytes < file.identity.size_bytes:
            before = file.received_bytes
            try:
                if self._fetch_piece(session, file):
                    break
            except TryAgainError as error:
                self._retries += 1
                _log.info("%s; asking again for what is missing", error.message)
                if file.received_bytes > before:
                    patience.renew()
                patience.wait(error, self._closed)
            except ChangedError:
                restarts += 1
                self._restart(file, restarts)
            except CloudError as error:
                refreshes += 1
                if not self._refresh(error, refreshes):
                    raise
            else:
                patience.renew()
            if self._closed.is_set():
                raise CloudError("the download was stopped", reason="stopped")

    def _refresh(self, error: CloudError, times: int) -> bool:
        """Get a freshly signed URL when the old one is not accepted."""
        if (
            error.reason not in ("http-401", "http-403")
            or self._refresh_url is None
            or times > _MAX_URL_REFRESHES
        ):
            return False
        self._url = self._refresh_url()
        return True

    def _restart(self, file: PartialFile, times: int) -> None:
        with self._news:
            if self._consumed_bytes or times > _MAX_RESTARTS:
                raise CloudError(
                    "the file on the server changed while it was being downloaded",
                    reason="changed-on-server",
                    offset=self._consumed_bytes,
                    hint="Publish firmware under a name of its own for each version.",
                )
            file.restart()
            self._total_bytes = None

    def _fetch_piece(self, session: requests.Session, file: PartialFile) -> bool:
        """Ask for the next piece and store it.

        Returns:
            Whether the file is complete although its size was not known before.
        """
        start = file.received_bytes
        end = start + self._options.fragment_bytes - 1
        with Translation(self._url), self._request(session, self._headers(file, start, end)) as answer:
            self._answer = answer
            try:
                if answer.status_code == 416:
                    return self._end_at(file, answer)
                piece = self._judge(answer, file, start, end)
                self._learn(file, piece)
                self._store(answer, piece, file)
            finally:
                self._answer = None
        if piece.identity.size_bytes is None:
            self._learn(
                file, replace(piece, identity=replace(piece.identity, size_bytes=file.received_bytes))
            )
            return True
        return False

    def _headers(self, file: PartialFile, start: int, end: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{end}"}
        identity = file.identity
        if start and self._resuming and (validator := identity.etag or identity.last_modified):
            headers["If-Range"] = validator
        elif start and identity.etag:
            headers["If-Match"] = identity.etag
        return headers

    def _request(self, session: requests.Session, headers: dict[str, str]) -> requests.Response:
        url = self._url
        for _ in range(_MAX_REDIRECTS + 1):
            answer = session.get(
                url,
                headers=headers,
                stream=True,
                allow_redirects=False,
                # Given with each request, because REQUESTS_CA_BUNDLE overrides the session's setting.
                verify=self._verify,
                cert=self._cert,
                timeout=(self._options.connect_timeout_s, self._options.read_timeout_s),
            )
            if answer.status_code not in REDIRECTS:
                return answer
            answer.close()
            url = redirect_target(url, answer)
        raise CloudError(f"{redact_url(self._url)} redirects too often", reason="bad-redirect")

    def _judge(self, answer: requests.Response, file: PartialFile, start: int, end: int) -> Piece:
        if answer.status_code == 412:
            raise ChangedError("the file on the server changed while it was being downloaded")
        if answer.status_code not in (200, 206):
            raise refusal(self._url, answer)
        check_encoding(answer)
        self._resuming = False
        if answer.status_code == 206:
            return read_partial(answer, start, end, file.identity)
        return read_whole(answer)

    def _end_at(self, file: PartialFile, answer: requests.Response) -> bool:
        """A 416: what is asked for is past the end; either everything is here, or it is another file."""
        size_bytes = size_in_refusal(answer)
        if size_bytes is not None and size_bytes == file.received_bytes > 0:
            self._learn(file, Piece(0, size_bytes, replace(file.identity, size_bytes=size_bytes)))
            return True
        if file.received_bytes == 0:
            raise CloudError(f"{redact_url(self._url)} is empty", reason="wrong-size")
        raise ChangedError("the file on the server changed while it was being downloaded")

    def _learn(self, file: PartialFile, piece: Piece) -> None:
        size_bytes = piece.identity.size_bytes
        if size_bytes is not None and self._expected_size not in (None, size_bytes):
            raise CloudError(
                f"{self.name} has {size_bytes} bytes, but {self._expected_size} are expected",
                reason="wrong-size",
                hint="Correct the size in the job document, or publish the right file.",
            )
        file.remember(piece.identity)
        with self._news:
            self._total_bytes = size_bytes
            self._news.notify_all()

    def _store(self, answer: requests.Response, piece: Piece, file: PartialFile) -> None:
        offset = piece.offset
        for block in answer.iter_content(_BLOCK_BYTES):
            self._take(file, offset, block)
            offset += len(block)
            if self._closed.is_set():
                raise CloudError("the download was stopped", reason="stopped")
        if piece.length_bytes is not None and offset - piece.offset != piece.length_bytes:
            raise TryAgainError(
                f"the body ends after {offset - piece.offset} of {piece.length_bytes} bytes",
                reason="truncated",
            )

    def _take(self, file: PartialFile, offset: int, block: bytes) -> None:
        """Store a block; where bytes are here already (the server sent the whole file), they must be the same."""
        overlap = file.read(offset, min(len(block), max(0, file.received_bytes - offset)))
        if overlap != block[: len(overlap)]:
            raise ChangedError("the file on the server changed while it was being downloaded")
        if len(overlap) < len(block):
            with self._news:
                file.write(offset + len(overlap), block[len(overlap) :])
                self._news.notify_all()

    def _finish(self, file: PartialFile) -> None:
        sha256 = file.sha256()
        if self._expected_sha256 not in (None, sha256):
            file.discard()
            raise CloudError(
                f"{self.name} has SHA-256 {sha256}, but {self._expected_sha256} is expected",
                reason="wrong-sha256",
                hint="Correct the job document, or publish the right file.",
            )
        self._learn(file, Piece(0, None, replace(file.identity, size_bytes=file.received_bytes)))
        file.publish(sha256)
        with self._news:
            self._complete = True
            self._news.notify_all()

"""One HTTP session of a download: requests sent, redirects followed, bodies streamed, and everything cut on demand.

What requests would do by itself and must not: take a CA from ``REQUESTS_CA_BUNDLE`` instead of ours (``verify`` is given
with each request), send ``~/.netrc`` passwords along with a presigned URL, keep cookies, follow redirects from https to
http, retry.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.exceptions import HTTPError

from bridge import __version__
from bridge.errors import CloudError, UsageError
from bridge.fetch.answer import Redirect, Verdict, read_answer
from bridge.fetch.cutter import CuttableAdapter, Cutter
from bridge.fetch.failure import translate
from bridge.fetch.hosts import HostRules
from bridge.fetch.question import Question
from bridge.fetch.redact import hide_queries_in_logs
from bridge.secret_files import warn_if_open_to_others

READ_BYTES: Final = 64 * 1024
_HEADERS: Final = {
    "Accept-Encoding": "identity",
    "Accept": "*/*",
    "User-Agent": f"nrf91-bridge/{__version__}",
}


class Answer:
    """An answer whose body can be read.

    Attributes:
        verdict: What its head means.
        url: The URL that answered, after redirects.
    """

    def __init__(self, response: requests.Response, verdict: Verdict, url: str) -> None:
        self._response = response
        self.verdict = verdict
        self.url = url

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the connection's end will end the body, which is no proof that it is complete."""
        headers = self._response.headers
        return (
            "Content-Length" not in headers and "chunked" not in headers.get("Transfer-Encoding", "").lower()
        )

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, at most 64 KiB at a time.

        Raises:
            RetryableError: The connection was lost, the server fell silent or sent too little.
            CloudError: TLS failed for good.
        """
        while data := self._read():
            yield data

    def _read(self) -> bytes:
        try:
            return self._response.raw.read1(READ_BYTES, decode_content=False) or b""
        except (HTTPError, OSError, ValueError) as error:
            failure = translate(error)
        raise failure


class HttpClient:
    """Sends range requests; for one thread, except :meth:`cut`.

    Args:
        ca_file: Authority that the server's certificate must come from; None for the system's.
        client_cert: Certificate and key files; shown to the host of the first URL only.
        rules: From where images may be fetched; kept on each request and each connection.
        max_redirects: Redirects to follow for one request.
    """

    def __init__(
        self,
        ca_file: Path | None,
        client_cert: tuple[Path, Path] | None,
        *,
        rules: HostRules,
        max_redirects: int,
    ) -> None:
        self._ca_file = ca_file
        self._verify: str | bool = True if ca_file is None else str(ca_file)
        self._client_cert = client_cert
        self._max_redirects = max_redirects
        self._cutter = Cutter()
        self._session = requests.Session()
        self._session.headers.clear()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, CuttableAdapter(self._cutter, rules))
        hide_queries_in_logs()

    def check(self) -> None:
        """Read certificates and key once, for an error that names the file.

        Raises:
            UsageError: One of them cannot be used.
        """
        check_tls_files(self._ca_file, self._client_cert)

    def cut(self) -> None:
        """End the request in progress and all to come; from any thread."""
        self._cutter.cut()

    def close(self) -> None:
        """Close kept connections."""
        self._session.close()

    @contextmanager
    def get(self, url: str, question: Question, timeouts_s: tuple[float, float]) -> Iterator[Answer]:
        """Ask for bytes, following redirects.

        Args:
            url: Where.
            question: What; its headers are sent to every host on the way.
            timeouts_s: For connecting, and for silence.

        Raises:
            RetryableError: See :meth:`Answer.chunks`.
            CloudError: The answer is final and bad (see :func:`~bridge.fetch.answer.read_answer`), too many or
                insecure redirects.
            ImageRefusedError: The rules do not allow the URL, or one that it redirects to.
        """
        first_host = urlsplit(url).hostname
        for _ in range(self._max_redirects + 1):
            shown = self._client_cert if urlsplit(url).hostname == first_host else None
            response = self._send(url, question.headers, shown, timeouts_s)
            try:
                verdict = read_answer(response.status_code, response.headers, question.ask, question.known)
                if not isinstance(verdict, Redirect):
                    yield Answer(response, verdict, url)
                    return
            finally:
                response.close()
            url = redirected(url, verdict.location)
        raise CloudError(
            f"the image server redirects more than {self._max_redirects} times", reason="too-many-redirects"
        )

    def _send(
        self,
        url: str,
        headers: Mapping[str, str],
        client_cert: tuple[Path, Path] | None,
        timeouts_s: tuple[float, float],
    ) -> requests.Response:
        try:
            return self._session.get(
                url,
                headers={**_HEADERS, **headers},
                auth=_own_auth(url),
                verify=self._verify,
                cert=None if client_cert is None else (str(client_cert[0]), str(client_cert[1])),
                timeout=timeouts_s,
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            failure = translate(error)
        raise failure


def check_tls_files(ca_file: Path | None, client_cert: tuple[Path, Path] | None) -> None:
    """Read certificates and key once, for an error that names the file.

    Raises:
        UsageError: One of them cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(
            f"{ca_file} holds no usable CA certificate: {error}", reason="bad-ca-file"
        ) from error
    if client_cert is None:
        return
    warn_if_open_to_others(client_cert[1])
    try:
        # An encrypted key fails, where OpenSSL would ask for its password on the terminal.
        context.load_cert_chain(client_cert[0], client_cert[1], password=lambda: b"")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{client_cert[0]} and {client_cert[1]} are no usable client certificate and key: {error}",
            reason="bad-client-certificate",
            hint="Both must be PEM files that belong together; the key must not be encrypted.",
        ) from error


def redirected(url: str, location: str) -> str:
    """Where a redirect leads; relative ones are resolved.

    Raises:
        CloudError: To no web address, or from https to http.
    """
    try:
        target = urljoin(url, location.encode("latin-1", "replace").decode("utf-8", "replace"))
        parts = urlsplit(target)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CloudError(
            "the image server redirects to something that is no web address", reason="bad-redirect"
        )
    if urlsplit(url).scheme == "https" and parts.scheme != "https":
        raise CloudError(
            f"the image server redirects from https to http on {parts.hostname}",
            reason="insecure-redirect",
            hint="Use an https URL for the image, or name its final place in the job document.",
        )
    return target


class _NoAuth(AuthBase):
    """Keeps requests from looking into ``~/.netrc``: S3 refuses a presigned URL that comes with a password."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _own_auth(url: str) -> AuthBase:
    user, password = get_auth_from_url(url)
    return HTTPBasicAuth(user, password) if user else _NoAuth()

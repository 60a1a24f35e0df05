"""One request over HTTPS with our certificate, one answer; through the environment's proxy, if it names one."""

import ssl
import urllib.request
from collections.abc import Callable
from typing import Final

import urllib3
import urllib3.exceptions as http_errors

from bridge.cloud.endpoint import ALPN_HTTPS, Endpoint, make_tls_context
from bridge.cloud.jobs_https_codec import HttpsAnswer, HttpsRequest
from bridge.errors import UsageError

_TIMEOUT: Final = urllib3.Timeout(connect=10.0, read=20.0)
_MAX_ANSWER_BYTES: Final = 256 * 1024
"""A job document has at most 32 KiB."""
_HEADERS: Final = {"accept-encoding": "identity", "content-type": "application/json"}


class HttpsWeb:
    """Asks one host. Thread-safe.

    Args:
        endpoint: The host, and our certificate.
        on_tls_error: Told TLS errors that come after the handshake.

    Raises:
        UsageError: A certificate file, or the proxy in the environment, cannot be used.
    """

    def __init__(self, endpoint: Endpoint, on_tls_error: Callable[[ssl.SSLError], None]) -> None:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self._base_url = f"https://{host}:{endpoint.port}"
        context = make_tls_context(endpoint, on_tls_error, protocol=ALPN_HTTPS)
        self._pool = _make_pool(endpoint.host, context)

    def ask(self, request: HttpsRequest) -> HttpsAnswer:
        """Send a request and read its answer.

        Raises:
            OSError: There is none; ``ssl.SSLError`` when TLS is why. Its text is fit for a sentence.
        """
        try:
            return self._ask(request)
        except http_errors.HTTPError as error:
            raise _plain(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _ask(self, request: HttpsRequest) -> HttpsAnswer:
        answer = self._pool.request(
            request.method,
            self._base_url + request.target,
            body=request.body,
            headers=_HEADERS,
            preload_content=False,
            redirect=False,
            retries=False,
            timeout=_TIMEOUT,
        )
        with answer:
            content = answer.read(_MAX_ANSWER_BYTES)
            answer.drain_conn()
        return HttpsAnswer(answer.status, answer.headers.get("x-amzn-errortype", ""), content)


def _make_pool(host: str, context: ssl.SSLContext) -> urllib3.PoolManager:
    proxy = urllib.request.getproxies().get("https")
    if not proxy or urllib.request.proxy_bypass(host):
        return urllib3.PoolManager(ssl_context=context, maxsize=4)
    try:
        return urllib3.ProxyManager(proxy, ssl_context=context, maxsize=4)
    except (AssertionError, ValueError) as error:  # what urllib3 raises for schemes that it does not know
        raise UsageError(
            "the proxy's URL in the environment cannot be used",
            reason="bad-proxy",
            hint="Correct HTTPS_PROXY.",
        ) from error


def _plain(error: http_errors.HTTPError) -> OSError:
    """The error below the library's, whose own texts begin with the address of an object."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and not isinstance(seen, http_errors.HTTPError):
            return seen
        inner = seen.args[-1] if seen.args and isinstance(seen.args[-1], BaseException) else None
        seen = inner or seen.__cause__ or seen.__context__
    if isinstance(error, http_errors.TimeoutError):
        return TimeoutError("it does not answer in time")
    return ConnectionError("it cannot be reached, or the connection was lost")

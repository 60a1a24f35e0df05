"""What can go wrong with one request, told apart by what to do about it; the edge where library exceptions end.

Texts of requests' and urllib3's exceptions quote the URL with its query, so none of them is passed on, and none of these
exceptions becomes a cause or context of ours.
"""

import ssl
from collections.abc import Iterator
from typing import Final, TypeAlias

from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors

from bridge.errors import BridgeError, CloudError, UsageError

_PERMANENT_TLS: Final = ("CERTIFICATE", "UNKNOWN_CA", "WRONG_VERSION_NUMBER")
_BAD_URL: Final = (
    requests_errors.InvalidURL,
    requests_errors.MissingSchema,
    requests_errors.InvalidSchema,
    urllib3_errors.LocationParseError,
)

_Kinds: TypeAlias = tuple[type[BaseException], ...]
_RETRYABLE: Final[tuple[tuple[_Kinds, str, str], ...]] = (
    ((urllib3_errors.NameResolutionError,), "unreachable", "the image server's name cannot be resolved"),
    (
        (urllib3_errors.ConnectTimeoutError, urllib3_errors.NewConnectionError),
        "unreachable",
        "the image server cannot be reached",
    ),
    ((urllib3_errors.ReadTimeoutError, TimeoutError), "stalled", "the image server fell silent"),
    ((urllib3_errors.ProxyError,), "proxy", "the proxy does not let us through"),
    ((urllib3_errors.IncompleteRead,), "truncated", "the image server sent less than it promised"),
)
"""In this order: a refused connection through a proxy, for example, is both unreachable and the proxy's."""


class RetryableError(Exception):
    """This try failed, another one may not.

    Attributes:
        reason: Code of the error that it becomes when the retries are used up.
        pause_s: What the server asked for; None for our own pause.
        hint: What a person can look at.
    """

    def __init__(
        self, message: str, *, reason: str, pause_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.pause_s = pause_s
        self.hint = hint


def translate(error: BaseException) -> BridgeError | RetryableError:
    """Our error for one of requests, urllib3, http.client or the socket."""
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and _is_permanent(cause):
            return _tls_error(cause)
    if isinstance(error, requests_errors.InvalidProxyURL):  # an InvalidURL too
        return UsageError("the proxy's URL in the environment cannot be used", reason="bad-proxy")
    if isinstance(error, _BAD_URL):
        return CloudError("the image's URL cannot be used", reason="bad-url")
    return _retryable(causes)


def _retryable(causes: list[BaseException]) -> RetryableError:
    for kinds, reason, message in _RETRYABLE:
        if any(isinstance(cause, kinds) for cause in causes):
            return RetryableError(message, reason=reason)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return RetryableError(f"TLS broke off ({_reason(cause) or 'no reason given'})", reason="tls")
    return RetryableError("the connection to the image server was lost", reason="connection-lost")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and everything inside it; requests puts urllib3's into ``args``, urllib3 into ``reason``."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        waiting.extend(each for each in inner if isinstance(each, BaseException))


def _is_permanent(error: ssl.SSLError) -> bool:
    """Certificate trouble stays; an EOF or a reset during TLS is an ``SSLError`` too, and may not."""
    reason = _reason(error)
    return isinstance(error, ssl.SSLCertVerificationError) or any(mark in reason for mark in _PERMANENT_TLS)


def _tls_error(error: ssl.SSLError) -> CloudError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return CloudError(
            "the image server's certificate is not accepted: "
            + str(getattr(error, "verify_message", "no reason given")),
            reason="tls",
            hint="Give the authority that signed it with --download-ca, and check host name and time of day.",
        )
    return CloudError(
        f"no TLS connection with the image server: {_reason(error)}",
        reason="tls",
        hint="Does the server want a client certificate, and does it speak TLS on this port?",
    )


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's word; an error that was not made by OpenSSL has none."""
    return str(getattr(error, "reason", None) or "")

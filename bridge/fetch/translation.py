"""What requests and urllib3 raise, turned into our errors; the one place for that."""

import ssl

import requests
import urllib3.exceptions

from bridge.errors import CloudError
from bridge.fetch.answers import TryAgainError
from bridge.fetch.redact import redact_url


class Translation:
    """Translates what leaves its block.

    Args:
        url: What is being fetched, for the messages.

    Raises:
        TryAgainError: Another attempt may succeed (``truncated``, ``stalled``, ``unreachable``).
        CloudError: It cannot (``tls``, ``bad-url``, ``bad-tls-file``).
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        match error:
            case requests.exceptions.SSLError() if _is_certificate_error(error):
                raise CloudError(
                    f"the certificate of {redact_url(self._url)} cannot be trusted",
                    reason="tls",
                    hint="Give the server's authority with --download-ca.",
                ) from error
            case requests.exceptions.ChunkedEncodingError():
                raise TryAgainError("the body ended too early", reason="truncated") from error
            case requests.exceptions.Timeout():
                raise TryAgainError("the server is silent", reason="stalled") from error
            case requests.exceptions.ConnectionError() if _is_read_timeout(error):
                raise TryAgainError("the server is silent", reason="stalled") from error
            case requests.exceptions.ConnectionError() | requests.exceptions.ContentDecodingError():
                raise TryAgainError(
                    f"no connection to {redact_url(self._url)}", reason="unreachable"
                ) from error
            case requests.exceptions.RequestException() | urllib3.exceptions.HTTPError() | ValueError():
                raise CloudError(f"{redact_url(self._url)} cannot be fetched", reason="bad-url") from error
            case OSError():
                raise CloudError(
                    f"{redact_url(self._url)} cannot be fetched: {error.strerror or error}",
                    reason="bad-tls-file",
                ) from error


def _is_certificate_error(error: BaseException) -> bool:
    """Whether trying again is useless; an EOF during the handshake is an SSLError too, and is not."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        reason = getattr(seen, "reason", None)
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        seen = reason if isinstance(reason, BaseException) else inner
    return False


def _is_read_timeout(error: BaseException) -> bool:
    return any(isinstance(arg, urllib3.exceptions.ReadTimeoutError) for arg in error.args)

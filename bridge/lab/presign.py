"""Who may read here: the key pair of this cloud, URLs that it signs, and the check of what others signed with it.

Unlike in most stand-ins, signatures are checked and URLs expire; a signature covers the method, so HEAD on a URL for GET fails,
as on S3.
"""

import secrets
import time
from collections.abc import Callable
from typing import Final

from starlette.requests import HTTPConnection

from bridge.lab.s3_signature import AccessKey, SignedRequest, check_signature, presign

REGION: Final = "us-east-1"
"""The one region of the local cloud."""


def new_access_key() -> AccessKey:
    """A key pair that nobody knows."""
    return AccessKey(f"AKIALOCAL{secrets.token_hex(5).upper()}", secrets.token_urlsafe(30))


class Presigner:
    """Signs URLs and checks requests, both with one key pair.

    Args:
        clock: Epoch seconds.
        key: The key pair; a new one by default.

    Attributes:
        key: The key pair.
    """

    def __init__(self, clock: Callable[[], float] = time.time, key: AccessKey | None = None) -> None:
        self._clock = clock
        self.key = key or new_access_key()

    def url(self, url: str, expires_s: int, *, method: str = "GET", age_s: float = 0.0) -> str:
        """A URL that opens what is behind another.

        Args:
            url: The bare URL.
            expires_s: Seconds that it shall live, counted from its signing.
            method: The only method it works with.
            age_s: Pretend that it was signed so long ago.
        """
        return presign(method, url, self.key, REGION, self._clock() - age_s, expires_s)

    def check(self, request: SignedRequest) -> str:
        """Check a request; see :func:`~bridge.lab.s3_signature.check_signature`.

        Raises:
            S3Error: It may not.
        """
        return check_signature(request, [self.key], REGION, self._clock())


def signed_request(connection: HTTPConnection) -> SignedRequest:
    """What of a request is signed, as it came over the wire."""
    scope = connection.scope
    return SignedRequest(
        scope["method"],
        scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0],
        scope["query_string"].decode("latin-1"),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
    )

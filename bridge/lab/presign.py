"""URLs that expire, in the style of S3's presigned ones; the signature is checked, unlike in most stand-ins.

Only the shape is S3's (``X-Amz-Date``, ``X-Amz-Expires``, ``X-Amz-Signature``; a signature covers the method). The signature is
an HMAC with a key that lives as long as the server.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

_DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"


class Presigner:
    """Signs and checks URLs.

    Args:
        clock: Epoch seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def query(self, path: str, expires_s: int, method: str = "GET") -> str:
        """The query string that makes a path readable for so many seconds."""
        date = datetime.fromtimestamp(self._clock(), UTC).strftime(_DATE_FORMAT)
        return urlencode(
            {
                "X-Amz-Date": date,
                "X-Amz-Expires": expires_s,
                "X-Amz-Signature": self._sign(method, path, date, str(expires_s)),
            }
        )

    def is_valid(self, path: str, query: Mapping[str, str], method: str) -> bool:
        """Whether a signed request is genuine and in time."""
        date, expires = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        expected = self._sign(method, path, date, expires)
        if not hmac.compare_digest(expected, query.get("X-Amz-Signature", "")):
            return False
        signed_at = datetime.strptime(date, _DATE_FORMAT).replace(tzinfo=UTC).timestamp()
        return self._clock() < signed_at + int(expires)

    def _sign(self, method: str, path: str, date: str, expires: str) -> str:
        text = f"{method}\n{path}\n{date}\n{expires}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

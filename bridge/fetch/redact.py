"""URLs without what must stay secret, and urllib3's log records without it, whoever uses this package.

urllib3 logs each request's path with its query at DEBUG. Its loggers keep their level, because that log is worth having on
a bench and is not ours to take away, but a filter on them removes the queries.
"""

import logging
from typing import Final
from urllib.parse import urlsplit

from bridge.redaction import FILTER, redact_text

__all__ = ["hide_queries_in_logs", "redact_text", "redact_url"]

_URLLIB3_LOGGERS: Final = tuple(
    f"urllib3.{module}"
    for module in ("connection", "connectionpool", "poolmanager", "response", "util.retry")
)


def redact_url(url: str) -> str:
    """A URL for people and logs: without user information, query and fragment.

    Returns:
        ``https://host:port/path``; for a text that is no URL, words that repeat none of it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable URL)"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else "(URL without a host)"


def hide_queries_in_logs() -> None:
    """Put the filter on urllib3's loggers; once is enough, more often does no harm."""
    for name in _URLLIB3_LOGGERS:
        logging.getLogger(name).addFilter(FILTER)

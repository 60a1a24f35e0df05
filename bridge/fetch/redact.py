"""URLs without what must stay secret: a presigned URL's query is a key, and so may be its user information.

urllib3 logs each request's path with its query at DEBUG. Its loggers keep their level, because that log is worth having on
a bench and is not ours to take away, but a filter on them removes the queries.
"""

import logging
import re
from typing import Final
from urllib.parse import urlsplit

_URLLIB3_LOGGERS: Final = tuple(
    f"urllib3.{module}"
    for module in ("connection", "connectionpool", "poolmanager", "response", "util.retry")
)
_QUERY: Final = re.compile(r"\?[^\s\"'<>]*")
_USER_INFORMATION: Final = re.compile(r"(?<=://)[^\s/@\"'<>]*@")
HIDDEN_QUERY: Final = "?..."


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


def redact_text(text: str) -> str:
    """Someone else's text that may quote URLs, without their queries and user information."""
    return _USER_INFORMATION.sub("", _QUERY.sub(HIDDEN_QUERY, text))


def hide_queries_in_logs() -> None:
    """Put the filter on urllib3's loggers; once is enough, more often does no harm."""
    for name in _URLLIB3_LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)


class _QueryFilter(logging.Filter):
    """Takes queries out of records on their way to the handlers."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact_text(record.getMessage()), ()
        return True


_FILTER: Final = _QueryFilter()

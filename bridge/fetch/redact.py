"""The one place where URLs lose their secrets before anybody sees them.

The query of a presigned URL is a credential; so are user name and password. urllib3 logs the path with its query at DEBUG
level: a filter on its logger cuts it off.
"""

import logging
from typing import Final
from urllib.parse import urlsplit, urlunsplit

_LOGGER: Final = "urllib3.connectionpool"


def redact_url(url: str) -> str:
    """A URL without query, fragment, user name and password; for messages and logs."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return "(unreadable URL)"


class _CutQueries(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and "?" in arg else arg for arg in record.args
            )
        return True


def hide_queries_in_logs() -> None:
    """Keep queries out of urllib3's log; may be called any number of times."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(each, _CutQueries) for each in logger.filters):
        logger.addFilter(_CutQueries())

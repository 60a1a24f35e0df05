"""What to ask next: which bytes, and under which condition.

``If-Match`` or ``If-Range`` (RFC 9110, 13.1): within one run each further range carries ``If-Match`` with the strong ETag,
because readers may have taken bytes already: a changed object must answer 412 and send nothing. A file that an earlier
process left is continued with ``If-Range``: nobody has read from it, so a changed object may as well come whole in the same
answer. Neither is trusted alone: aiohttp and moto ignore ``If-Range``, starlette ignores ``If-Match``; the ETag of each 206
is compared too. Without a strong ETag only a known SHA-256 makes it safe to put ranges together; else the file is asked for
whole, and bytes that are here already are compared with those that come again. There is no HEAD request: the method is part
of a presigned URL's signature.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.fetch.answer import Ask, Known
from bridge.fetch.part_file import PartFacts


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        ask: Which bytes.
        known: What the answer is judged by.
        headers: ``Range`` and the precondition.
    """

    ask: Ask
    known: Known
    headers: Mapping[str, str]


def next_question(
    facts: PartFacts,
    received_bytes: int,
    *,
    confirmed: bool,
    whole: bool,
    fragment_bytes: int,
    expected_size: int | None,
    max_size_bytes: int,
) -> Question:
    """The next request.

    Args:
        facts: What is known of the object whose first bytes are here.
        received_bytes: How many of them are here.
        confirmed: Whether the server confirmed in this run that they belong to the object it has.
        whole: Ask for the whole file, without a range.
        fragment_bytes: Most that a range asks for.
        expected_size: Size that the file must have.
        max_size_bytes: Most that it may have.
    """
    if received_bytes == 0:
        facts = PartFacts()
    known = Known(facts.etag, facts.size_bytes, expected_size, max_size_bytes)
    if whole:
        return Question(Ask(0, None), known, {})
    start = received_bytes
    if facts.size_bytes is not None and start >= facts.size_bytes > 0:
        start = facts.size_bytes - 1  # all is here, but not confirmed: one byte brings the ETag
    ask = Ask(start, start + fragment_bytes - 1)
    headers = {"Range": f"bytes={ask.start}-{ask.end}"}
    if facts.etag is not None:
        headers["If-Match" if confirmed else "If-Range"] = facts.etag
    return Question(ask, known, headers)

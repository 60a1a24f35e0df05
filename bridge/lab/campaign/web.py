"""The image server of a run, and the client that downloads from it: heads judged by the real rules, bodies in real time."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from bridge import clock
from bridge.errors import CloudError
from bridge.fetch.answer import Redirect, Verdict, read_answer
from bridge.fetch.failure import RetryableError
from bridge.fetch.question import Question
from bridge.lab.campaign.mishap import Mishap, MishapKind
from bridge.lab.campaign.timeline import Timeline

HOST: Final = "images.campaign.test"
_LATENCY_S: Final = 0.05
_CHUNK_BYTES: Final = 4096
_BYTES_PER_S: Final = 200_000
_URL_LIFE_S: Final = 900.0


class ImageServer:
    """Files behind signed URLs.

    Args:
        timeline: Gets notes.
        mishaps: Those that befall requests.

    Attributes:
        files: Name -> content.
        changed_to: What a file becomes when a mishap changes it.
        requests: How many requests there were.
    """

    def __init__(self, timeline: Timeline, mishaps: list[Mishap]) -> None:
        self.files: dict[str, bytes] = {}
        self.changed_to: dict[str, bytes] = {}
        self.requests = 0
        self.was_changed = False
        self._timeline = timeline
        self._mishaps = {mishap.where: mishap for mishap in mishaps}

    def sign(self, url: str, _lifetime_s: int) -> str:
        """A URL that opens for a while."""
        return f"{url}?until={clock.monotonic() + _URL_LIFE_S:.3f}"

    def no_more_mishaps(self) -> None:
        """From now on nothing goes wrong any more."""
        self._mishaps.clear()

    def next_mishap(self, name: str) -> Mishap | None:
        """What goes wrong with this request; the file may have changed by it."""
        self.requests += 1
        mishap = self._mishaps.pop(self.requests, None)
        if mishap is not None:
            self._timeline.note("fault", str(mishap))
            if mishap.kind is MishapKind.HTTP_CHANGED:
                self.files[name] = self.changed_to[name]
                self.was_changed = True
        return mishap


@dataclass(frozen=True)
class _Answer:
    verdict: Verdict
    body: Callable[[], Iterator[bytes]]
    ends_with_connection: bool = False

    def chunks(self) -> Iterator[bytes]:
        return self.body()


class SimulatedWeb:
    """The client, as :class:`bridge.fetch.web.Web`."""

    def __init__(self, server: ImageServer) -> None:
        self._server = server
        self._cut = clock.event()

    def check(self) -> None:
        """There are no certificates."""

    def cut(self) -> None:
        """End what goes on."""
        self._cut.set()

    def close(self) -> None:
        """Nothing is kept."""

    @contextmanager
    def get(self, url: str, question: Question, timeouts_s: tuple[float, float]) -> Iterator[_Answer]:
        """Ask for bytes."""
        self._wait(_LATENCY_S)
        parts = urlsplit(url)
        name = parts.path.rsplit("/", 1)[-1]
        mishap = self._server.next_mishap(name)
        expired = float(parse_qs(parts.query)["until"][0]) < clock.monotonic()
        if expired or (mishap is not None and mishap.kind is MishapKind.HTTP_EXPIRED):
            status, headers, body = 403, dict[str, str](), b""
        else:
            status, headers, body = _respond(self._server.files[name], question)
        verdict = read_answer(status, headers, question.ask, question.known)
        assert not isinstance(verdict, Redirect)
        yield _Answer(verdict, lambda: self._stream(body, mishap, timeouts_s[1]))

    def _stream(self, body: bytes, mishap: Mishap | None, silence_s: float) -> Iterator[bytes]:
        kind = None if mishap is None else mishap.kind
        broken = kind in {MishapKind.HTTP_RESET, MishapKind.HTTP_STALL, MishapKind.HTTP_TRUNCATED}
        end = min(len(body), mishap.size) if mishap is not None and broken else len(body)
        for start in range(0, end, _CHUNK_BYTES):
            chunk = body[start : min(start + _CHUNK_BYTES, end)]
            self._wait(len(chunk) / _BYTES_PER_S)
            yield chunk
        if kind is MishapKind.HTTP_RESET:
            raise RetryableError("the connection to the image server was lost", reason="connection-lost")
        if kind is MishapKind.HTTP_STALL:
            self._wait(silence_s)
            raise RetryableError("the image server fell silent", reason="stalled")

    def _wait(self, seconds: float) -> None:
        if self._cut.wait(seconds):
            raise CloudError("the download was closed", reason="closed")


def _respond(content: bytes, question: Question) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a server that knows ranges and preconditions (RFC 9110)."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"ETag": etag, "Content-Length": str(len(content))}
    if question.headers.get("If-Match", etag) != etag:
        return 412, {}, b""
    if question.ask.end is None or question.headers.get("If-Range", etag) != etag:
        return 200, headers, content
    start, end = question.ask.start, min(question.ask.end, len(content) - 1)
    if start >= len(content):
        return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
    headers |= {
        "Content-Range": f"bytes {start}-{end}/{len(content)}",
        "Content-Length": str(end - start + 1),
    }
    return 206, headers, content[start : end + 1]

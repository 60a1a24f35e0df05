"""Images that several servers have: the next goes on where one failed, and never with other bytes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.errors import CloudError, ImageRefusedError
from bridge.fota.mirrored_source import MirroredSource
from bridge.image import BytesSource, ImageSource

IMAGE = bytes(range(256)) * 16


class Server(BytesSource):
    """Has an image, and fails when bytes from some offset on are read, or at its end."""

    def __init__(self, data: bytes = IMAGE, fails_at: int | None = None, *, end: bool = False) -> None:
        super().__init__(data, "app.bin")
        self.fails_at = fails_at
        self.end = end
        self.closed = 0

    def wait_size(self) -> int:
        if self.fails_at == 0:
            raise CloudError("no such file", reason="http-404")
        return super().wait_size()

    def read(self, offset: int, size: int) -> bytes:
        self.wait_size()
        if self.fails_at is not None and offset + size > self.fails_at:
            raise CloudError("the connection was lost", reason="connection-lost")
        return super().read(offset, size)

    def wait_complete(self) -> None:
        if self.end:
            raise CloudError("another digest than ordered", reason="wrong-sha256")

    def close(self) -> None:
        self.closed += 1


def of(*servers: Server) -> MirroredSource:
    starts: list[Callable[[], ImageSource]] = [lambda server=server: server for server in servers]  # type: ignore[misc]
    return MirroredSource(starts)


def fetched(source: ImageSource) -> bytes:
    size = source.wait_size()
    data = b"".join(source.read(at, 1000) for at in range(0, size, 1000))
    source.wait_complete()
    return data


def test_the_first_server_that_answers_is_enough() -> None:
    first, second = Server(), Server(fails_at=0)
    assert fetched(of(first, second)) == IMAGE


@pytest.mark.parametrize("fails_at", [0, 1, 1500, 4095])
def test_a_server_that_fails_is_followed_by_the_next_at_the_same_byte(fails_at: int) -> None:
    first, second, third = Server(fails_at=fails_at), Server(fails_at=0), Server()
    assert fetched(of(first, second, third)) == IMAGE
    assert (first.closed, second.closed, third.closed) == (1, 1, 0)


def test_when_all_have_failed_the_last_failure_is_told() -> None:
    with pytest.raises(CloudError, match="no such file"):
        fetched(of(Server(fails_at=2000), Server(fails_at=0)))


@pytest.mark.parametrize("first", [Server(fails_at=2000), Server(IMAGE[::-1], end=True)])
def test_bytes_that_the_next_server_does_not_have_are_never_mixed_with_its_own(first: Server) -> None:
    other = Server(IMAGE[:500] + b"?" + IMAGE[501:])
    with pytest.raises(CloudError, match=r"connection was lost|another digest"):
        fetched(of(first, other))


def test_a_refusal_by_policy_is_final() -> None:
    class Refused(Server):
        def wait_size(self) -> int:
            raise ImageRefusedError("not from there", reason="host-refused")

    with pytest.raises(ImageRefusedError):
        fetched(of(Refused(), Server()))


def test_nothing_is_started_after_the_end() -> None:
    source = of(Server(fails_at=0), Server())
    source.close()
    with pytest.raises(CloudError):
        source.wait_size()


def test_who_is_told_to_wait_no_more_tries_no_further_server() -> None:
    class Silent(Server):
        def read(self, offset: int, size: int) -> bytes:
            assert self.interrupted.wait(60)
            raise CloudError("the download was closed", reason="closed")

        def interrupt(self) -> None:
            self.interrupted.set()

        def __init__(self) -> None:
            super().__init__()
            self.interrupted = threading.Event()

    source = MirroredSource([Silent, lambda: pytest.fail("another server was tried")])
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(source.read, 0, 16)
        source.interrupt()
        with pytest.raises(CloudError) as caught:
            reading.result(60)
    assert caught.value.reason == "closed"

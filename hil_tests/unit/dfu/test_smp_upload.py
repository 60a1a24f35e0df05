"""Uploading over SMP to the virtual board's Zephyr server: byte-exact, whatever the line does, and resumed by sha."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from bridge.board.link import Link
from bridge.board.smp_client import SmpClient
from bridge.dfu.smp_upload import SmpUpload
from bridge.dfu.target import TransferRestartError
from bridge.errors import BoardRefusedError, LinkError
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.smp_options import SmpOptions

NAME = "smp-upload"


class Bench:
    """A board with an SMP server, and a client of it."""

    def __init__(self, samples: SampleImages, options: SmpOptions) -> None:
        self.board = VirtualBoard(
            firmware="smp",
            keys=[samples.public_key_pem],
            factory_image=samples.application("1.0.0").read_bytes(),
            smp=options,
        )
        self.image = samples.application("1.1.0").read_bytes()
        self.link = Link(f"virtual://{NAME}")
        self.client = SmpClient(self.link)

    def upload(self, *, sha: bool = True, until: int | None = None) -> SmpUpload:
        digest = hashlib.sha256(self.image).digest() if sha else None
        upload = SmpUpload(self.client, self.client.parameters(), len(self.image), digest)
        for start in range(0, len(self.image) if until is None else until, 4096):
            upload.write(self.image[start : start + 4096])
        if until is None:
            upload.finish()
        return upload

    def landed(self) -> bytes:
        address = self.board.layout.secondary.address
        return self.board.call(lambda: self.board.flash.read(address, len(self.image)))


@pytest.fixture
def make_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(**options: Any) -> Bench:
        samples = SampleImages(tmp_path_factory.mktemp("images"))
        bench = Bench(samples, SmpOptions(**options))
        registry.register(NAME, bench.board)
        benches.append(bench)
        bench.board.start()
        bench.board.wait_for_event("ready")
        bench.link.open()
        return bench

    yield make
    for bench in benches:
        bench.link.close()
        bench.board.stop()
        registry.unregister(NAME)


@pytest.mark.parametrize(("buffer_bytes", "buffer_count"), [(384, 4), (384, 1), (2475, 2)])
def test_given_any_buffers_then_the_image_arrives_and_is_sent_once(
    make_bench: Callable[..., Bench], buffer_bytes: int, buffer_count: int
) -> None:
    bench = make_bench(buffer_bytes=buffer_bytes, buffer_count=buffer_count)
    upload = bench.upload()
    assert bench.landed() == bench.image
    assert not [event for event in bench.board.events if event.kind == "message-dropped"]
    assert upload.window.acknowledged == len(bench.image)


def test_given_damage_both_ways_then_the_image_still_arrives_whole(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    chance = random.Random(91)

    def damage(data: bytes) -> bytes:
        damaged = bytearray(data)
        if chance.random() < 0.05:
            damaged[chance.randrange(len(damaged))] ^= 0x10
        return bytes(damaged)

    bench.client.parameters()
    bench.link.outgoing_hook = damage
    upload = bench.upload()
    assert upload.window.losses > 0
    assert bench.landed() == bench.image


def test_given_half_an_upload_when_it_is_begun_again_then_only_the_rest_is_sent(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    half = bench.upload(until=len(bench.image) // 2)
    again = bench.upload()
    assert bench.landed() == bench.image
    assert again.window.sent_bytes < len(bench.image) - half.window.acknowledged + 4096


def test_given_test_reset_and_confirm_then_the_new_image_runs_for_good(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    bench.upload()
    running, new = bench.client.image_states()
    assert (running.active, running.confirmed, new.version, new.pending) == (True, True, "1.1.0", False)
    assert new.digest is not None
    assert bench.client.test(new.digest)[1].pending
    bench.client.reset()
    bench.board.wait_for_event("ready", count=2)
    assert bench.client.image_states()[0].digest == new.digest
    assert not bench.client.image_states()[0].confirmed
    assert bench.client.confirm()[0].confirmed


def test_given_what_the_server_refuses_then_the_reason_is_told(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    with pytest.raises(BoardRefusedError) as caught:
        bench.client.test("00" * 32)
    assert caught.value.reason == "unknown-digest"
    upload = SmpUpload(bench.client, bench.client.parameters(), 4096)
    with pytest.raises(BoardRefusedError) as caught:
        upload.write(bytes(4096))
    assert caught.value.reason == "no-image-magic"
    bench.upload()
    bench.client.erase(60.0)
    assert len(bench.client.image_states()) == 1


def test_given_a_board_that_restarts_in_between_then_the_transfer_must_start_again(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    upload = bench.upload(until=8192)
    bench.board.reset()
    bench.board.wait_for_event("ready", count=2)
    with pytest.raises(TransferRestartError) as caught:
        for start in range(8192, len(bench.image), 4096):
            upload.write(bench.image[start : start + 4096])
    assert caught.value.reason == "session-lost"
    bench.upload()
    assert bench.landed() == bench.image


def test_given_fewer_bytes_than_announced_then_that_is_incomplete(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    upload = bench.upload(until=4096)
    with pytest.raises(LinkError) as caught:
        upload.finish()
    assert caught.value.reason == "incomplete"


def test_given_nobody_that_speaks_smp_then_that_is_said() -> None:
    with closing(VirtualBoardWithoutServer()) as silent, pytest.raises(LinkError) as caught:
        silent.client.request(0, 0, 6, timeout_s=0.05)  # type: ignore[arg-type]
    assert caught.value.reason == "no-answer"


class VirtualBoardWithoutServer:
    """A blank board."""

    def __init__(self) -> None:
        self._board = VirtualBoard()
        registry.register("smp-nobody", self._board)
        self._board.start()
        self._link = Link("virtual://smp-nobody", flow_control=False)
        self.client = SmpClient(self._link)
        self._link.open()

    def close(self) -> None:
        self._link.close()
        self._board.stop()
        registry.unregister("smp-nobody")

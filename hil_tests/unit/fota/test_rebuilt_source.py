"""The target of a delta as an image source: streamed, readable anywhere, bounded, and never wrong without a word."""

import hashlib
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge.board import Board, BoardIdentity
from bridge.errors import CloudError, ImageRefusedError
from bridge.fota import Finished, Outcome, Update, over_at
from bridge.fota.base_choice import open_rebuilt
from bridge.fota.image_store import KnownImageStore
from bridge.fota.inspection import InspectedSource
from bridge.fota.rebuilt_source import LOOK_BACK_BYTES, RebuiltSource
from bridge.image import BytesSource, FileSource, ImageSource
from bridge.image.app_delta import HEADER_BYTES, encode_header, parse_header
from bridge.image.app_delta_create import create_app_delta
from bridge.image.application_file import ApplicationFile, read_application
from bridge.image.mcuboot import parse_image
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.pty_server import PtyServer
from hil_tests.unit.image.build import mcuboot

SIZE_BYTES = 200_000
OLD_PAYLOAD = hashlib.shake_256(b"old").digest(SIZE_BYTES)
NEW_PAYLOAD = OLD_PAYLOAD[:40_000] + hashlib.shake_256(b"new").digest(30_000) + OLD_PAYLOAD[70_000:]
OLD, NEW = mcuboot(OLD_PAYLOAD, version=(1, 0, 0, 0)), mcuboot(NEW_PAYLOAD, version=(1, 1, 0, 0))


def application(data: bytes) -> ApplicationFile:
    return ApplicationFile("app.bin", data, parse_image(data))


DELTA = create_app_delta(application(OLD), application(NEW))
INFO = parse_header(DELTA)


class Watched(BytesSource):
    """A delta in memory that notes what was read of it, and fails or changes on request."""

    def __init__(self, data: bytes = DELTA) -> None:
        super().__init__(data, "app.delta")
        self.read_until = 0
        self.starts = 0
        self.fail_from: int | None = None
        self.incomplete: CloudError | None = None
        self.closed = False

    def read(self, offset: int, size: int) -> bytes:
        if self.fail_from is not None and offset + size > self.fail_from:
            self.fail_from = None
            raise CloudError("the connection is lost")
        self.starts += offset == 0
        self.read_until = max(self.read_until, offset + size)
        return super().read(offset, size)

    def wait_complete(self) -> None:
        if self.incomplete is not None:
            raise self.incomplete

    def close(self) -> None:
        self.closed = True


def rebuilt(delta: ImageSource | None = None, base: bytes = OLD) -> RebuiltSource:
    return RebuiltSource(delta or Watched(), INFO, BytesSource(base))


def read_all(source: ImageSource, step: int = 4096) -> bytes:
    made = b""
    while data := source.read(len(made), step):
        made += data
    return made


@pytest.mark.parametrize("step", [1000, 4096, 1 << 20])
def test_given_reading_on_then_the_target_comes_in_one_run_and_its_size_is_known_before(step: int) -> None:
    delta = Watched()
    source = rebuilt(delta)
    assert (source.name, source.wait_size(), delta.read_until) == ("app.delta", len(NEW), 0)
    assert read_all(source, step) == NEW
    source.wait_complete()
    assert delta.starts == 1


RANGES = st.lists(st.tuples(st.integers(0, len(NEW) + 10), st.integers(0, 100_000)), max_size=6)


@given(RANGES)
def test_given_any_ranges_in_any_order_then_they_are_those_of_the_target(
    ranges: list[tuple[int, int]],
) -> None:
    source = rebuilt()
    for offset, size in ranges:
        assert source.read(offset, size) == NEW[offset : offset + size]


def test_given_a_look_at_the_head_then_reading_from_the_start_needs_no_second_run() -> None:
    delta = Watched()
    source = InspectedSource(rebuilt(delta))
    assert source.read_head().version == "1.1.0"
    assert read_all(source) == NEW
    image = source.finish_inspection()
    assert image.mcuboot is not None
    assert image.mcuboot.digest == INFO.target.digest
    assert delta.starts == 1


def test_given_a_step_back_that_is_not_far_then_it_needs_no_second_run() -> None:
    delta = Watched()
    source = rebuilt(delta)
    for offset in range(0, LOOK_BACK_BYTES, 4096):
        source.read(offset, 4096)
    assert source.read(0, 4096) == NEW[:4096]
    assert delta.starts == 1


def test_given_a_transfer_that_starts_again_then_the_target_is_rebuilt_again() -> None:
    delta = Watched()
    source = rebuilt(delta)
    for end in (100_000, 180_000, len(NEW)):
        assert source.read(0, 10) == NEW[:10]
        assert source.read(end - 10, 10) == NEW[end - 10 : end]
    assert delta.starts == 3


def test_given_half_of_the_delta_then_the_first_half_of_the_target_is_there() -> None:
    delta = Watched()
    source = rebuilt(delta)
    assert source.read(0, 40_000) == NEW[:40_000]
    assert delta.read_until < len(DELTA) // 4
    assert source.read(40_000, 15_000) == NEW[40_000:55_000]
    assert delta.read_until < len(DELTA) * 3 // 4


def test_given_a_delta_that_is_still_downloading_then_reading_waits_for_it() -> None:
    class Arriving(Watched):
        arrived = threading.Event()

        def read(self, offset: int, size: int) -> bytes:
            if offset + size > len(DELTA) // 2:
                assert self.arrived.wait(30)
            return super().read(offset, size)

    delta = Arriving()
    source = rebuilt(delta)
    assert source.read(0, 40_000) == NEW[:40_000]
    made: list[bytes] = []
    reader = threading.Thread(target=lambda: made.append(read_all(source)))
    reader.start()
    assert not made
    delta.arrived.set()
    reader.join(30)
    assert made == [NEW]


def test_given_a_long_image_then_memory_stays_bounded() -> None:
    source = rebuilt()
    source.read(0, 4096)
    tracemalloc.start()
    try:
        for offset in range(0, len(NEW), 4096):
            source.read(offset, 4096)
        source.wait_complete()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * LOOK_BACK_BYTES + 64 * 1024


def test_given_a_lost_connection_then_the_error_comes_through_and_the_next_read_starts_over() -> None:
    delta = Watched()
    source = rebuilt(delta)
    assert source.read(0, 50_000) == NEW[:50_000]
    delta.fail_from = delta.read_until + 1
    with pytest.raises(CloudError, match="connection"):
        source.read(50_000, 100_000)
    assert read_all(source) == NEW


def test_given_another_delta_after_the_connection_was_lost_then_it_is_refused() -> None:
    delta = Watched()
    source = rebuilt(delta)
    delta.fail_from = 20_000
    with pytest.raises(CloudError):
        read_all(source)
    delta._data = create_app_delta(application(OLD), application(mcuboot(b"third")))
    with pytest.raises(ImageRefusedError) as refused:
        source.read(0, 10)
    assert refused.value.reason == "patch-changed"


@pytest.mark.parametrize("position", [HEADER_BYTES + 5, len(DELTA) // 2, len(DELTA) - 1])
def test_given_a_flipped_bit_then_the_image_is_never_complete(position: int) -> None:
    damaged = bytearray(DELTA)
    damaged[position] ^= 0x04
    source = rebuilt(Watched(bytes(damaged)))
    for _ in range(2):  # the refusal stays
        with pytest.raises(ImageRefusedError):
            read_all(source)
        with pytest.raises(ImageRefusedError):
            source.read(len(NEW) - 1, 1)
        with pytest.raises(ImageRefusedError):
            source.wait_complete()


@given(size=st.integers(HEADER_BYTES, len(DELTA) - 1))
def test_given_a_truncated_delta_then_the_image_is_never_complete(size: int) -> None:
    with pytest.raises(ImageRefusedError) as refused:
        rebuilt(Watched(DELTA[:size])).wait_complete()
    assert refused.value.reason == "truncated"


def test_given_a_delta_that_is_not_the_declared_file_then_completion_says_so() -> None:
    delta = Watched()
    delta.incomplete = CloudError("another file", reason="wrong-sha256")
    source = rebuilt(delta)
    assert read_all(source) == NEW
    with pytest.raises(CloudError, match="another file"):
        source.wait_complete()


def test_given_a_wrong_base_then_nothing_is_read_of_the_patch() -> None:
    delta = Watched()
    with pytest.raises(ImageRefusedError) as refused:
        rebuilt(delta, mcuboot(b"another")).read(0, 10)
    assert refused.value.reason == "wrong-base"
    assert delta.read_until == 0


def test_given_a_header_that_lies_about_the_target_then_it_is_found() -> None:
    lying = replace(INFO, target_sha256="11" * 32)
    source = RebuiltSource(Watched(encode_header(lying) + DELTA[HEADER_BYTES:]), lying, BytesSource(OLD))
    with pytest.raises(ImageRefusedError) as refused:
        source.wait_complete()
    assert refused.value.reason == "target-mismatch"


def test_given_the_end_then_both_files_are_closed() -> None:
    delta, base = Watched(), Watched(OLD)
    source = RebuiltSource(delta, INFO, base)
    source.close()
    source.close()
    assert delta.closed
    assert base.closed


# On a board.


class Bench:
    """A virtual board that runs 1.0.0, a store that knows that image, and a delta to 1.1.0."""

    def __init__(self, directory: Path) -> None:
        samples = SampleImages(directory)
        old = samples.application("1.0.0")
        self.delta = create_app_delta(
            read_application(old), read_application(samples.application("1.1.0", like="1.0.0"))
        )
        self.store = KnownImageStore(directory / "store")
        self.running_digest = self.store.add(old).digest
        self.board = VirtualBoard(factory_image=old.read_bytes(), keys=[samples.public_key_pem])
        self.pty = PtyServer(self.board)

    def update(self, delta: bytes) -> Finished:
        source = InspectedSource(BytesSource(delta, "app.delta"))
        target = open_rebuilt(
            source,
            source.read_head(),
            BoardIdentity("port", application_digest=self.running_digest),
            self.store,
        )
        *_, last = Update(target, over_at(lambda: Board.open(self.pty.path)))
        assert isinstance(last, Finished)
        return last


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.board.start()
    bench.pty.start()
    yield bench
    bench.pty.stop()
    bench.board.stop()


def test_given_a_delta_then_the_board_runs_the_signed_target(bench: Bench) -> None:
    last = bench.update(bench.delta)
    assert (last.outcome, last.from_version, last.running_version) == (Outcome.SUCCEEDED, "1.0.0", "1.1.0")
    assert running_version(bench.board.flash, bench.board.layout) == "1.1.0"


def test_given_a_damaged_delta_then_nothing_is_installed(bench: Bench) -> None:
    damaged = bytearray(bench.delta)
    damaged[-20] ^= 1
    last = bench.update(bytes(damaged))
    assert (last.outcome, last.stage) == (Outcome.REJECTED, "transfer")
    assert last.reason in {"digest-mismatch", "corrupt-patch"}
    assert swap_type(bench.board.flash, bench.board.layout) is SwapType.NONE
    assert running_version(bench.board.flash, bench.board.layout) == "1.0.0"


def test_given_a_delta_in_a_file_then_base_and_delta_are_read_from_disk(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "app.delta"
    path.write_bytes(bench.delta)
    source = InspectedSource(FileSource(path))
    target = open_rebuilt(source, source.read_head(), BoardIdentity("port"), bench.store)
    assert parse_image(read_all(target)).version == "1.1.0"
    target.close()


def test_the_library_example_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(bridge.__file__).parent.parent / "docs" / "application-deltas.md"
    example = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    Path("app.bin").write_bytes(OLD)
    KnownImageStore(Path("store")).add(Path("app.bin"))
    Path("app-1.1.0.delta").write_bytes(DELTA)
    exec(compile(example, page.name, "exec"), {})
    assert capsys.readouterr().out.strip() == str(NEW[:4])

"""The store of known images, and which of them a delta is rebuilt from."""

import os
import stat
from pathlib import Path

import pytest

from bridge.errors import BenchError, ImageRefusedError, UsageError
from bridge.fota.base_choice import choose_base
from bridge.fota.image_store import KnownImageStore, default_store_directory
from bridge.image import BytesSource, ImageHead, ImageInspector
from bridge.image.app_delta_create import create_app_delta
from bridge.image.application_file import ApplicationFile
from bridge.image.mcuboot import parse_image
from hil_tests.unit.image.build import DELTA, dfu_package, mcuboot, tlv

OLD, NEW = mcuboot(b"old" * 100, version=(1, 0, 0, 0)), mcuboot(b"new" * 100, version=(1, 10, 0, 2))
OLD_DIGEST, NEW_DIGEST = parse_image(OLD).digest, parse_image(NEW).digest


@pytest.fixture
def store(tmp_path: Path) -> KnownImageStore:
    return KnownImageStore(tmp_path / "deep" / "store")


def save(tmp_path: Path, data: bytes, name: str = "app.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_given_an_application_then_it_is_found_by_its_digest(store: KnownImageStore, tmp_path: Path) -> None:
    added = store.add(save(tmp_path, OLD))
    assert (added.digest, added.version, added.size_bytes, added.problem) == (
        OLD_DIGEST,
        "1.0.0",
        len(OLD),
        None,
    )
    assert store.find(OLD_DIGEST.upper()) == added
    assert added.path.read_bytes() == OLD
    assert store.find(NEW_DIGEST) is None
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700


def test_given_a_package_or_a_source_then_its_application_is_kept(
    store: KnownImageStore, tmp_path: Path
) -> None:
    package = dfu_package(NEW, version_MCUBOOT="1.10.0+2")
    assert store.add(save(tmp_path, package, "dfu_application.zip")).digest == NEW_DIGEST
    assert store.add_source(BytesSource(OLD)).digest == OLD_DIGEST
    found = store.find(NEW_DIGEST)
    assert found is not None
    assert found.path.read_bytes() == NEW


def test_given_several_images_then_they_are_listed_by_version_and_once_each(
    store: KnownImageStore, tmp_path: Path
) -> None:
    assert store.images() == []
    between = mcuboot(b"x", version=(1, 9, 0, 0))
    for data in (NEW, between, OLD, NEW):
        store.add(save(tmp_path, data))
    assert [image.version for image in store.images()] == ["1.0.0", "1.9.0", "1.10.0+2"]


@pytest.mark.parametrize("data", [DELTA, OLD[:-5], b"", OLD[:300] + b"?" + OLD[301:]])
def test_given_no_sound_application_then_it_is_refused_and_not_kept(
    store: KnownImageStore, tmp_path: Path, data: bytes
) -> None:
    with pytest.raises(ImageRefusedError):
        store.add(save(tmp_path, data))
    with pytest.raises(ImageRefusedError):
        store.add_source(BytesSource(data))
    assert store.images() == []


def test_given_an_image_that_went_bad_then_it_is_never_used_but_listed_and_replaced(
    store: KnownImageStore, tmp_path: Path
) -> None:
    path = store.add(save(tmp_path, OLD)).path
    store.add(save(tmp_path, NEW))
    for bad, problem in [(OLD[:-5], "truncated"), (NEW, NEW_DIGEST), (DELTA, "None"), (b"", "empty")]:
        path.write_bytes(bad)
        with pytest.raises(ImageRefusedError, match="damaged") as refused:
            store.find(OLD_DIGEST)
        assert refused.value.reason == "damaged-base"
        listed = store.images()
        assert [image.digest for image in listed] == [NEW_DIGEST, OLD_DIGEST]
        assert problem in (listed[1].problem or "")
    store.add(save(tmp_path, OLD))
    assert store.find(OLD_DIGEST) is not None


def test_given_a_digest_or_its_beginning_then_that_image_is_removed(
    store: KnownImageStore, tmp_path: Path
) -> None:
    store.add(save(tmp_path, OLD))
    store.add(save(tmp_path, NEW))
    assert store.remove(OLD_DIGEST[:8].upper()).version == "1.0.0"
    assert [image.digest for image in store.images()] == [NEW_DIGEST]
    for digest, reason in [
        (OLD_DIGEST, "unknown-image"),
        ("abc", "bad-digest"),
        ("../../etc", "bad-digest"),
        ("*" * 64, "bad-digest"),
    ]:
        with pytest.raises(UsageError) as refused:
            store.remove(digest)
        assert refused.value.reason == reason
    with pytest.raises(UsageError):
        store.find("../../../etc/passwd")


def test_given_a_beginning_that_fits_two_images_then_none_is_removed(
    store: KnownImageStore, tmp_path: Path
) -> None:
    path = store.add(save(tmp_path, OLD)).path
    path.with_name(f"{OLD_DIGEST[:10]}{'0' * 54}.image").write_bytes(OLD)
    with pytest.raises(UsageError) as refused:
        store.remove(OLD_DIGEST[:10])
    assert refused.value.reason == "ambiguous-digest"
    assert len(store.images()) == 2


def test_given_a_write_that_fails_then_the_image_before_it_stays_and_nothing_is_left_behind(
    store: KnownImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(save(tmp_path, OLD))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    resigned = mcuboot(b"old" * 100, version=(1, 0, 0, 0), extra=(tlv(0x22, b"other"),))
    with pytest.raises(BenchError) as refused:
        store.add(save(tmp_path, resigned))
    assert refused.value.reason == "no-space"
    assert [path.read_bytes() for path in store.directory.iterdir()] == [OLD]


def test_given_a_place_that_is_no_directory_then_the_error_names_it(tmp_path: Path) -> None:
    store = KnownImageStore(save(tmp_path, b"file") / "store")
    with pytest.raises(BenchError) as refused:
        store.add(save(tmp_path, OLD, "old.bin"))
    assert refused.value.reason == "store-unusable"


def test_given_no_choice_then_the_store_is_among_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_store_directory() == Path("/data/nrf91-bridge/images")


# Which base.


def head_of(data: bytes) -> ImageHead:
    inspector = ImageInspector("app.delta")
    inspector.feed(data)
    assert inspector.head is not None
    return inspector.head


HEAD = head_of(
    create_app_delta(
        ApplicationFile("old.bin", OLD, parse_image(OLD)), ApplicationFile("new.bin", NEW, parse_image(NEW))
    )
)


@pytest.mark.parametrize("running", [OLD_DIGEST, OLD_DIGEST.upper(), None])
def test_given_the_right_or_an_unknown_running_image_then_the_stored_base_is_chosen(
    store: KnownImageStore, tmp_path: Path, running: str | None
) -> None:
    added = store.add(save(tmp_path, OLD))
    assert choose_base(HEAD, running, store) == added.path


def test_given_no_such_image_in_the_store_then_the_refusal_names_it_and_says_how_to_add_it(
    store: KnownImageStore,
) -> None:
    with pytest.raises(ImageRefusedError) as refused:
        choose_base(HEAD, OLD_DIGEST, store)
    assert (refused.value.reason, refused.value.exit_code) == ("missing-base", 5)
    assert OLD_DIGEST in refused.value.message
    assert "nrf91-bridge image store add FILE" in (refused.value.hint or "")


def test_given_a_board_that_runs_another_image_then_the_refusal_names_both(
    store: KnownImageStore, tmp_path: Path
) -> None:
    store.add(save(tmp_path, OLD))
    other = "ab" * 32
    with pytest.raises(ImageRefusedError) as refused:
        choose_base(HEAD, other, store)
    assert (refused.value.reason, refused.value.exit_code) == ("wrong-base", 5)
    assert OLD_DIGEST in refused.value.message
    assert other in refused.value.message


def test_given_a_board_that_runs_the_target_or_a_damaged_base_or_no_delta_then_it_is_refused(
    store: KnownImageStore, tmp_path: Path
) -> None:
    store.add(save(tmp_path, OLD)).path.write_bytes(NEW)
    for head, running, reason in [
        (HEAD, NEW_DIGEST, "same-image"),
        (HEAD, None, "damaged-base"),
        (head_of(OLD), None, "wrong-kind"),
    ]:
        with pytest.raises(ImageRefusedError) as refused:
            choose_base(head, running, store)
        assert refused.value.reason == reason

"""What may be installed: every refusal with its code, its exit code and its outcome."""

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.board import BoardIdentity
from bridge.cloud.requirements import read_requirements
from bridge.errors import ImageRefusedError, UsageError
from bridge.fota import Expectations, Outcome, Policy
from bridge.fota.hardware_policy import check_board, product_of
from bridge.fota.outcome import outcome_of
from bridge.fota.policy import check_head, check_image, check_order
from bridge.fota.versions import full_version
from bridge.image import FirmwareImage, ImageHead, ImageKind, inspect_bytes, inspect_file
from bridge.image.package_source import PackedImage
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import other_key_pem
from hil_tests.unit.image import build

AT = BoardIdentity(
    "p", "serial-modem", model="nRF9151-LACA", modem_version="mfw_nrf91x1_2.0.2", application_version="v1.5.0"
)
SMP = BoardIdentity("p", "smp-server", application_version="1.5.0.7", application_digest="ab" * 32)
NOBODY = BoardIdentity("p")


def app(version: str = "2.0.0", **more: str) -> ImageHead:
    return ImageHead(ImageKind.APPLICATION, "app.bin", version, **more)  # type: ignore[arg-type]


def delta(target: str = "2.0.3", base: str | None = "2.0.2", family: str = "nrf91x1") -> ImageHead:
    name = f"mfw_{family}_update_from_{base}_to_{target}.bin"
    return ImageHead(ImageKind.MODEM_DELTA, name, target, base)


def full(version: str = "2.0.3", family: str = "nrf91x1") -> ImageHead:
    return ImageHead(ImageKind.MODEM_FULL, f"mfw_{family}_{version}.cbor", version)


def order(**more: str) -> Expectations:
    return Expectations(**more)  # type: ignore[arg-type]


def requires(**members: object) -> Expectations:
    return Expectations(requires=read_requirements(members))


PLACED = replace(AT, hardware_version="nRF9151 LACA B0A", bootloader_version=2)
SLOT = Policy(slot_size_bytes=0x6E000)
DK = order(board="nrf9151dk/nrf9151/ns")


@pytest.mark.parametrize(
    ("code", "head", "size", "identity", "expected", "policy"),
    [
        ("wrong-kind", app(), 1, AT, order(operation="modem_fw_update"), Policy()),
        ("wrong-kind", delta(), 1, AT, order(operation="app_fw_update"), Policy()),
        ("too-large", app(), 1001, AT, order(), Policy(max_size_bytes=1000)),
        ("too-large", delta(), 1001, AT, order(), Policy(max_size_bytes=1000)),
        ("too-large", app(), 0x100001, NOBODY, order(), Policy()),
        ("too-large", app(), 0x6D001, AT, order(), SLOT),
        ("too-large", app(), 0x6D001, AT, DK, Policy()),
        ("wrong-board", app(), 1, AT, order(board="nrf9160dk"), Policy()),
        ("unmet-requirement", app(), 1, PLACED, requires(modem="2.0.3"), Policy()),
        ("unmet-requirement", app(), 1, PLACED, requires(modem="2.0.10"), Policy()),
        ("unmet-requirement", delta(), 1, PLACED, requires(application="1.10.0"), Policy()),
        ("unmet-requirement", app(), 1, PLACED, requires(bootloader=3), Policy()),
        ("unmet-requirement", app(), 1, PLACED, requires(hardware="nRF9151 LACA B1A"), Policy()),
        ("unmet-requirement", app(), 1, PLACED, requires(hardware="nRF9161 LACA A0A"), Policy()),
        ("unmet-requirement", app(), 1, SMP, requires(modem="2.0.2"), Policy()),
        ("unmet-requirement", app(), 1, SMP, requires(hardware="nRF9151 LACA A0A"), Policy()),
        ("unmet-requirement", app(), 1, SMP, requires(bootloader=1), Policy()),
        ("wrong-board", app(), 1, AT, order(board="thingy91"), Policy()),
        ("wrong-board", app(), 1, AT, order(board="nrf52840dk"), Policy()),
        ("wrong-board", app(board="nrf9160dk/nrf9160/ns"), 1, AT, order(), Policy()),
        ("wrong-board", app(soc="nRF9160_SICA"), 1, AT, order(), Policy()),
        ("wrong-board", app(soc="nRF5340_CPUAPP_QKAA"), 1, NOBODY, order(), Policy()),
        ("wrong-board", app(board="thingy91x/nrf9151/ns", soc="nrf9151"), 1, AT, DK, Policy()),
        ("wrong-board", app(board="nrf9161dk/nrf9161/ns"), 1, NOBODY, DK, Policy()),
        ("wrong-board", delta(family="nrf9160"), 1, AT, order(), Policy()),
        ("wrong-board", full(family="nrf9160"), 1, AT, order(), Policy()),
        ("same-version", app("1.5.0"), 1, AT, order(), Policy()),
        ("same-version", app("1.5.0+7"), 1, SMP, order(), Policy()),
        ("same-version", delta(target="2.0.2", base=None), 1, AT, order(), Policy()),
        ("same-version", full("2.0.2"), 1, AT, order(), Policy()),
        ("downgrade", app("1.4.9"), 1, AT, order(), Policy()),
        ("downgrade", app("1.5.0+6"), 1, SMP, order(), Policy()),
        ("downgrade", delta(target="2.0.1"), 1, AT, order(), Policy()),
        ("downgrade", full("2.0.1"), 1, AT, order(), Policy()),
        ("wrong-delta-base", delta(base="2.0.1"), 1, AT, order(), Policy()),
        ("version-mismatch", app("2.0.0"), 1, AT, order(version="2.0.1"), Policy(strict_version=True)),
    ],
)
def test_each_refusal_has_a_code_and_rejects_the_job(
    code: str, head: ImageHead, size: int, identity: BoardIdentity, expected: Expectations, policy: Policy
) -> None:
    with pytest.raises(ImageRefusedError) as caught:
        check_head(head, size, identity, expected, policy)
    error = caught.value
    assert (error.reason, error.exit_code, outcome_of(error)) == (code, 5, Outcome.REJECTED)
    assert error.message[0].islower()
    assert len(error.message) > 20


@pytest.mark.parametrize(
    ("head", "size", "identity", "expected", "policy"),
    [
        (app(), 0x6D000, AT, DK, Policy()),
        (app(), 0x6D000, AT, order(), SLOT),
        (app(), 0x6E000, AT, DK, Policy(slot_size_bytes=0x80000)),  # other partitions than the standard ones
        (app(), 0x6E000, NOBODY, order(), Policy()),
        (app(), 0x6E000, AT, order(board="nrf9151"), Policy()),  # a chip has no slots
        (app(), 1, NOBODY, order(board="thingy91x"), Policy()),
        (app(board="nrf9151dk/nrf9151/ns", soc="nRF9151_LACA"), 1, AT, DK, Policy()),
        (app(board="nrf9151dk_nrf9151_ns"), 1, AT, DK, Policy()),
        (app(board="nrf9151dk@0.9.0/nrf9151/ns"), 1, AT, DK, Policy()),
        (app(board="my_board/nrf9151/ns"), 1, AT, order(board="nrf9151"), Policy()),
        (app(board="my_board"), 1, AT, order(), Policy()),  # nobody can tell
        (app("1.5.0"), 1, AT, order(), Policy(allow_same_version=True)),
        (app("1.5.0+8"), 1, SMP, order(), Policy()),  # the next build
        (app("1.4.0"), 1, AT, order(), Policy(allow_downgrade=True)),
        (delta(), 1, AT, order(), Policy()),
        (delta(target="2.0.1"), 1, AT, order(), Policy(allow_downgrade=True)),
        (delta(base=None), 1, AT, order(), Policy()),
        (delta(), 1, NOBODY, order(), Policy()),
        (full("2.0.2"), 1, AT, order(), Policy(allow_same_version=True)),
        (full("2.0.1"), 1, AT, order(), Policy(allow_downgrade=True)),
        (app(), 1, AT, order(version="2.0.0"), Policy(strict_version=True)),
        (app(), 1, AT, order(operation="app_fw_update"), Policy(max_size_bytes=1)),
    ],
)
def test_what_may_be_installed(
    head: ImageHead, size: int, identity: BoardIdentity, expected: Expectations, policy: Policy
) -> None:
    assert check_head(head, size, identity, expected, policy) == []


def test_another_version_than_the_ordered_one_is_a_remark_unless_it_is_strict() -> None:
    remarks = check_head(app("2.0.0"), 1, AT, order(version="2.0.1"), Policy())
    assert remarks == ["version 2.0.1 was ordered, but the image says 2.0.0"]


def test_a_digest_may_be_required() -> None:
    check_order("00" * 32, Policy(require_sha256=True))
    check_order(None, Policy())
    with pytest.raises(ImageRefusedError) as caught:
        check_order(None, Policy(require_sha256=True))
    assert (caught.value.reason, outcome_of(caught.value)) == ("sha256-required", Outcome.REJECTED)


# --- the whole image -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


def reason(image: FirmwareImage, policy: Policy, identity: BoardIdentity = NOBODY) -> str | None:
    try:
        check_image(image, identity, policy)
    except ImageRefusedError as error:
        return error.reason
    return None


def test_one_of_several_keys_is_enough(samples: SampleImages) -> None:
    own, other = samples.public_key_pem, other_key_pem()
    good = inspect_file(samples.application("2.0.0"))
    foreign = inspect_file(samples.wrong_key("2.0.0"))
    for keys in ((own,), (own, other), (other, own)):
        assert reason(good, Policy(public_keys_pem=keys)) is None
    assert reason(good, Policy(public_keys_pem=(other,))) == "wrong-key"
    assert reason(foreign, Policy(public_keys_pem=(own,))) == "wrong-key"
    with pytest.raises(ImageRefusedError, match="any of the 2 given keys"):
        check_image(foreign, NOBODY, Policy(public_keys_pem=(own, own)))


def test_what_is_not_signed_is_refused_where_a_key_is_required(samples: SampleImages) -> None:
    keys = Policy(public_keys_pem=(samples.public_key_pem,))
    unsigned = inspect_bytes(build.mcuboot(), "x.bin")
    assert unsigned.kind is ImageKind.APPLICATION
    assert reason(unsigned, keys) == "not-signed"
    nothing_inside = FirmwareImage(ImageKind.INTEL_HEX, "x.hex", 1, "00" * 32)
    assert reason(nothing_inside, keys) == "not-signed"
    with pytest.raises(UsageError):
        check_image(inspect_file(samples.application("2.0.0")), NOBODY, Policy(public_keys_pem=(b"no key",)))


def test_modem_firmware_is_signed_by_nordic_and_not_held_against_our_keys(samples: SampleImages) -> None:
    image = inspect_file(samples.modem_delta("2.0.2", "2.0.3"))
    assert reason(image, Policy(public_keys_pem=(samples.public_key_pem,))) is None


def test_every_image_of_a_package_that_stays_whole_must_be_signed(samples: SampleImages) -> None:
    package = inspect_file(samples.dfu_package("2.0.0"))
    assert package.kind is ImageKind.DFU_PACKAGE
    assert reason(package, Policy(public_keys_pem=(samples.public_key_pem,))) is None
    assert reason(package, Policy(public_keys_pem=(other_key_pem(),))) == "wrong-key"


def test_the_very_image_that_runs_is_known_by_its_digest(samples: SampleImages) -> None:
    image = inspect_file(samples.application("2.0.0"))
    assert image.mcuboot is not None
    running = replace(SMP, application_digest=image.mcuboot.digest.upper(), application_version="9.9.9")
    assert reason(image, Policy(), running) == "same-image"
    assert reason(image, Policy(allow_same_version=True), running) is None
    assert reason(image, Policy(), SMP) is None


def test_what_a_manifest_says_of_board_and_chip_reaches_the_policy(
    samples: SampleImages, tmp_path: Path
) -> None:
    image = inspect_file(samples.application("2.0.0"))
    head = PackedImage("a.bin", image, b"", board="nrf9160dk/nrf9160", soc="nrf9160").head
    assert (head.board, head.soc) == ("nrf9160dk/nrf9160", "nrf9160")


@pytest.mark.parametrize(
    ("text", "product"),
    [
        ("nrf9151dk/nrf9151/ns", "nrf9151dk"),
        ("nrf9160dk_nrf9160_ns", "nrf9160dk"),
        ("nrf9160dk_nrf9160ns", "nrf9160dk"),
        ("thingy91_nrf9160_ns", "thingy91"),
        ("Thingy91X/nrf9151", "thingy91x"),
        ("nrf9151dk@0.9.0/nrf9151", "nrf9151dk"),
        ("nrf9151", None),
        ("nrf9151/ns", None),
        ("", None),
        (None, None),
        ("_ns", None),
    ],
)
def test_the_board_in_a_board_target(text: str | None, product: str | None) -> None:
    assert product_of(text) == product


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2.0.0+5", (2, 0, 0, 5)),
        ("2.0.0.5", (2, 0, 0, 5)),
        ("v2.0.0", (2, 0, 0, 0)),
        ("2.0.0-rc1", None),
        (None, None),
    ],
)
def test_versions_with_their_build_number(text: str | None, numbers: tuple[int, ...] | None) -> None:
    assert full_version(text) == numbers


@pytest.mark.parametrize(
    "members",
    [
        {"modem": "2.0.2", "application": "v1.5.0", "hardware": "nRF9151 LACA B0A", "bootloader": 2},
        {"modem": "1.9.9", "application": "1.4.12", "hardware": "nrf9151 laca A1B", "bootloader": 1},
        {},
    ],
)
def test_a_board_that_has_what_is_required_gets_the_image(members: dict[str, object]) -> None:
    assert check_head(app(), 1, PLACED, requires(**members), Policy()) == []


def test_an_order_for_no_nrf91_says_so_whether_or_not_a_board_is_there() -> None:
    for identity in (NOBODY, AT):
        with pytest.raises(ImageRefusedError) as caught:
            check_board(identity, "nrf52840dk")
        assert caught.value.message == "the image is for nrf52840dk, which is no nRF91 board or chip"

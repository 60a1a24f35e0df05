"""What a probe would write is made of a file and checked before any chip is touched."""

import io
import struct
from pathlib import Path

import pytest
from intelhex import IntelHex

from bridge.dfu.probe.plan import make_plan
from bridge.errors import BridgeError, ImageRefusedError, UsageError
from bridge.image import ImageKind
from hil_tests.unit.image import build

SLOT = 0x20000
HEADER = 0x200
DIGESTS = b"Range: 0x00006000--0x0000FFFF SHA256: " + b"1d" * 32 + b"\n"
MODEM = {
    "72B3D7C.ipc_dfu.signed_1.1.2.ihex": build.intel_hex((0x20000000, b"loader")),
    "firmware.update.image.segments.0.hex": build.intel_hex((0x59602000, b"meta")),
    "firmware.update.image.segments.1.hex": build.intel_hex((0x6000, b"firmware")),
    "firmware.update.image.digest.txt": DIGESTS,
}


def application(slot: int = SLOT, **options: object) -> bytes:
    """A signed image linked to a slot, as its vector table says."""
    vectors = struct.pack("<II", 0x2000_8000, slot + HEADER + 0x41)
    return build.mcuboot(vectors + bytes(range(256)) * 4, **options)  # type: ignore[arg-type]


def memory_of(content: bytes) -> IntelHex:
    memory = IntelHex()
    memory.loadhex(io.StringIO(content.decode()))
    return memory


def refused(file: bytes, name: str = "", **options: object) -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        make_plan(file, name, **options)  # type: ignore[arg-type]
    return caught.value


def test_an_intel_hex_file_is_written_as_it_is_with_its_gaps() -> None:
    text = build.intel_hex((0x8000, b"bootloader"), (SLOT, application()))
    plan = make_plan(text, "merged.hex")
    assert plan.content == text
    assert [(segment.address, segment.size_bytes) for segment in plan.segments] == [
        (0x8000, 10),
        (SLOT, len(application())),
    ]
    assert (plan.version, plan.size_bytes, plan.has_uicr) == ("1.2.3", 10 + len(application()), False)


@pytest.mark.parametrize("place", [{"address": SLOT}, {"board": "nrf9151dk"}])
def test_an_application_image_is_put_into_the_primary_slot(place: dict[str, object]) -> None:
    plan = make_plan(application(), "app.signed.bin", **place)  # type: ignore[arg-type]
    memory = memory_of(plan.content)
    assert memory.segments() == [(SLOT, SLOT + len(application()))]
    assert memory.tobinstr() == application()
    assert plan.kind is ImageKind.APPLICATION


def test_the_application_is_taken_out_of_a_package() -> None:
    plan = make_plan(build.dfu_package(application()), "dfu_application.zip", address=SLOT)
    assert (plan.name, memory_of(plan.content).tobinstr()) == ("app.signed.bin", application())


def test_a_given_address_goes_before_a_board() -> None:
    plan = make_plan(application(0x10000), address=0x10000, board="nrf9151dk")
    assert plan.segments[0].address == 0x10000


def test_without_an_address_an_application_image_is_refused_with_the_way_out() -> None:
    error = refused(application(), "app.bin")
    assert isinstance(error, UsageError)
    assert error.reason == "no-address"
    assert "--address" in (error.hint or "")


@pytest.mark.parametrize("address", [0x20200, -0x1000, 0x100000])
def test_an_address_that_is_no_page_of_flash_is_refused(address: int) -> None:
    assert refused(application(), address=address).reason == "bad-address"


@pytest.mark.parametrize("board", ["thingy52", "nrf52840dk"])
def test_a_board_whose_slot_is_not_known_is_refused(board: str) -> None:
    error = refused(application(), board=board)
    assert (error.reason, "nrf9160dk" in (error.hint or "")) == ("unknown-model", True)


@pytest.mark.parametrize(
    "image",
    [
        application(0x10000),
        build.mcuboot(struct.pack("<II", 0x1000, SLOT + HEADER + 1) + b"x" * 64),
        build.mcuboot(struct.pack("<II", 0x2000_8000, SLOT + HEADER + 0x1001) + b"x" * 64),
        build.mcuboot(b"tiny"),
    ],
    ids=["other-slot", "no-stack", "behind-its-end", "no-vectors"],
)
def test_an_image_that_was_not_built_for_the_slot_is_refused(image: bytes) -> None:
    error = refused(image, address=SLOT)
    assert isinstance(error, ImageRefusedError)
    assert error.reason == "wrong-address"


def test_an_encrypted_image_is_refused_since_it_would_never_boot_from_the_primary_slot() -> None:
    assert (
        refused(application(flags=0x4, extra=(build.tlv(0x32, b"k" * 113),)), address=SLOT).reason
        == "encrypted"
    )


def test_an_intel_hex_file_with_another_address_is_refused() -> None:
    text = build.intel_hex((0x8000, b"bootloader"))
    assert make_plan(text, address=0x8000).segments[0].address == 0x8000
    assert refused(text, address=SLOT).reason == "bad-address"


@pytest.mark.parametrize(
    ("address", "data"),
    [
        (0x100000, b"x"),
        (0xFFFFC, b"12345678"),
        (0x59602000, b"meta"),
        (0xFF87FC, b"12345678"),
        (0x20000000, b"r"),
    ],
)
def test_data_outside_the_flash_is_refused(address: int, data: bytes) -> None:
    assert refused(build.intel_hex((0x8000, b"fine"), (address, data))).reason == "outside-flash"


def test_configuration_registers_are_noticed() -> None:
    assert make_plan(build.intel_hex((0x8000, b"b0"), (0xFF8000, b"\xff" * 4))).has_uicr


def test_a_modem_release_is_taken_as_a_whole(tmp_path: Path) -> None:
    plan = make_plan(build.zipped(MODEM), "mfw_nrf9160_1.3.5.zip")
    assert (plan.is_modem, plan.version, plan.segments) == (True, "1.3.5", ())
    written = plan.write_to(tmp_path)
    assert (written.name, written.read_bytes()) == ("mfw_nrf9160_1.3.5.zip", plan.content)


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("72B3D7C.ipc_dfu.signed_1.1.2.ihex", "loader"),
        ("firmware.update.image.digest.txt", "digests"),
    ],
)
def test_an_incomplete_modem_release_is_refused(missing: str, text: str) -> None:
    files = {name: content for name, content in MODEM.items() if name != missing}
    error = refused(build.zipped(files))
    assert (error.reason, text in error.message) == ("incomplete-package", True)


def test_a_modem_release_with_an_empty_digest_file_is_refused_since_pynrfjprog_would_abort() -> None:
    files = {**MODEM, "firmware.update.image.digest.txt": b""}
    assert refused(build.zipped(files)).reason == "incomplete-package"


@pytest.mark.parametrize("file", [build.DELTA, build.modem_full(64)])
def test_modem_files_that_a_probe_cannot_write_are_refused(file: bytes) -> None:
    assert refused(file, "modem.bin").reason == "wrong-kind"


def test_a_file_on_disk_keeps_its_name_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "boot.hex"
    path.write_bytes(build.intel_hex((0, b"boot")))
    assert make_plan(path).name == "boot.hex"
    with pytest.raises(UsageError) as caught:
        make_plan(tmp_path / "none.hex")
    assert caught.value.reason == "unreadable"

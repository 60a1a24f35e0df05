"""The real pynrfjprog, as far as it goes without a probe: loading, listing, missing J-Link software, its UART engines."""

import hashlib
import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from pynrfjprog.APIError import NrfjprogdllErr

from bridge.dfu.probe import (
    ProbeProgress,
    ProcessEngine,
    list_probes,
    upload_application,
    upload_modem,
    vendor,
)
from bridge.dfu.probe.failures import MEANINGS
from bridge.errors import (
    BenchError,
    BoardNotFoundError,
    BoardRefusedError,
    BridgeError,
    LinkError,
    UsageError,
    VerificationError,
)
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer
from bridge.virtual.smp_options import SmpOptions
from bridge.wire.smp_message import ImageCommand, ModemFullCommand, SmpGroup, SmpMessage
from hil_tests.unit.dfu.smp_peer import Answer, ModemServer, RecoveryServer, SmpPeer
from hil_tests.unit.image import build

pytestmark = pytest.mark.contract

LOADER, META = bytes(range(250)) * 4, b"M" * 600
FIRMWARE = {0x6000: bytes(range(256)) * 8, 0x50000: b"\x11" * 4096}
DIGEST = hashlib.sha256(b"decrypted firmware").hexdigest()
RANGE = (0x6000, 0x67FF)


@pytest.fixture
def samples(tmp_path: Path) -> SampleImages:
    return SampleImages(tmp_path / "images")


@pytest.fixture
def image(samples: SampleImages) -> bytes:
    return samples.application("1.1.0").read_bytes()


def modem_release(digests: bytes | None = None) -> bytes:
    text = f"SHA256 of all ranges in ascending address order: {DIGEST}\nRange: 0x00006000--0x000067FF SHA256: {DIGEST}\n"
    return build.zipped(
        {
            "72B3D7C.ipc_dfu.signed_1.1.2.ihex": build.intel_hex((0x20000000, LOADER)),
            "firmware.update.image.segments.0.hex": build.intel_hex((0x59602000, META)),
            "firmware.update.image.segments.1.hex": build.intel_hex(*FIRMWARE.items()),
            "firmware.update.image.digest.txt": text.encode() if digests is None else digests,
        }
    )


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- loading ------------------------------------------------------------------------------------------------------


def test_pynrfjprog_is_not_loaded_before_a_probe_is_used() -> None:
    code = "import sys, bridge.dfu, bridge.dfu.probe, bridge.cli.app; print('pynrfjprog' in sys.modules)"
    assert python(code) == "False"


def test_given_a_system_without_libusb_then_the_library_loads_with_that_of_the_wheel() -> None:
    code = (
        "from bridge.dfu.probe import vendor; vendor._SYSTEM_LIBUSB = 'libusb-none.so'; module = vendor.load();"
        " print(module.API().dll_version()[0], 'libusb_package' in open('/proc/self/maps').read())"
    )
    assert python(code) == "10 True"


def test_given_no_libusb_at_all_then_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "_SYSTEM_LIBUSB", "libusb-none.so")
    monkeypatch.setitem(sys.modules, "libusb_package", None)
    with pytest.raises(UsageError) as caught:
        vendor.load()
    assert caught.value.reason == "no-libusb"


def test_given_no_pynrfjprog_then_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynrfjprog", None)
    with pytest.raises(UsageError) as caught:
        vendor.load()
    assert caught.value.reason == "missing-extra"


def test_every_error_code_has_a_meaning() -> None:
    assert {code.value for code in NrfjprogdllErr if code} == set(MEANINGS)


def test_the_module_has_what_this_project_calls() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pynrfjprog import HighLevel  # noqa: PLC0415
    for name in ("ProgramOptions", "EraseAction", "ResetAction", "VerifyAction", "CoProcessor", "APIError"):
        assert hasattr(HighLevel, name)
    classes = {
        "DebugProbe": ("api", "snr"),
        "IPCDFUProbe": ("api", "snr", "coprocessor"),
        "MCUBootDFUProbe": ("api", "serial_port", "baud_rate", "timeout"),
        "ModemUARTDFUProbe": ("api", "serial_port", "baud_rate", "timeout"),
    }
    for name, parameters in classes.items():
        assert tuple(inspect.signature(getattr(HighLevel, name)).parameters)[: len(parameters)] == parameters
    for kind, protocol in ((HighLevel.Probe, vendor.VendorProbe), (HighLevel.API, vendor.VendorApi)):
        for name, method in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_"):
                wanted = list(inspect.signature(method).parameters)
                assert list(inspect.signature(getattr(kind, name)).parameters)[: len(wanted)] == wanted, name


# --- no probe, no J-Link software ---------------------------------------------------------------------------------


def test_probes_can_be_listed_whatever_usb_this_host_has() -> None:
    assert isinstance(list_probes().probes, tuple)


@pytest.mark.parametrize("opening", ["open_debugger", "open_modem"])
def test_without_jlink_software_or_without_such_a_probe_the_board_is_not_found(opening: str) -> None:
    with ProcessEngine() as engine, pytest.raises(BoardNotFoundError) as caught:
        engine.call(opening, timeout_s=60, serial_number=1)
    expected = {"probe-missing", "no-probe"} if list_probes().jlink_library else {"no-jlink-library"}
    assert caught.value.reason in expected
    assert caught.value.hint


# --- MCUboot's recovery -------------------------------------------------------------------------------------------


def upload(port: str, image: bytes, seen: list[ProbeProgress] | None = None, timeout_s: float = 5.0) -> None:
    upload_application(
        port, image, on_progress=(seen if seen is not None else []).append, timeout_s=timeout_s
    )


def smp_board(samples: SampleImages, *, legacy_rc: bool) -> VirtualBoard:
    return VirtualBoard(
        firmware="smp",
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
        smp=SmpOptions(line_bytes=512, buffer_bytes=1024, legacy_rc=legacy_rc),
    )


def test_given_a_board_with_long_lines_and_rc_then_the_image_is_in_its_flash(
    samples: SampleImages, image: bytes
) -> None:
    seen: list[ProbeProgress] = []
    with smp_board(samples, legacy_rc=True) as board, PtyServer(board) as pty:
        board.wait_for_event("ready")
        upload(pty.path, image, seen)
        slot = board.layout.secondary
        assert board.call(lambda: board.flash.read(slot.address, len(image))) == image
    percents = [
        each.percent for each in seen if each.operation == "upload_image" and each.percent is not None
    ]
    assert percents == sorted(percents)
    assert (len(percents) > 50, percents[-1], seen[-1]) == (True, 100, ProbeProgress("program", 100))


def test_given_a_board_without_rc_then_it_is_not_supported(samples: SampleImages, image: bytes) -> None:
    with smp_board(samples, legacy_rc=False) as board, PtyServer(board) as pty:
        board.wait_for_event("ready")
        with pytest.raises(BoardRefusedError) as caught:
            upload(pty.path, image)
    assert caught.value.reason == "not-supported"


class FailingRecovery(RecoveryServer):
    """Answers the uploads from the sixth on in its own way."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._wrong = answer
        self._uploads = 0

    def __call__(self, request: SmpMessage) -> Answer:
        if (request.group, request.command) == (SmpGroup.IMAGE, ImageCommand.UPLOAD):
            self._uploads += 1
            if self._uploads > 5:
                return self._wrong
        return super().__call__(request)


def test_given_a_recovery_then_all_of_the_image_arrives_although_it_cannot_erase(image: bytes) -> None:
    server = RecoveryServer()
    with SmpPeer(server) as peer:
        upload(peer.path, image)
        erase, first = peer.requests[:2]
    assert (erase.command, first.command, first.body["off"]) == (ImageCommand.ERASE, ImageCommand.UPLOAD, 0)
    assert bytes(server.image) == image


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ({"rc": 1}, BoardRefusedError, "dfu-refused"),
        ({"rc": 6}, BoardRefusedError, "dfu-refused"),
        ({"rc": 200}, BoardRefusedError, "dfu-refused"),  # pynrfjprog logs it, and calls the upload done
        ({"rc": 0, "off": 5}, LinkError, "bytes-lost"),
        (None, LinkError, "no-answer"),
    ],
    ids=["unknown", "bad-state", "unraised", "offset", "silence"],
)
def test_given_the_board_fails_in_mid_upload_then_the_error_says_so(
    image: bytes, answer: Answer, kind: type[BridgeError], reason: str
) -> None:
    with SmpPeer(FailingRecovery(answer)) as peer, pytest.raises(kind) as caught:
        upload(peer.path, image, timeout_s=1.0)
    assert caught.value.reason == reason


def test_given_a_build_with_short_lines_then_it_does_not_answer(image: bytes) -> None:
    with SmpPeer(RecoveryServer(), line_bytes=128) as peer, pytest.raises(LinkError) as caught:
        upload(peer.path, image, timeout_s=1.0)
    assert caught.value.reason == "no-answer"


def test_given_no_such_port_then_that_is_said(image: bytes) -> None:
    with pytest.raises(BoardNotFoundError) as caught:
        upload("/dev/no-such-port", image)
    assert caught.value.reason == "port-missing"


# --- full modem firmware ------------------------------------------------------------------------------------------


@pytest.fixture
def modem() -> ModemServer:
    return ModemServer({RANGE: DIGEST})


def test_given_a_modem_release_then_its_files_arrive_in_order_and_the_digests_are_compared(
    modem: ModemServer,
) -> None:
    seen: list[ProbeProgress] = []
    with SmpPeer(modem) as peer:
        upload_modem(
            peer.path, modem_release(), "mfw_nrf9160_1.3.5.zip", on_progress=seen.append, timeout_s=5.0
        )
        asked = [request.body for request in peer.requests if _is_hash(request)]
    assert [bytes(file) for file in modem.files] == [LOADER, META, b"".join(FIRMWARE.values())]
    assert asked == [{"start": RANGE[0], "end": RANGE[1]}]
    assert seen[-1] == ProbeProgress("verify", 100)


def test_given_other_firmware_in_the_modem_then_verification_fails(modem: ModemServer) -> None:
    modem.digests.clear()
    with SmpPeer(modem) as peer, pytest.raises(VerificationError) as caught:
        upload_modem(peer.path, modem_release(), timeout_s=5.0)
    assert (caught.value.reason, caught.value.exit_code) == ("verify-failed", 7)


@pytest.mark.parametrize("code", [3, 6, 200, 201])
def test_given_the_modem_refuses_a_part_then_that_is_said(modem: ModemServer, code: int) -> None:
    def refuse(request: SmpMessage) -> Answer:
        is_upload = (request.group, request.command) == (SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD)
        return {"rc": code} if is_upload else modem(request)

    with SmpPeer(refuse) as peer, pytest.raises(BoardRefusedError) as caught:
        upload_modem(peer.path, modem_release(), timeout_s=2.0)
    assert caught.value.reason == "dfu-refused"


def test_given_an_empty_digest_file_then_pynrfjprog_aborts_and_only_its_process_dies(
    modem: ModemServer, tmp_path: Path
) -> None:
    release = tmp_path / "modem.zip"
    release.write_bytes(modem_release(digests=b""))
    with SmpPeer(modem) as peer, ProcessEngine() as engine:
        engine.call("open_modem_uart", timeout_s=60, port=peer.path, baud=115_200, timeout_ms=2000)
        with pytest.raises(BenchError) as caught:
            engine.call("verify", timeout_s=60, path=str(release))
        assert caught.value.reason == "probe-crashed"
        assert engine.call("connected", timeout_s=60)["serial_numbers"] is not None


def _is_hash(request: SmpMessage) -> bool:
    return (request.group, request.command) == (SmpGroup.MODEM_FULL, ModemFullCommand.GET_HASH)

"""The virtual board's inputs: bytes to its UART in every personality, what its flash holds at boot, and its saved state."""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cbor2

from bridge.errors import BridgeError
from bridge.image.mcuboot import BOOT_MAGIC, HEADER_BYTES
from bridge.image.sample import BEHAVIOUR_MAGIC
from bridge.lab.sample_images import SampleImages
from bridge.virtual.applications import FIRMWARE
from bridge.virtual.board import VirtualBoard
from bridge.virtual.layout import BOARD_MODELS, Layout, Slot
from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.otp import Otp
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.state import StateDir
from bridge.virtual.uart import BAUD_RATES
from bridge.wire.smp_frame import encode_frame
from bridge.wire.smp_message import SmpMessage
from hil_tests.fuzz.at_lines import board_seeds
from hil_tests.fuzz.board_driver import BoardDriver
from hil_tests.fuzz.choices import Choices
from hil_tests.fuzz.smp import messages, odd_bodies
from hil_tests.fuzz.target import Target
from hil_tests.unit.image import build

_AT_NAMES = (
    *(
        "",
        "E1",
        "+CFUN",
        "+CGMR",
        "+CEREG",
        "+CGSN",
        "+CMEE",
        "%XVBAT",
        "%CMNG",
        "%XMODEMUUID",
        "%SHORTSWVER",
    ),
    *("#XDFUINIT", "#XDFUWRITE", "#XDFUAPPLY", "#XFOTA", "#XRESET", "#XMODEMRESET", "#XSMVER", "#XSLMVER"),
    *("#XBOOTINFO", "#XDATACTRL", "+IPR", "#XSLEEP", "%XTEMP", "#XUUID", "+CGDCONT", "%KEYGEN", "%HWVERSION"),
)
_AT_TAILS = (
    "",
    "?",
    "=?",
    "=0",
    "=1",
    "=4",
    "=2,4096",
    "=0,4096",
    "=1,4096",
    "=3,4096",
    "=0,0,64",
    "=1,0,64",
    "=7",
    "=9",
)
_GROUPS = (0, 1, 65, 2, 63)
_SMALL_BYTES = 4096
_RUN_BYTES = (0, 0, 0, 0, 0, 256, 512, 1024, 2048, 4096, 8192)
_MODELS = tuple(sorted(BOARD_MODELS))


@cache
def _samples() -> SampleImages:
    return SampleImages(Path(tempfile.mkdtemp(prefix="fuzz-")))


@cache
def _image(version: str) -> bytes:
    return _samples().application(version, size_bytes=_SMALL_BYTES).read_bytes()


def make_board(firmware: str) -> VirtualBoard:
    """A board with a small application, whose flash takes no time."""
    return VirtualBoard(
        firmware=firmware,
        factory_image=_image("1.0.0"),
        keys=[_samples().public_key_pem],
        serial_modem=SerialModemOptions(modem_full=True),
        ideal_flash=True,
    )


def _fuzz_uart(firmware: str) -> Callable[[bytes], None]:
    def fuzz_one(data: bytes) -> None:
        act(BoardDriver(make_board(firmware)), Choices(data))

    return fuzz_one


def act(driver: BoardDriver, choices: Choices) -> None:
    """Do one thing after the other, and let the board finish or interrupt it."""
    driver.run(None if choices.flag() else choices.byte())
    while choices.more:
        _do(driver, choices)
        driver.run(None if choices.flag() else choices.byte())
        driver.received()
    driver.run()


def _do(driver: BoardDriver, choices: Choices) -> None:
    """One thing that a host or a person may do."""
    board = driver.board
    match choices.byte() % 9:
        case 0 | 1:
            driver.send(choices.piece())
        case 2 | 3:
            driver.send(
                f"AT{choices.of(_AT_NAMES)}{choices.of(_AT_TAILS)}".encode()
                + choices.of((b"\r", b"\n", b"\r\n"))
            )
        case 4:
            driver.send(b"AT" + choices.of(_AT_NAMES).encode() + b"=" + choices.piece() + b"\r")
        case 5:
            driver.send(encode_frame(choices.of(messages())))
        case 6:
            driver.send(encode_frame(_message(choices), choices.of((127, 512, 8192))))
        case 7:
            driver.send(bytes([choices.byte()]) * (choices.byte() + choices.of(_RUN_BYTES)))
        case _:
            _handle(board, choices)


def _message(choices: Choices) -> bytes:
    header = SmpMessage(
        choices.byte() & 3, choices.of(_GROUPS), choices.byte() % 10, version=choices.byte() & 3
    ).encode()
    body = choices.of(
        (*odd_bodies(), cbor2.dumps({"off": choices.number(4), "data": choices.piece()}), choices.piece())
    )
    return header[:2] + len(body).to_bytes(2, "big") + header[4:8] + body


def _handle(board: VirtualBoard, choices: Choices) -> None:
    match choices.byte() % 5:
        case 0:
            board._life.reset("button")
        case 1:
            board._life.switch_off("fuzz")
            board._life.switch_on()
        case 2:
            board.cable.set_host_end(baud=choices.of(BAUD_RATES))
        case 3:
            board.cable.set_host_end(flow_control=choices.flag())
        case _:
            board._build.button_held = choices.flag()


def fuzz_flash(data: bytes) -> None:
    """Anything in slots and trailers: MCUboot decides, twice, and what it starts speaks or waits."""
    choices = Choices(data)
    model = choices.of(_MODELS)
    board = VirtualBoard(
        model,
        firmware=choices.of(FIRMWARE),
        keys=[_samples().public_key_pem] if choices.flag() else [],
        ideal_flash=True,
    )
    while choices.more:
        _program(board, choices)
    driver = BoardDriver(board)
    driver.run()
    board._life.reset("button")
    driver.send(b"AT\r")
    driver.run()


def _program(board: VirtualBoard, choices: Choices) -> None:
    slot = choices.of(_partitions(board.layout))
    match choices.byte() % 7:
        case 6:
            text = b"{" + choices.piece() + b"}"
            block = BEHAVIOUR_MAGIC + len(text).to_bytes(2, "little") + text
            offset, content = 0, build.mcuboot(choices.take(8) + block, version=(1, 0, choices.byte(), 0))
        case 0:
            offset, content = 0, _image(choices.of(("1.0.0", "1.0.1", "0.9.0")))
        case 1:
            content = BOOT_MAGIC
            offset = slot.size - len(content)
        case 2:
            content = choices.take(64)  # flags, swap info and size, and the last status entries
            offset = slot.size - len(BOOT_MAGIC) - len(content)
        case 3:
            offset, content = choices.byte() % HEADER_BYTES, choices.take(8)
        case 4:
            content = bytes([choices.byte()]) * choices.number(2)
            offset = max(0, slot.size - choices.number(2) - len(content))
        case _:
            offset, content = choices.number(3), choices.piece()
    offset %= slot.size
    board.flash.program(slot.address + offset, content[: slot.size - offset])


def _partitions(layout: Layout) -> list[Slot]:
    found = [layout.primary, layout.secondary, *(layout.bootloader_slots or ())]
    return [*found, layout.storage] if layout.storage else found


def fuzz_state(data: bytes) -> None:
    """The files of a state directory."""
    choices = Choices(data)
    name = choices.of(("modem.json", "otp.json", "flash.bin"))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder)
        (path / name).write_bytes(choices.rest())
        try:
            board = VirtualBoard(state_dir=path, factory_image=_image("1.0.0"), ideal_flash=True)
        except BridgeError:
            return
        driver = BoardDriver(board)
        driver.run()
        driver.send(b"AT+CGMR\rAT%CMNG=1\rAT#XBOOTINFO=0\r")
        driver.run()
        board._keeper.close()


def at_seeds() -> list[bytes]:
    """Commands, an upload in data mode, and a boot that is disturbed."""
    image = _image("1.0.1")
    size = len(image)
    upload = _say(f"AT#XDFUINIT=0,{size}\r".encode())
    for start in range(0, size, 200):
        piece = image[start : start + 200]
        upload += _say(f"AT#XDFUWRITE=0,{start},{len(piece)}\r".encode()) + _say(piece)
    upload += _say(b"AT#XDFUAPPLY=0\r") + _say(b"AT#XRESET\r")
    lines = [seed[2:] for seed in board_seeds()]
    named = [bytes([2, name, tail, 0, 1]) for name in range(len(_AT_NAMES)) for tail in (0, 1, 2)]
    return [b"\1" + upload, *(b"\1" + _say(line) for line in lines), b"\1" + b"".join(named)]


def smp_seeds() -> list[bytes]:
    """Each request alone, and all of them."""
    each = [bytes([5, number, 1]) for number in range(len(messages()))]
    odd = [bytes([6, 0, 1, op, 0, number, 1]) for op in (0, 1) for number in range(len(odd_bodies()))]
    return [b"\1" + one for one in each] + [
        b"\1" + b"".join(each),
        b"\1" + b"".join(odd),
        b"\1\x08\0\1" + each[3],
    ]


def _say(data: bytes) -> bytes:
    """Decisions that send these bytes and let the board finish."""
    assert len(data) < 256
    return bytes([0, len(data)]) + data + b"\1"


def flash_seeds() -> list[bytes]:
    """Two images and the trailers of an update, of a revert and of a swap that is not finished."""
    images, request = bytes([0, 0, 0, 1, 0, 1]), bytes([1, 1])
    flags = [
        bytes([0, 2]) + bytes(40) + image_ok + copy_done + info for image_ok, copy_done, info in _TRAILERS
    ]
    seeds = [b"\0\0\1" + images, b"\0\0\1" + images + request]
    seeds += [bytes([0, 0, 0, 0, 6, len(text)]) + text + bytes(9) for text in _BEHAVIOURS]
    for model in range(len(_MODELS)):
        seeds += [bytes([model, 0, 1]) + images + bytes([0, 1]) + flag for flag in flags]
        seeds.append(bytes([model, 0, 1]) + images + request + bytes([0, 1, 0, 4, 0, 0, 16, 40, 0]))
    return seeds


_BEHAVIOURS = (
    b'"ready_delay_ms":1' + b"0" * 220,
    b'"crash_loop":true',
    b'"confirm":1,"registers":[]',
    b'"":',
)
_ERASED = b"\xff" * 8
_SET = b"\x01" + b"\xff" * 7
_TRAILERS = (
    (_ERASED, _ERASED, _ERASED),
    (_SET, _SET, _SET),
    (_ERASED, _SET, _ERASED),
    (b"\x02" + _ERASED[1:], _ERASED, b"\x03" + _ERASED[1:]),
)


def state_seeds() -> list[bytes]:
    """Files as they are saved, and JSON of another kind."""
    with tempfile.TemporaryDirectory() as folder:
        state = StateDir(Path(folder))
        state.save(b"", ModemNvm(family="nrf91x1", version="2.0.2"), Otp())
        state.close()
        saved = [(Path(folder) / name).read_bytes() for name in ("modem.json", "otp.json")]
    odd = [text.encode() for text in ("null", "[]", "{}", "1", '"x"', '{"counter": "x"}')]
    return [bytes([number]) + text for number in range(2) for text in (*saved, *odd)] + [b"\2" + bytes(100)]


_SEEDS = {"smp": smp_seeds, "mcuboot": smp_seeds, "fmfu": smp_seeds}
TARGETS = (
    *(
        Target(
            f"board-{firmware}",
            _fuzz_uart(firmware),
            _SEEDS.get(firmware, at_seeds),
            __name__,
            max_bytes=8192,
            examples=25,
        )
        for firmware in FIRMWARE
    ),
    Target("board-flash", fuzz_flash, flash_seeds, __name__, max_bytes=1024, examples=25),
    Target("board-state", fuzz_state, state_seeds, __name__, max_bytes=2048, examples=25),
)

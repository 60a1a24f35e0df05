"""The power fails while the modem works on its own flash; what it does then, Nordic's library documents."""

import pytest

from bridge.image.sample_modem import encode_modem_loader
from bridge.lab.sample_images import SampleImages
from bridge.virtual.faults import PowerCutError
from bridge.virtual.flash import Tear
from bridge.virtual.modem_bootloader import ModemBootloader
from bridge.virtual.modem_flash import ModemFlash
from bridge.virtual.modem_power import ModemOperations
from hil_tests.unit.virtual_board.tapped import TappedBoard

FIRST = 1


def write_delta(tapped: TappedBoard, delta: bytes) -> None:
    tapped.ask(f"AT#XDFUINIT=1,{len(delta)}")
    tapped.send(b"AT#XDFUWRITE=1,0,%d\r" % len(delta) + delta)


@pytest.mark.parametrize("tear", list(Tear))
def test_a_transfer_of_a_delta_can_be_resumed_at_the_offset_that_the_modem_tells(
    samples: SampleImages, tear: Tear
) -> None:
    delta = samples.modem_delta("2.0.2", "2.0.3").read_bytes()[:4096]
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.board.modem_operations.cut_power_at(FIRST, tear)
        write_delta(tapped, delta)
        tapped.board.wait_for_event("power-off")
        tapped.cable.drop_input()
        tapped.board.power_on()
        tapped.read_until(b"Ready\r\n")
        answer = tapped.ask("AT#XFOTA=7")
        filled = {Tear.BEFORE: 0, Tear.HALF: 2048, Tear.AFTER: 4096}[tear]
        assert f"#XFOTA: 294912,{filled}\r\n".encode() in answer


@pytest.mark.parametrize("tear", list(Tear))
def test_an_update_that_was_cut_short_goes_on_when_the_modem_starts_again(
    samples: SampleImages, tear: Tear
) -> None:
    delta = samples.modem_delta("2.0.2", "2.0.3").read_bytes()
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        write_delta(tapped, delta)
        tapped.read_until(b"#XDFU: 1,1,0\r\n")
        tapped.ask("AT#XDFUAPPLY=1")
        tapped.board.modem_operations.cut_power_at(tapped.board.modem_operations.count + 1, tear)
        tapped.send(b"AT#XMODEMRESET\r")
        tapped.board.wait_for_event("power-off")
        tapped.cable.drop_input()
        tapped.board.power_on()
        tapped.read_until(b"Ready\r\n")
        assert b"mfw_nrf91x1_2.0.3" in tapped.ask("AT+CGMR")


def test_a_page_of_firmware_that_was_cut_short_is_half_there() -> None:
    flash, operations = ModemFlash(), ModemOperations()
    modem = ModemBootloader(flash, operations=operations)
    modem.begin()
    modem.write_loader(encode_modem_loader(bytes(range(256)) * 4))
    assert modem.update().ok
    operations.cut_power_at(1)
    with pytest.raises(PowerCutError):
        modem.write_firmware(0x6000, bytes(0x2000))
    assert flash.read(0x6000, 0x2000) == bytes(0x1000) + b"\xff" * 0x1000

"""``nrf91-bridge board`` with serial recovery, as another program sees it."""

import json
import subprocess
import sys

import pytest
import serial

from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp


def ask(port: serial.Serial, message: SmpMessage) -> SmpMessage:
    port.write(encode_frame(message.encode()))
    decoder = SmpFrameDecoder()
    while True:
        data = port.read_until(b"\n")
        assert data, "no answer"
        for answer in decoder.feed(data):
            return SmpMessage.decode(answer)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["--firmware", "mcuboot"], {"rc": 8}),
        (
            ["--model", "thingy91x", "--button", "--bootloader", "params,receive-bytes=2048"],
            {"buf_size": 2048, "buf_count": 1},
        ),
        (
            ["--recovery-entry", "no-application,button", "--button", "--bootloader", "params"],
            {"buf_size": 1024, "buf_count": 1},
        ),
    ],
)
def test_given_the_command_then_its_port_answers_as_the_build_that_was_asked_for(
    options: list[str], answer: dict[str, int]
) -> None:
    command = [sys.executable, "-m", "bridge", "board", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            with serial.Serial(ready["port"], 115_200, timeout=10) as port:
                asked = SmpMessage(SmpOp.READ, SmpGroup.OS, OsCommand.PARAMETERS)
                assert ask(port, asked).body == answer
                listed = ask(port, SmpMessage(SmpOp.READ, SmpGroup.IMAGE, ImageCommand.STATE))
                assert [image["version"] for image in listed.body["images"]] == ["1.0.0"]
        finally:
            process.terminate()

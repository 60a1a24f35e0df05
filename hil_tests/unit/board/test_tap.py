"""Listening in on links."""

from pathlib import Path

from bridge.board import Board
from bridge.board.tap import tapped
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard


def test_a_tap_hears_both_directions_as_long_as_it_lasts(tmp_path: Path) -> None:
    heard: list[tuple[str, str, bytes]] = []
    samples = SampleImages(tmp_path)
    image = samples.application("1.0.0").read_bytes()
    with VirtualBoard(factory_image=image, keys=[samples.public_key_pem]) as board:
        registry.register("tapped", board)
        try:
            with Board.open("virtual://tapped") as opened:
                opened.at.command("AT")
                with tapped(lambda url, direction, data: heard.append((url, direction, data))):
                    opened.at.command("AT+CGMI")
                opened.at.command("AT+CGMM")
        finally:
            registry.unregister("tapped")
    assert {url for url, _, _ in heard} == {"virtual://tapped"}
    said = {way: b"".join(data for _, direction, data in heard if direction == way) for way in ("in", "out")}
    assert said["out"] == b"AT+CGMI\r"
    assert b"Nordic Semiconductor ASA" in said["in"]
    assert b"nRF91" not in said["in"]

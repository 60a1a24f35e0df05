"""The update line on a board whose MCUboot keeps two images: the other one is written, tried, proven and kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.fota import Finished, Outcome, Update, UpdateOptions
from bridge.fota.choose_route import RouteOptions, Transport, route_opener
from bridge.image import FileSource, inspect_bytes
from bridge.lab.sample_images import SampleImages
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp
from hil_tests.unit.dfu.smp_peer import Answer, SmpPeer

_NOT_SUPPORTED = {"rc": 8}


class TwoImageServer:
    """Zephyr's server on a board with two images, as far as an update needs it; a reset takes no time.

    Attributes:
        slots: Version and digest of what is in them, by image and slot.
        uploads: The ``image`` of each upload that was begun.
    """

    def __init__(self, *, confirms_others: bool = True) -> None:
        self.slots: dict[tuple[int, int], tuple[str, bytes]] = {
            (0, 0): ("9.0.0", b"\x09" * 32),
            (1, 0): ("1.0.0", b"\x01" * 32),
        }
        self.uploads: list[int] = []
        self._pending: int | None = None
        self._on_trial: int | None = None
        self._confirms_others = confirms_others
        self._data = bytearray()

    def __call__(self, request: SmpMessage) -> Answer:
        match request.group, request.command:
            case SmpGroup.OS, OsCommand.PARAMETERS:
                return {"buf_size": 2048, "buf_count": 4}
            case SmpGroup.OS, OsCommand.RESET:
                self._reset()
                return {}
            case SmpGroup.IMAGE, ImageCommand.UPLOAD:
                return self._upload(request.body)
            case SmpGroup.IMAGE, ImageCommand.STATE:
                return self._list() if request.op == SmpOp.READ else self._write(request.body)
        return _NOT_SUPPORTED

    def _upload(self, body: Mapping[str, Any]) -> Answer:
        if body["off"] == 0:
            self.uploads.append(body.get("image", 0))
            self._data.clear()
            self._size = body["len"]
        if body["off"] == len(self._data):
            self._data += body["data"]
        if len(self._data) == self._size:
            info = inspect_bytes(bytes(self._data)).mcuboot
            assert info is not None
            self.slots[self.uploads[-1], 1] = (info.version, bytes.fromhex(info.digest))
        return {"off": len(self._data)}

    def _write(self, body: Mapping[str, Any]) -> Answer:
        wanted = body.get("hash", self.slots[0, 0][1])
        image, slot = next((place for place, (_, digest) in self.slots.items() if digest == wanted), (0, -1))
        if slot < 0:
            return {"err": {"group": 1, "rc": 8}}
        if not body.get("confirm"):
            self._pending = image
        elif image != 0 and not self._confirms_others:
            return {"err": {"group": 1, "rc": 32}}
        elif self._on_trial == image:
            self._on_trial = None
        return self._list()

    def _reset(self) -> None:
        image, self._pending, reverted = self._pending, None, self._on_trial
        self._on_trial = image
        for swapped in {image, reverted} - {None}:
            assert swapped is not None
            self.slots[swapped, 0], self.slots[swapped, 1] = self.slots[swapped, 1], self.slots[swapped, 0]

    def _list(self) -> Answer:
        return {
            "images": [
                {
                    "image": image,
                    "slot": slot,
                    "version": version,
                    "hash": digest,
                    "bootable": True,
                    "active": slot == 0,
                    "confirmed": slot == (1 if self._on_trial == image else 0),
                    "pending": slot == 1 and self._pending == image,
                }
                for (image, slot), (version, digest) in sorted(self.slots.items())
            ]
        }


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.smp_board._RESET_DELAY_S", 0.05)


def update(server: TwoImageServer, image: Path) -> Finished:
    with SmpPeer(server) as peer:
        route = route_opener(RouteOptions(lambda: peer.path, Transport.SMP, flow_control=False))
        options = UpdateOptions(image_index=1, confirm_timeout_s=0.1)
        *_, end = Update(FileSource(image), route, options=options)
    assert isinstance(end, Finished)
    return end


def test_given_an_image_for_the_second_one_then_that_is_written_proven_and_confirmed(tmp_path: Path) -> None:
    server = TwoImageServer()
    end = update(server, SampleImages(tmp_path).application("1.1.0"))
    assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, "1.0.0", "1.1.0")
    assert server.uploads == [1]
    assert server.slots[0, 0][0] == "9.0.0"


def test_given_a_server_that_confirms_its_own_image_only_then_the_other_is_said_to_be_on_trial(
    tmp_path: Path,
) -> None:
    end = update(TwoImageServer(confirms_others=False), SampleImages(tmp_path).application("1.1.0"))
    assert (end.outcome, end.reason, end.running_version) == (Outcome.FAILED, "not-confirmed", "1.1.0")


def test_given_the_version_that_the_second_one_has_then_it_is_refused(tmp_path: Path) -> None:
    server = TwoImageServer()
    end = update(server, SampleImages(tmp_path).application("1.0.0"))
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "same-version")
    assert server.uploads == []

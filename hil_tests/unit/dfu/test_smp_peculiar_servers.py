"""Servers that do what the protocol allows, or what is seen in the wild, but no usual build does: images still arrive."""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest

from bridge.board.link import Link
from bridge.board.smp_board import SmpBoard
from bridge.board.smp_client import SmpClient
from bridge.dfu.smp import SmpTarget
from bridge.dfu.smp_upload import SmpUpload
from bridge.errors import BoardRefusedError, BridgeError, LinkError
from bridge.wire.smp_frame import START
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp
from hil_tests.unit.dfu.smp_peer import Answer, SmpPeer

IMAGE: Final = random.Random(1).randbytes(150_000)
_SMALLEST_FIRST_PIECE: Final = 32


class Server:
    """Zephyr's server as far as an upload needs it.

    Attributes:
        image: What came.
        first: The request that opened the upload.
    """

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.image = bytearray()
        self.first: Mapping[str, Any] = {}
        self._parameters = parameters

    def __call__(self, request: SmpMessage) -> Answer:
        if (request.group, request.command) == (SmpGroup.OS, OsCommand.PARAMETERS):
            return {"rc": 8} if self._parameters is None else self._parameters
        if (request.group, request.command) == (SmpGroup.IMAGE, ImageCommand.UPLOAD):
            return self._upload(request.body)
        return {"rc": 8}

    def _upload(self, body: Mapping[str, Any]) -> Answer:
        if body["off"] == 0:
            if len(body["data"]) < _SMALLEST_FIRST_PIECE:
                return {"err": {"group": 1, "rc": 22}}
            self.first = body
            self.image.clear()
        if body["off"] == len(self.image):
            self.image += body["data"]
        return {"off": len(self.image)}


@contextmanager
def connected(peer: SmpPeer) -> Iterator[SmpClient]:
    with peer:
        link = Link(peer.path, flow_control=False)
        client = SmpClient(link)
        link.open()
        try:
            yield client
        finally:
            link.close()


def upload(client: SmpClient) -> None:
    job = SmpUpload(client, client.parameters(), len(IMAGE), hashlib.sha256(IMAGE).digest())
    for start in range(0, len(IMAGE), 4096):
        job.write(IMAGE[start : start + 4096])
    job.finish()


def within_frame(frame: bytes) -> bytes:
    return b"\n[00:00:01] <wrn> between two lines of a frame\r\n".join(frame.split(b"\n"))


WIRES: dict[str, Callable[[bytes], bytes]] = {
    "CR LF": lambda frame: frame.replace(b"\n", b"\r\n"),
    "log lines around": lambda frame: b"[00:00:01] <inf> before\r\n" + frame + b"after\n",
    "log lines within": within_frame,
    "a shell's prompt in front": lambda frame: b"\x1b[1;32muart:~$ \x1b[m" + frame,
    "an unfinished line in front": lambda frame: b"half a line of the log" + frame,
    "a line without end in front": lambda frame: b"x" * 300_000 + b"\n" + frame,
    "each answer twice": lambda frame: frame + frame,
    "noise around": lambda frame: bytes(range(11, 256)) + b"\n" + frame + bytes(range(128, 256)) + b"\n",
}


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_given_whatever_stands_between_answers_then_the_image_arrives(wire: Callable[[bytes], bytes]) -> None:
    server = Server({"buf_size": 1024, "buf_count": 4})
    with connected(SmpPeer(server, wire=wire)) as client:
        upload(client)
    assert server.image == IMAGE


MESSAGES: dict[str, Callable[[SmpMessage, Mapping[str, Any]], bytes]] = {
    "indefinite lengths": lambda request, body: request.response(body).encode(indefinite=True),
    "the first version of SMP": lambda request, body: request.response(body, version=0).encode(),
    "rc everywhere": lambda request, body: request.response({"rc": 0, **body}).encode(),
    "unknown keys": lambda request, body: request.response(
        {"new": {"a": [1, None]}, **body, "match": True}
    ).encode(),
    "bytes behind the map": lambda request, body: request.response(body).encode() + b"\xf6\xf6",
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_given_any_form_of_answer_then_the_image_arrives(
    message: Callable[[SmpMessage, Mapping[str, Any]], bytes],
) -> None:
    server = Server({"buf_size": 1024, "buf_count": 4})
    with connected(SmpPeer(server, message=message)) as client:
        upload(client)
    assert server.image == IMAGE


PARAMETERS: dict[str, Mapping[str, Any] | None] = {
    "none": None,
    "only a count": {"buf_count": 4},
    "only a size": {"buf_size": 512},
    "no buffers": {"buf_size": 512, "buf_count": 0},
    "a thousand buffers": {"buf_size": 512, "buf_count": 1000},
    "the largest that a frame can have": {"buf_size": 65_537, "buf_count": 4},
    "more than a frame can have": {"buf_size": 1 << 20, "buf_count": 4},
}


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_given_any_parameters_then_the_image_arrives(parameters: Mapping[str, Any] | None) -> None:
    server = Server(parameters)
    with connected(SmpPeer(server)) as client:
        upload(client)
    assert server.image == IMAGE
    assert server.first["sha"] == hashlib.sha256(IMAGE).digest()


def test_given_buffers_too_small_for_a_digest_then_the_upload_does_without(  # Zephyr wants 32 bytes of the image first
) -> None:
    server = Server({"buf_size": 96, "buf_count": 4})
    with connected(SmpPeer(server)) as client:
        upload(client)
    assert server.image == IMAGE
    assert "sha" not in server.first


def test_given_buffers_too_small_for_anything_then_that_is_said() -> None:
    with (
        connected(SmpPeer(Server({"buf_size": 24, "buf_count": 4}))) as client,
        pytest.raises(BoardRefusedError) as caught,
    ):
        upload(client)
    assert caught.value.reason == "buffers-too-small"


@pytest.mark.parametrize("answer", [{"off": None}, {"off": "now"}, {"rc": "bad"}, {"rc": None}])
def test_given_an_answer_that_makes_no_sense_then_that_is_said(answer: Mapping[str, Any]) -> None:
    with (
        connected(
            SmpPeer(lambda request: answer if request.group == SmpGroup.IMAGE else {"rc": 8})
        ) as client,
        pytest.raises(LinkError) as caught,
    ):
        upload(client)
    assert caught.value.reason == "bad-answer"


@pytest.mark.parametrize(
    "images", [[{"version": "1.0.0"}], [{"slot": 0, "hash": "text"}], [{"slot": None}], [None], 7]
)
def test_given_an_image_list_that_makes_no_sense_then_that_is_said(images: object) -> None:
    with connected(SmpPeer(lambda _: {"images": images})) as client:
        for read in (client.image_states, client.slot_info) if images == [None] else (client.image_states,):
            with pytest.raises(BridgeError) as caught:
                read()
            assert caught.value.reason == "bad-answer"


class Slots(Server):
    """A server that also lists and marks the image; it refuses to mark one twice, and loses its first answer to that."""

    def __init__(self, digest: str, *, forgets: bool = False) -> None:
        super().__init__({"buf_size": 1024, "buf_count": 4})
        self.marks = 0
        self._digest = bytes.fromhex(digest)
        self._forgets = forgets

    def __call__(self, request: SmpMessage) -> Answer:
        if (request.group, request.command) != (SmpGroup.IMAGE, ImageCommand.STATE):
            return super().__call__(request)
        if request.op == SmpOp.WRITE:
            self.marks += 1
            return {"err": {"group": 1, "rc": 1}} if self.marks > 1 else None
        pending = self.marks > 0 and not self._forgets
        new = {"slot": 1, "version": "2.0.0", "hash": self._digest, "bootable": True, "pending": pending}
        old = {"slot": 0, "version": "1.0.0", "hash": bytes(32), "active": True, "confirmed": True}
        return {"images": [old, new]}


@pytest.mark.parametrize("forgets", [False, True])
def test_given_a_lost_answer_to_the_mark_and_a_refusal_of_the_second_then_the_list_decides(
    forgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SmpClient.request, "__kwdefaults__", {"timeout_s": 0.2, "tries": 3})
    server = Slots("ab" * 32, forgets=forgets)
    with SmpPeer(server) as peer, SmpBoard(Link(peer.path, flow_control=False)) as board:
        board.link.open()
        target = SmpTarget(board)
        if not forgets:
            target.schedule("ab" * 32)
        else:
            with pytest.raises(BoardRefusedError) as caught:
                target.schedule("ab" * 32)
            assert caught.value.reason == "schedule-refused"
    assert server.marks == 2


class ShellPeer(SmpPeer):
    """SMP over Zephyr's shell: a frame that comes in one go with what stands before it is typed text."""

    def receive(self, data: bytes) -> None:
        if data.startswith(START):
            super().receive(data)


def test_given_a_shell_then_it_is_found_although_lines_of_others_are_ended_first() -> None:
    with ShellPeer(lambda _: {"rc": 8}) as peer, SmpBoard(Link(peer.path, flow_control=False)) as board:
        board.link.open()
        assert board.probe(5.0)
        assert not board.in_recovery

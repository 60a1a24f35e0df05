"""NCS's fmfu server reduced to its messages, on a pty: it writes what it gets, also what it has got before."""

import hashlib
from typing import Any

from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import SmpMessage
from hil_tests.unit.board.scripted_peer import ScriptedPeer

OS, IMAGE, STATISTICS, MODEM = 0, 1, 2, 65
RESET, GET_HASH, UPLOAD = 5, 0, 1


class FakeFmfuServer(ScriptedPeer):
    """Attributes tell what arrived; others make it fail.

    Attributes:
        uploads: Every upload request since the last start, in order.
        files: Address and bytes of every finished file since then.
        starts: How often it was reset.
        longest_line: Longest line that came, without its line feed.
        longest_message: Longest message that came.
        lost_requests: Numbers (from 0, over all starts) of uploads that do not arrive.
        lost_answers: Numbers of uploads whose answer does not.
        bad_uploads: Numbers of uploads -> what is answered instead.
        limits: What the statistics say; None for a server without them.
        encrypted: Digests are of something else than what came.
        digest_bytes: How much of a digest is sent.
        boot_text: What it prints when it starts.
    """

    def __init__(self) -> None:
        self.uploads: list[dict[str, Any]] = []
        self.files: list[tuple[int, bytes]] = []
        self.starts = 0
        self.longest_line = 0
        self.longest_message = 0
        self.lost_requests: set[int] = set()
        self.lost_answers: set[int] = set()
        self.bad_uploads: dict[int, dict[str, Any]] = {}
        self.limits: dict[str, int] | None = {"frame_max": 512, "pack_max": 504}
        self.encrypted = False
        self.digest_bytes = 32
        self.boot_text = ""
        self.groups = {OS, IMAGE, STATISTICS, MODEM}
        self._decoder = SmpFrameDecoder()
        self._number_of_uploads = 0
        self._file = bytearray()
        self._file_bytes = 0
        super().__init__()

    def digest_of(self, data: bytes) -> bytes:
        """SHA-256 of what is in flash."""
        return hashlib.sha256((b"plain" if self.encrypted else b"") + data).digest()

    def _take(self, byte: bytes) -> None:
        self._line += byte
        if byte != b"\n":
            return
        self.longest_line = max(self.longest_line, len(self._line) - 1)
        line = bytes(self._line)
        self._line.clear()
        for data in self._decoder.feed(line):
            self.longest_message = max(self.longest_message, len(data))
            request = SmpMessage.decode(data)
            answer = self._answer(request)
            if answer is not None:
                self.send(encode_frame(request.response(answer).encode(indefinite=True)))
            if (request.group, request.command) == (OS, RESET):
                self._restart()

    def _restart(self) -> None:
        self.starts += 1
        self.uploads.clear()
        self.files.clear()
        self._file.clear()
        self.send(self.boot_text)

    def _answer(self, request: SmpMessage) -> dict[str, Any] | None:
        if request.group not in self.groups:
            return {"rc": 8}
        match request.group, request.command:
            case (0, 5):
                return {"rc": 0}
            case (1, 0):
                return {"images": []}
            case (2, 0):
                return (
                    {"rc": 5} if self.limits is None else {"rc": 0, "name": "smp_com", "fields": self.limits}
                )
            case (65, 0):
                return self._get_hash(int(request.body["start"]), int(request.body["end"]))
            case (65, 1):
                return self._upload(dict(request.body))
        return {"rc": 8}

    def _get_hash(self, first: int, last: int) -> dict[str, Any]:
        if not first or not last:
            return {"rc": 3}
        found = [
            data for address, data in self.files[1:] if (address, len(data)) == (first, last - first + 1)
        ]
        if not found:
            return {"rc": 6}
        digest = self.digest_of(found[-1])
        words = b"".join(digest[start : start + 4][::-1] for start in range(0, 32, 4))
        return {"digest": words[: self.digest_bytes], "rc": 0}

    def _upload(self, body: dict[str, Any]) -> dict[str, Any] | None:
        number, self._number_of_uploads = self._number_of_uploads, self._number_of_uploads + 1
        if number in self.lost_requests:
            return None
        if number in self.bad_uploads:
            return self.bad_uploads[number]
        self.uploads.append(body)
        if body["off"] == 0:
            self._file_bytes = body["len"]
            self._file.clear()
        self._file += body["data"]
        end = body["off"] + len(body["data"])
        if end == self._file_bytes:
            self.files.append((body["addr"] - body["off"], bytes(self._file)))
        return None if number in self.lost_answers else {"rc": 0, "off": end}

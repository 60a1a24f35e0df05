"""A scripted SMP server on a pty: a test decides what each request is answered, and sees every request.

It takes lines of 512 bytes, as the builds that pynrfjprog is made for do, and answers in lines of 127. The reset that
pynrfjprog asks for while it closes the port is usually lost on a pty.
"""

import contextlib
import hashlib
import os
import select
import threading
import tty
from collections.abc import Callable, Mapping
from typing import Any, Self

from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ImageCommand, ModemFullCommand, OsCommand, SmpGroup, SmpMessage

Answer = Mapping[str, Any] | None
_READ_BYTES = 65_536


def _plainly(request: SmpMessage, body: Mapping[str, Any]) -> bytes:
    return request.response(body).encode()


class SmpPeer:
    """Answers requests by asking ``answer``; ``None`` is silence.

    Args:
        answer: Gives the body of the answer to a request.
        line_bytes: Longest line that is taken.
        message: Makes the answer's message out of a request and a body.
        wire: Makes what goes on the line out of an answer's frame.

    Attributes:
        requests: Every request, in order.
        path: The port.
    """

    def __init__(
        self,
        answer: Callable[[SmpMessage], Answer],
        line_bytes: int = 512,
        *,
        message: Callable[[SmpMessage, Mapping[str, Any]], bytes] = _plainly,
        wire: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self.requests: list[SmpMessage] = []
        self._answer = answer
        self._message = message
        self._wire = wire
        self._decoder = SmpFrameDecoder(max_line_bytes=line_bytes)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="smp-peer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._wake_write, b"x")
        self._thread.join()
        for descriptor in (self._master, self._slave, self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            self.receive(os.read(self._master, _READ_BYTES))

    def receive(self, data: bytes) -> None:
        """Take bytes that came in one go."""
        for message in self._decoder.feed(data):
            self._serve(SmpMessage.decode(message))

    def _serve(self, request: SmpMessage) -> None:
        self.requests.append(request)
        body = self._answer(request)
        data = b"" if body is None else self._wire(encode_frame(self._message(request, body)))
        while data:
            data = data[os.write(self._master, data) :]


class RecoveryServer:
    """MCUboot's serial recovery as far as an upload needs it.

    Attributes:
        image: What was uploaded.
    """

    def __init__(self) -> None:
        self.image = bytearray()

    def __call__(self, request: SmpMessage) -> Answer:
        """Answer a request."""
        match request.group, request.command:
            case SmpGroup.IMAGE, ImageCommand.UPLOAD:
                return self._upload(request.body)
            case SmpGroup.OS, OsCommand.RESET:
                return {"rc": 0}
        return {"rc": 8}  # erase among others

    def _upload(self, body: Mapping[str, Any]) -> Answer:
        if body["off"] == 0:
            self.image.clear()
        if body["off"] == len(self.image):
            self.image += body["data"]
        return {"rc": 0, "off": len(self.image)}


class ModemServer:
    """The fmfu sample: statistics that announce long lines, upload by files, digests with their words swapped.

    Attributes:
        files: What was uploaded, one entry a file.
        digests: SHA-256 as the digest file has it, by first and last address.
    """

    def __init__(self, digests: Mapping[tuple[int, int], str]) -> None:
        self.files: list[bytearray] = []
        self.digests = dict(digests)

    def __call__(self, request: SmpMessage) -> Answer:
        """Answer a request."""
        match request.group, request.command:
            case SmpGroup.STATISTICS, 0:
                return {"rc": 0, "name": "smp_com", "fields": {"frame_max": 512, "pack_max": 504}}
            case SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD:
                if request.body["off"] == 0:
                    self.files.append(bytearray())
                self.files[-1] += request.body["data"]
                return {"rc": 0, "off": len(self.files[-1])}
            case SmpGroup.MODEM_FULL, ModemFullCommand.GET_HASH:
                found = self.digests.get((request.body["start"], request.body["end"]))
                digest = bytes.fromhex(found) if found else hashlib.sha256().digest()
                return {"rc": 0, "digest": swap_words(digest)}
            case SmpGroup.OS, OsCommand.RESET:
                return {"rc": 0}
        return {"rc": 8}


def swap_words(digest: bytes) -> bytes:
    """A digest as the modem returns it: the bytes of each 32-bit word in reverse."""
    return b"".join(digest[start : start + 4][::-1] for start in range(0, len(digest), 4))

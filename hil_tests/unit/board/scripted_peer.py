"""A scripted peer on a pty: what a test tells it to answer, and what it received, byte by byte."""

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable
from typing import Self

Answer = str | bytes | Callable[[str], str | bytes]
IDENTITY: dict[str, Answer] = {
    "AT+CGMI": "\r\nNordic Semiconductor ASA\r\n\r\nOK\r\n",
    "AT+CGMM": "\r\nnRF9151-LACA\r\n\r\nOK\r\n",
    "AT+CGMR": "\r\nmfw_nrf91x1_2.0.2\r\n\r\nOK\r\n",
    "AT+CGSN": "\r\n352656100367872\r\n\r\nOK\r\n",
    "AT%SHORTSWVER": "\r\n%SHORTSWVER: nrf91x1_2.0.2\r\n\r\nOK\r\n",
    "AT%HWVERSION": "\r\n%HWVERSION: nRF9151 LACA ADA\r\n\r\nOK\r\n",
    "AT%XMODEMUUID": "\r\n%XMODEMUUID: 25c95751-efa4-40d4-8b4a-1dcaab81fac9\r\n\r\nOK\r\n",
    "AT%DEVICEUUID": "\r\n%DEVICEUUID: 504d5632-3739-42fb-80c8-1411df972166\r\n\r\nOK\r\n",
    "AT#XSMVER": '\r\n#XSMVER: "v1.2.3-7-gdf00f46","3.3.0-rc1"\r\n\r\nOK\r\n',
}
OK = "\r\nOK\r\n"
ERROR = "\r\nERROR\r\n"


class ScriptedPeer:
    """Answers command lines (ended by CR) from a table; unknown ones get ``ERROR``, ``AT`` gets ``OK``.

    Attributes:
        answers: Command to answer; an empty answer is silence, a callable is asked each time.
        commands: Every command line received, in order.
        received: Every byte received.
        path: The port.
    """

    def __init__(self, answers: dict[str, Answer] | None = None, terminator: bytes = b"\r") -> None:
        self.answers: dict[str, Answer] = {"AT": OK, **(answers or {})}
        self.commands: list[str] = []
        self.received = bytearray()
        self.muted = False
        self._terminator = terminator
        self._line = bytearray()
        self._data_left = 0
        self._on_data: Callable[[bytes], str] = lambda _: ""
        self._data = bytearray()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="scripted-peer")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the peer; the port is hung up."""
        if self._stopping:
            return
        self._stopping = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        for descriptor in (self._master, self._slave, self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def send(self, text: str | bytes) -> None:
        """Say something unasked."""
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self._master, data) :]

    def enter_data_mode(self, size: int, on_data: Callable[[bytes], str]) -> None:
        """Take the next bytes as data; ``on_data`` gets them and returns what to say."""
        self._data_left, self._on_data = size, on_data
        self._data.clear()

    @property
    def in_data_mode(self) -> bool:
        """Whether bytes are still missing."""
        return self._data_left > 0

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            data = os.read(self._master, 65536)
            self.received += data
            if self.muted:
                continue
            for index in range(len(data)):
                self._take(data[index : index + 1])

    def _take(self, byte: bytes) -> None:
        if self._data_left:
            self._data += byte
            self._data_left -= 1
            if not self._data_left:
                self.send(self._on_data(bytes(self._data)))
            return
        self._line += byte
        if not self._line.endswith(self._terminator):
            return
        at = self._line.upper().find(b"AT")
        line = bytes(self._line[at : -len(self._terminator)]) if at >= 0 else b""
        self._line.clear()
        if line:
            command = line.decode("latin-1")
            self.commands.append(command)
            self.send(self.lookup(command))

    def lookup(self, command: str) -> str | bytes:
        """The answer to a command."""
        answer = self.answers.get(command, ERROR)
        return answer(command) if callable(answer) else answer

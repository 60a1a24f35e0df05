"""A Serial Modem that updates its modem by ``#XDFU`` type 2, reduced to the bytes on the line, on a pty."""

from hil_tests.unit.board.scripted_peer import ERROR, IDENTITY, OK, ScriptedPeer

BOOTLOADER_READY = "Bootloader mode ready\r\n"
READY = "Ready\r\n"


class FakeModemBootloader(ScriptedPeer):
    """Attributes tell what arrived; others make it fail.

    Attributes:
        writes: Address and bytes of every ``#XDFUWRITE`` since the last start, in order.
        starts: How often it came up in bootloader mode.
        alive: The modem starts.
        talkative: It answers before it restarts, as newer versions do.
        supported: It was built for full modem updates.
        failing_writes: Numbers (from 0, over all starts) of writes that report failure.
        failing_applies: The same for ``#XDFUAPPLY``.
        deaf_applies: Numbers of ``#XDFUAPPLY`` that are not heard.
        silent_starts: Starts (from 0) whose message is lost on the line.
    """

    def __init__(self, *, talkative: bool = False, supported: bool = True) -> None:
        self.writes: list[tuple[int, bytes]] = []
        self.starts = 0
        self.alive = True
        self.talkative = talkative
        self.supported = supported
        self.failing_writes: set[int] = set()
        self.failing_applies: set[int] = set()
        self.deaf_applies: set[int] = set()
        self.silent_starts: set[int] = set()
        self.bootloader_mode = False
        self.firmware_is_next = False
        self._number_of_writes = 0
        self._number_of_applies = 0
        self._number_of_starts = 0
        self._held_back: list[str] = []
        super().__init__(dict(IDENTITY))

    @property
    def loader(self) -> bytes:
        """What was written before the first apply."""
        return b"".join(data for address, data in self.writes if address < 0x1000_0000)

    def lookup(self, command: str) -> str | bytes:
        """Answer to a command, with the URCs that were held back right behind the result."""
        name, _, rest = command.partition("=")
        if name == "AT#XDFUINIT" and rest == "?":
            types = "0,1,2" if self.supported else "0,1"
            answer: str | bytes = f"\r\n#XDFUINIT: ({types}),<size>\r\n\r\nOK\r\n"
        elif name == "AT#XDFUINIT":
            answer = self._init(rest)
        elif name == "AT#XDFUWRITE" and self.bootloader_mode:
            return self._write(*(int(number) for number in rest.split(",")))
        elif name == "AT#XDFUAPPLY" and self.bootloader_mode:
            answer = self._apply()
        elif name == "AT#XRESET":
            answer = ("" if self.bootloader_mode else OK) + self._start(bootloader_mode=not self.alive)
        else:
            answer = ERROR if self.bootloader_mode else super().lookup(command)
        held_back, self._held_back = self._held_back, []
        return str(answer) + "".join(held_back)

    def _start(self, *, bootloader_mode: bool) -> str:
        number, self._number_of_starts = self._number_of_starts, self._number_of_starts + 1
        self.bootloader_mode = bootloader_mode
        self._held_back.clear()
        if bootloader_mode:
            self.starts += 1
        if number in self.silent_starts:
            return ""
        return BOOTLOADER_READY if bootloader_mode else READY

    def _init(self, rest: str) -> str:
        if rest != "2" or not self.supported:
            return ERROR
        self.writes.clear()
        self.firmware_is_next = False
        return (OK if self.talkative else "") + self._start(bootloader_mode=True)

    def _write(self, _kind: int, address: int, size: int) -> str:
        number, self._number_of_writes = self._number_of_writes, self._number_of_writes + 1
        if self.firmware_is_next:
            self.alive = False

        def done(data: bytes) -> str:
            self.writes.append((address, data))
            self._held_back.append(f"#XDFU: 2,1,{-1 if number in self.failing_writes else 0}\r\n")
            return "\r\n#XDATAMODE: 0\r\n"

        self.enter_data_mode(size, done)
        return OK

    def _apply(self) -> str:
        number, self._number_of_applies = self._number_of_applies, self._number_of_applies + 1
        if number in self.deaf_applies:
            return ""
        if number in self.failing_applies:
            self._held_back.append("#XDFU: 2,2,-1\r\n")
            return OK
        if not self.firmware_is_next:
            self.firmware_is_next = True
            self._held_back.append("#XDFU: 2,2,0\r\n")
            return OK
        self.alive = True
        said = OK + "#XDFU: 2,2,0\r\n" if self.talkative else ""
        return said + self._start(bootloader_mode=False)

"""A Serial Modem reduced to ``#XDFU``, on a pty; it appends what it gets and holds URCs back."""

from hil_tests.unit.board.scripted_peer import ERROR, OK, ScriptedPeer

DIRTY = 2_621_440
AREA_BYTES = 294_912


class FakeSerialModem(ScriptedPeer):
    """Attributes tell what arrived; others make it fail.

    Attributes:
        sessions: One byte string for each ``#XDFUINIT``: what was appended since.
        scheduled: Types of successful ``#XDFUAPPLY`` commands, in order.
        failing_writes: Numbers (from 0) of writes that report failure.
        area: What is in the modem's delta area.
        area_dirty: It must be erased first.
        result: What the modem reports after a restart with a scheduled delta.
    """

    def __init__(self, slot_bytes: int = 200_000) -> None:
        self.slot_bytes = slot_bytes
        self.sessions: list[bytearray] = []
        self.scheduled: list[int] = []
        self.failing_writes: set[int] = set()
        self.refuse_apply = False
        self.lose_status = False
        self.lose_ok_of_write: set[int] = set()
        self.area = bytearray()
        self.area_dirty = False
        self.delta_scheduled = False
        self.erasable = True
        self.online = False
        self.writes = 0
        self._held_back: list[str] = []
        super().__init__()
        self.answers["AT"] = lambda _: OK
        self.answers["AT#XFOTA=7"] = lambda _: f"\r\n#XFOTA: {AREA_BYTES},{self.area_offset}\r\n\r\nOK\r\n"
        self.answers["AT#XFOTA=9"] = lambda _: self._erase()
        self.answers["AT#XMODEMRESET"] = self._reset_modem
        self.answers["AT+CFUN?"] = lambda _: f"\r\n+CFUN: {1 if self.online else 4}\r\n\r\nOK\r\n"
        self.answers["AT+CFUN=4"] = lambda _: self._set_online(False)
        self.answers["AT+CFUN=1"] = lambda _: self._set_online(True)

    @property
    def area_offset(self) -> int:
        """As the modem tells it."""
        return DIRTY if self.area_dirty else len(self.area)

    def lookup(self, command: str) -> str | bytes:
        """Answer to a command, with the URCs that were held back right behind the result."""
        name, _, rest = command.partition("=")
        if name in ("AT#XDFUINIT", "AT#XDFUWRITE", "AT#XDFUAPPLY"):
            numbers = [int(number) for number in rest.split(",")]
            answer: str | bytes = getattr(self, "_" + name[3:].lower())(*numbers)
        else:
            answer = super().lookup(command)
        held_back, self._held_back = self._held_back, []
        if name == "AT#XDFUWRITE":
            self._held_back = held_back  # data mode: nothing is flushed
            return answer
        return str(answer) + "".join(held_back)

    def _xdfuinit(self, kind: int, size: int) -> str:
        if kind == 1:
            self._erase()
        elif kind != 0 or size > self.slot_bytes:
            return ERROR
        if self.sessions and not self.sessions[-1]:
            self.sessions.pop()  # opened again before anything was written
        self.sessions.append(bytearray())
        return OK

    def _xdfuwrite(self, kind: int, _address: int, size: int) -> str:
        number, self.writes = self.writes, self.writes + 1

        def done(data: bytes) -> str:
            ok = number not in self.failing_writes
            self.sessions[-1] += data
            if kind == 1 and ok:
                ok = not self.area_dirty
                self.area += data
            if not self.lose_status:
                self._held_back.append(f"#XDFU: {kind},1,{0 if ok else -1}\r\n")
            return "\r\n#XDATAMODE: 0\r\n"

        self.enter_data_mode(size, done)
        return "" if number in self.lose_ok_of_write else OK

    def _xdfuapply(self, kind: int) -> str:
        if not self.refuse_apply:
            self.scheduled.append(kind)
            self.delta_scheduled = kind == 1
        self._held_back.append(f"#XDFU: {kind},2,{-1 if self.refuse_apply else 0}\r\n")
        return OK

    def _erase(self) -> str:
        if self.area_dirty and self.erasable:
            self.area.clear()
            self.area_dirty = self.delta_scheduled = False
        return OK

    def _set_online(self, online: bool) -> str:
        self.online = online
        return OK

    def _reset_modem(self, _: str) -> str:
        if self.delta_scheduled:
            self.delta_scheduled, self.area_dirty = False, True
            return "\r\n#XFOTA: 5,1,71303171\r\n\r\n#XMODEMRESET: 0\r\n\r\nOK\r\n"
        return "\r\n#XMODEMRESET: 0\r\n\r\nOK\r\n"

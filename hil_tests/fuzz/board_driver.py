"""A virtual board without its thread: the caller turns the crank, so that each step is counted and each error is seen."""

from bridge.virtual.board import VirtualBoard
from bridge.virtual.clock import NS_PER_S

MAX_STEPS = 200_000
MAX_SECONDS = 24 * 3600


class BoardHangsError(AssertionError):
    """The board is still busy after far more than anything takes."""


class BoardDriver:
    """Runs a board in simulated time.

    Args:
        board: One that was not started.
    """

    def __init__(self, board: VirtualBoard) -> None:
        self.board = board
        self._life = board._life
        self._timeline = board._timeline
        self._steps = 0
        board.cable.plug()
        board.cable.set_host_end(dtr=True, baud=115_200)
        self._life.switch_on()

    def run(self, events: int | None = None) -> None:
        """Let things happen until the board waits for its host, or only so many events.

        Raises:
            BoardHangsError: It never waits.
        """
        while events is None or events > 0:
            self._steps += 1
            if self._steps > MAX_STEPS or self._timeline.now_ns > MAX_SECONDS * NS_PER_S:
                raise BoardHangsError(f"{self._steps} steps, {self._timeline.now_ns / NS_PER_S:.0f} s")
            if self._life.powered:
                self.board._uart.poll()
            if self._timeline.run_due() is None:
                return
            events = None if events is None else events - 1

    def send(self, data: bytes) -> None:
        """Send bytes to the board, as fast as the host's queue takes them."""
        while data:
            room = max(1, self.board.cable.writable())
            self.board.cable.write(data[:room], 0)
            data = data[room:]
            if data:
                self.run(64)

    def received(self) -> bytes:
        """What the board has said since the last call."""
        return self.board.cable.read(self.board.cable.readable())

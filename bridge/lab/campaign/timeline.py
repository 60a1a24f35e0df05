"""What happened in a run, line by line in simulated time; made readable only when somebody wants to read it."""

from bridge.lab.campaign.scheduler import Scheduler


class Timeline:
    """Notes of one run.

    Args:
        scheduler: Whose time it is.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._notes: list[tuple[float, str, str, dict[str, object]]] = []

    def note(self, who: str, what: str, /, **details: object) -> None:
        """Something happened now.

        Args:
            who: Whom or where: ``board``, ``host``, ``cloud``, ``web``, ``fault``, ``check``.
            what: What, in a word or two.
            details: More about it.
        """
        self.note_at(self._scheduler.elapsed_s, who, what, **details)

    def note_at(self, time_s: float, who: str, what: str, /, **details: object) -> None:
        """Something happens at a moment: the board works ahead of the others until it has to wait for them."""
        self._notes.append((time_s, who, what, details))

    def lines(self) -> list[str]:
        """The notes as text."""
        return [
            f"{time_s:10.3f} s  {who:6} {what}"
            + "".join(f" {key}={_short(value)}" for key, value in details.items())
            for time_s, who, what, details in sorted(self._notes, key=lambda note: note[0])
        ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 90 else f"{text[:87]}..."

"""A clock that only moves when a test says so."""


class FakeClock:
    """Epoch seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_minutes(self, minutes: float) -> None:
        """Move on."""
        self.now += minutes * 60

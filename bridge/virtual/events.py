"""What happened on the board, for people and tests; the host's tools see none of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class BoardEvent:
    """One thing that happened.

    Attributes:
        time_s: Board time.
        kind: ``power-on``, ``power-off``, ``reset``, ``bootloader`` (when something is done about MCUboot itself),
            ``boot``, ``ready``, ``confirmed``, ``modem-update``, ``bootloader-mode``, ``no-image``, ``crash``, ``hung``,
            ``bytes-lost``, ``recovery`` (MCUboot's serial recovery), ``lines-full`` (its line buffers),
            ``message-dropped`` (no buffer for it).
        details: More about it.
    """

    time_s: float
    kind: str
    details: dict[str, object] = field(default_factory=dict)

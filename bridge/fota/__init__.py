"""The update line: stages, one update, the agent."""

from bridge.fota.events import (
    BoardIdentified,
    Finished,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
    UpdateCanceledError,
    UpdateEvent,
)
from bridge.fota.policy import Expectations, Policy
from bridge.fota.update import Update, UpdateOptions

__all__ = [
    "BoardIdentified",
    "Expectations",
    "Finished",
    "Notice",
    "Outcome",
    "Policy",
    "Progress",
    "Stage",
    "StageStarted",
    "Update",
    "UpdateCanceledError",
    "UpdateEvent",
    "UpdateOptions",
]

"""The update line: stages, one update, the agent."""

from bridge.fota.at_route import over_at
from bridge.fota.events import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    ImageJudged,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
    UpdateCanceledError,
    UpdateEvent,
    Waiting,
)
from bridge.fota.policy import Expectations, Policy
from bridge.fota.route import Route, RouteOpener
from bridge.fota.update import Update
from bridge.fota.update_options import UpdateOptions

__all__ = [
    "BoardIdentified",
    "Expectations",
    "Finished",
    "ImageAccepted",
    "ImageJudged",
    "Notice",
    "Outcome",
    "Policy",
    "Progress",
    "Route",
    "RouteOpener",
    "Stage",
    "StageStarted",
    "Update",
    "UpdateCanceledError",
    "UpdateEvent",
    "UpdateOptions",
    "Waiting",
    "over_at",
]

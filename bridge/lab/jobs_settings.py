"""What an operator may ask of a job beyond its document: rollout rate, abort and retry criteria, timeout, schedule.

Source: members of CreateJob in botocore's ``iot`` model; AWS IoT Developer Guide, "How job configurations work". The wire form
(AWS's member names) is also how they are kept in the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

DEFAULT_RATE_PER_MINUTE: Final = 1000
"""Rollout without a rate of its own, and the most that AWS rolls out (Developer Guide, "Specify additional configurations")."""

FailureType = Literal["FAILED", "REJECTED", "TIMED_OUT", "ALL"]
EndBehavior = Literal["STOP_ROLLOUT", "CANCEL", "FORCE_CANCEL"]


@dataclass(frozen=True)
class RetryCriterion:
    """How often an execution that ended so is queued again."""

    failure_type: Literal["FAILED", "TIMED_OUT", "ALL"]
    number_of_retries: int


@dataclass(frozen=True)
class AbortCriterion:
    """When a job is cancelled because too many things failed.

    Attributes:
        threshold_percentage: Of the completed executions, so many must have failed.
        min_executed_things: So many executions must be completed before anything is counted.
    """

    failure_type: FailureType
    threshold_percentage: float
    min_executed_things: int


@dataclass(frozen=True)
class ExponentialRate:
    """A rollout that gets faster.

    Attributes:
        base_per_minute: Things a minute at the start.
        increment_factor: By which the rate grows each time.
        notified_things: The rate grows when so many more things have got the job.
        succeeded_things: Or when so many more have succeeded.
    """

    base_per_minute: int
    increment_factor: float
    notified_things: int | None = None
    succeeded_things: int | None = None

    def at(self, notified: int, succeeded: int) -> int:
        """Things a minute after so many have got the job and so many succeeded."""
        steps = max(
            notified // self.notified_things if self.notified_things else 0,
            succeeded // self.succeeded_things if self.succeeded_things else 0,
        )
        # Beyond the maximum nothing changes any more; a large power would overflow.
        return int(self.base_per_minute * self.increment_factor ** min(steps, 100))


@dataclass(frozen=True)
class Rollout:
    """How many things get the job a minute."""

    maximum_per_minute: int | None = None
    exponential: ExponentialRate | None = None

    def rate(self, notified: int, succeeded: int) -> int:
        """Things a minute after so many have got the job and so many succeeded."""
        maximum = self.maximum_per_minute or DEFAULT_RATE_PER_MINUTE
        if self.exponential is None:
            return maximum
        return min(self.exponential.at(notified, succeeded), maximum)


@dataclass(frozen=True)
class Schedule:
    """When a job begins and ends; times are epoch seconds."""

    start_at: float | None = None
    end_at: float | None = None
    end_behavior: EndBehavior = "STOP_ROLLOUT"
    start_text: str = ""
    end_text: str = ""


@dataclass(frozen=True)
class JobSettings:
    """All of it."""

    in_progress_timeout_minutes: int | None = None
    presigned_expires_in_s: int | None = None
    presign_role_arn: str | None = None
    retry_criteria: tuple[RetryCriterion, ...] = ()
    abort_criteria: tuple[AbortCriterion, ...] = ()
    rollout: Rollout | None = None
    schedule: Schedule | None = None


def settings_body(settings: JobSettings) -> dict[str, Any]:
    """AWS's members of a job; those without a value are absent."""
    body: dict[str, Any] = {}
    if settings.in_progress_timeout_minutes is not None:
        body["timeoutConfig"] = {"inProgressTimeoutInMinutes": settings.in_progress_timeout_minutes}
    presign = {"expiresInSec": settings.presigned_expires_in_s, "roleArn": settings.presign_role_arn}
    if presign := {key: value for key, value in presign.items() if value is not None}:
        body["presignedUrlConfig"] = presign
    if settings.retry_criteria:
        body["jobExecutionsRetryConfig"] = {
            "criteriaList": [
                {"failureType": one.failure_type, "numberOfRetries": one.number_of_retries}
                for one in settings.retry_criteria
            ]
        }
    if settings.abort_criteria:
        body["abortConfig"] = {"criteriaList": [_abort_body(one) for one in settings.abort_criteria]}
    if settings.rollout is not None:
        body["jobExecutionsRolloutConfig"] = _rollout_body(settings.rollout)
    if (schedule := settings.schedule) is not None:
        texts = {"startTime": schedule.start_text, "endTime": schedule.end_text}
        body["schedulingConfig"] = {key: text for key, text in texts.items() if text}
        if schedule.end_at is not None:
            body["schedulingConfig"]["endBehavior"] = schedule.end_behavior
    return body


def _abort_body(criterion: AbortCriterion) -> dict[str, object]:
    return {
        "failureType": criterion.failure_type,
        "action": "CANCEL",
        "thresholdPercentage": criterion.threshold_percentage,
        "minNumberOfExecutedThings": criterion.min_executed_things,
    }


def _rollout_body(rollout: Rollout) -> dict[str, object]:
    body: dict[str, object] = {}
    if rollout.maximum_per_minute is not None:
        body["maximumPerMinute"] = rollout.maximum_per_minute
    if (rate := rollout.exponential) is not None:
        criteria = {
            "numberOfNotifiedThings": rate.notified_things,
            "numberOfSucceededThings": rate.succeeded_things,
        }
        body["exponentialRate"] = {
            "baseRatePerMinute": rate.base_per_minute,
            "incrementFactor": rate.increment_factor,
            "rateIncreaseCriteria": {key: value for key, value in criteria.items() if value is not None},
        }
    return body


def read_retry(body: Mapping[str, Any]) -> tuple[RetryCriterion, ...]:
    """Read ``jobExecutionsRetryConfig``."""
    return tuple(RetryCriterion(one["failureType"], one["numberOfRetries"]) for one in body["criteriaList"])


def read_abort(body: Mapping[str, Any]) -> tuple[AbortCriterion, ...]:
    """Read ``abortConfig``."""
    return tuple(
        AbortCriterion(one["failureType"], one["thresholdPercentage"], one["minNumberOfExecutedThings"])
        for one in body["criteriaList"]
    )


def read_rollout(body: Mapping[str, Any]) -> Rollout:
    """Read ``jobExecutionsRolloutConfig``."""
    rate = body.get("exponentialRate")
    if rate is None:
        return Rollout(body.get("maximumPerMinute"))
    criteria = rate["rateIncreaseCriteria"]
    return Rollout(
        body.get("maximumPerMinute"),
        ExponentialRate(
            rate["baseRatePerMinute"],
            rate["incrementFactor"],
            criteria.get("numberOfNotifiedThings"),
            criteria.get("numberOfSucceededThings"),
        ),
    )

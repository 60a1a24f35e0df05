"""AWS's shapes: the committed data is what botocore says, values are held to it, and prose limits are still in the prose."""

import html
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.loaders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.lab import jobs_limits
from bridge.lab.aws_patterns import matcher
from bridge.lab.aws_shapes import service
from bridge.lab.jobs_model import JobsRejectedError, RejectionCode
from bridge.lab.rest_control import REFUSED_MEMBERS
from bridge.lab.rest_paging import MAX_RESULTS

SCRIPT = Path(__file__).parents[3] / "scripts" / "aws_shapes.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("aws_shapes_generator", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refusal(shape: str, value: object, service_name: Any = "iot") -> str | None:
    try:
        service(service_name).check(shape, value, "x")
    except JobsRejectedError as error:
        return error.message if error.code is RejectionCode.INVALID_REQUEST else str(error.code)
    return None


def test_given_the_installed_botocore_then_the_committed_shapes_are_its(generator: ModuleType) -> None:
    committed = json.loads(generator.FILE.read_text(encoding="utf-8"))
    assert committed == generator.generate(), "AWS has changed its API: run scripts/aws_shapes.py"
    assert generator.FILE.read_text(encoding="utf-8") == generator.render(committed)


def test_given_every_pattern_then_it_can_be_matched(generator: ModuleType) -> None:
    patterns = {
        shape["pattern"]
        for one in generator.generate().values()
        for shape in one["shapes"].values()
        if "pattern" in shape
    }
    assert len(patterns) > 15
    for pattern in patterns:
        assert matcher(pattern)("\x00\x00 ") is (pattern == r"[\s\S]*")


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"[^\p{C}]+", ["ü €", "a b", "😀"], ["", "a\nb", "\x7f", "\u200b", "\ud800", "\ue000"]),
        (r"[\p{Upper}\p{Digit}_]+", ["A_1"], ["", "a", "Ä", "٣"]),
        (r"[\p{Graph}\x20]*", ["", "a b~!"], ["ü", "\t"]),
        (r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$", ["", "ü ٣-a@b"], ["a\tb", "a,b"]),
        (r"[a-zA-Z0-9_-]+|^\$next", ["$next", "job-1"], ["$other", "a b", ""]),
        (r"[\w+=,.@-]+", ["a_1="], ["ü"]),
        (r"^arn:[!-~]+$", ["arn:aws"], ["arn:ü", "arn:"]),
    ],
)
def test_given_javas_patterns_then_matched_as_java_does(
    pattern: str, good: list[str], bad: list[str]
) -> None:
    assert [text for text in good if not matcher(pattern)(text)] == []
    assert [text for text in bad if matcher(pattern)(text)] == []


def test_given_a_pattern_of_a_new_kind_then_an_error_rather_than_a_guess() -> None:
    with pytest.raises(ValueError, match="no idea"):
        matcher(r"a\p{L}b")


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ("JobId", "j" * 64, None),
        ("JobId", "j" * 65, "x has 65 characters; allowed are 1 to 64"),
        ("JobId", "", "x has 0 characters; allowed are 1 to 64"),
        ("JobId", 3, "x must be a string"),
        ("ExpiresInSec", 60, None),
        ("ExpiresInSec", 59, "x is 59; allowed is 60 to 3600"),
        ("ExpiresInSec", True, "x must be an integer"),
        ("ExpiresInSec", 60.0, "x must be an integer"),
        ("IncrementFactor", 5, None),
        ("IncrementFactor", "5", "x must be a number"),
        ("AbortThresholdPercentage", 100.1, "x is 100.1; allowed is at most 100"),
        ("MaxJobExecutionsPerMin", 0, "x is 0; allowed is 1 or more"),
        ("TargetSelection", "BOTH", "x must be one of CONTINUOUS, SNAPSHOT, not 'BOTH'"),
        ("ForceFlag", "true", "x must be true or false"),
        ("JobTargets", [], "x has 0 items; allowed are 1 or more"),
        ("JobTargets", "arn", "x must be a list"),
        ("JobTargets", ["a", 1], "x[1] must be a string"),
        ("DetailsMap", ["a"], "x must be an object"),
        ("DetailsMap", {"a b": "c"}, "a key of x 'a b' does not match [a-zA-Z0-9:_-]+"),
        ("DetailsMap", {"a": ""}, "x.a has 0 characters; allowed are 1 or more"),
        ("DateType", 1.5, None),
        ("DateType", "now", "x must be epoch seconds"),
        ("TimeoutConfig", 3, "x must be an object"),
        ("TimeoutConfig", {"minutes": 3}, "there is no member x.minutes"),
        ("TimeoutConfig", {"inProgressTimeoutInMinutes": None}, None),
        ("RetryCriteria", {"failureType": "ALL"}, "x.numberOfRetries is missing"),
        ("RetryCriteria", {"failureType": "ALL", "numberOfRetries": None}, "x.numberOfRetries is missing"),
        ("RetryCriteriaList", [{}], "x[0].failureType is missing"),
    ],
)
def test_given_a_value_then_held_to_its_shape(shape: str, value: object, message: str | None) -> None:
    assert refusal(shape, value) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)
@given(JSON, st.sampled_from(sorted(service("iot").shapes)))
def test_given_any_json_then_taken_or_refused_but_never_a_bug(value: object, shape: str) -> None:
    refusal(shape, value)


@pytest.mark.parametrize(
    ("name", "shape", "member", "words"),
    [
        (
            "iot",
            "CancelJobExecutionRequest",
            "statusDetails",
            f"at most {jobs_limits.MAX_DETAIL_PAIRS} name/value",
        ),
        (
            "iot-jobs-data",
            "JobExecution",
            "statusDetails",
            f"{jobs_limits.MAX_DETAIL_VALUE_CHARS:,} characters",
        ),
        (
            "iot",
            "TimeoutConfig",
            "inProgressTimeoutInMinutes",
            f"(1 to {jobs_limits.MAX_TIMEOUT_MINUTES} minutes)",
        ),
        (
            "iot-jobs-data",
            "UpdateJobExecutionRequest",
            "stepTimeoutInMinutes",
            f"{jobs_limits.MAX_TIMEOUT_MINUTES}",
        ),
        ("iot", "ExponentialRolloutRate", "incrementFactor", "up to one digit after the decimal"),
        ("iot", "AbortCriteria", "thresholdPercentage", "up to two digits after the decimal"),
        ("iot", "SchedulingConfig", "startTime", "minimum of thirty minutes from the current time"),
        ("iot", "SchedulingConfig", "startTime", "up to a year in advance"),
        ("iot", "SchedulingConfig", "endTime", "no later than two years from the current time"),
        (
            "iot",
            "SchedulingConfig",
            "endTime",
            "minimum duration between startTime and endTime is thirty minutes",
        ),
    ],
)
def test_given_a_limit_that_is_prose_then_the_model_still_says_so(
    name: str, shape: str, member: str, words: str
) -> None:
    model = botocore.loaders.Loader().load_service_model(name, "service-2")
    text = model["shapes"][shape]["members"][member]["documentation"]
    plain = " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())
    assert words in plain


def test_given_the_targets_limit_then_associate_targets_still_says_so() -> None:
    model = botocore.loaders.Loader().load_service_model("iot", "service-2")
    text = model["operations"]["AssociateTargetsWithJob"]["documentation"]
    assert f"must not exceed {jobs_limits.MAX_TARGETS}" in text


def test_given_our_own_numbers_then_they_are_the_models() -> None:
    iot = service("iot")
    assert iot.limit("LaserMaxResults", "max") == iot.limit("RegistryMaxResults", "max") == MAX_RESULTS
    members = iot.shapes["CreateJobRequest"]["members"]
    assert set(REFUSED_MEMBERS) <= set(members)

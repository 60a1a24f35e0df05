"""How tests are told: properties for the junit file, and faults of the bench kept apart from those of the product."""

import pytest

from bridge.errors import BenchError, BoardNotFoundError, BridgeError
from bridge.pytest_plugin.artifacts import TestRecord
from bridge.pytest_plugin.updates import Story

BENCH_PROPERTY = "nrf91_bench_error"


def note_report(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, record: TestRecord
) -> None:
    """Write down one phase of a test, and say so where the bench was at fault.

    A bench error in the midst of a test is reported as an error and not as a failure, in the summary and in the junit file:
    the test has shown nothing about the product.
    """
    record.duration_s += report.duration
    error = call.excinfo.value if call.excinfo is not None else None
    if report.failed:
        if report.when == "call" and not is_bench_error(error, report.when) and record.board_is_gone():
            error = _gone(record, report.longreprtext)
            record.add_failure(report.longreprtext)
        if isinstance(error, BridgeError) and record.error is None:
            record.error = error
        if is_bench_error(error, report.when):
            _tell_bench_error(item, report, record, error)
        else:
            record.outcome = "failed"
            record.add_failure(report.longreprtext)
    elif report.skipped and record.outcome == "passed":
        record.outcome = "skipped"
    if report.when == "teardown":
        _add_properties(item, record)
        report.user_properties = list(item.user_properties)


def is_bench_error(error: BaseException | None, when: str | None) -> bool:
    """Exit family 9 anywhere; before the test began also a board that is not there."""
    return isinstance(error, BenchError) or (when == "setup" and isinstance(error, BoardNotFoundError))


def as_bench_error(error: BridgeError) -> BenchError:
    """The same, where it can only be the bench's fault: the bench file, the cloud's account, the line before a test."""
    if isinstance(error, BenchError):
        return error
    return BenchError(
        error.message, reason=error.reason, stage=error.stage, offset=error.offset, hint=error.hint
    )


def _gone(record: TestRecord, failure: str) -> BenchError:
    return BenchError(
        f"the port {record.port} of the board {record.board} went away during the test",
        reason="board-lost",
        hint=f"What the test has found says nothing about the product:\n{failure}",
    )


def _tell_bench_error(
    item: pytest.Item, report: pytest.TestReport, record: TestRecord, error: BaseException | None
) -> None:
    assert isinstance(error, BridgeError)
    if record.outcome == "passed":
        record.outcome = "bench-error"
    text = f"BENCH ERROR ({error.reason}), not a failure of the product: {error.message}"
    if error.hint:
        text += f"\nhint: {error.hint}"
    report.longrepr = text
    item.user_properties.append((BENCH_PROPERTY, error.reason))
    if report.when == "call":
        # Everything that reads reports takes a failure before the test's own code for an error of the environment.
        report.when = "setup"


def _update_properties(story: Story) -> list[tuple[str, object]]:
    finished = story.finished
    pairs: list[tuple[str, object]] = [
        ("nrf91_image", story.image),
        ("nrf91_image_digest", (story.judged.digest or story.judged.sha256) if story.judged else ""),
        ("nrf91_update", str(finished.outcome)),
        ("nrf91_from_version", finished.from_version or ""),
        ("nrf91_running_version", finished.running_version or ""),
        ("nrf91_rate_bytes_per_s", round(story.rate_bytes_per_s)),
        ("nrf91_attempts", story.attempts),
    ]
    return pairs + [(f"nrf91_{stage}_s", seconds) for stage, seconds in story.stage_times_s().items()]


def _add_properties(item: pytest.Item, record: TestRecord) -> None:
    pairs: list[tuple[str, object]] = [
        ("nrf91_board", record.board or ""),
        ("nrf91_port", record.port or ""),
        ("nrf91_model", record.model or ""),
        ("nrf91_outcome", record.outcome),
    ]
    for story in record.stories:
        pairs += _update_properties(story)
    pairs += [("nrf91_note", note) for note in record.notes]
    # Plain values only: xdist's workers send them to the process that reports.
    item.user_properties += [
        (name, value if type(value) in {int, float} else str(value)) for name, value in pairs
    ]

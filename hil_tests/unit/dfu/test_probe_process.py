"""pynrfjprog's process is started when needed, and whatever becomes of it, the caller learns and lives."""

import io
import json
import os
import sys
import textwrap
from pathlib import Path

import pytest

from bridge.dfu.probe import ProbeProgress, ProcessEngine
from bridge.dfu.probe.worker import serve
from bridge.errors import BenchError, BoardNotFoundError, LinkError, UsageError
from hil_tests.unit.dfu.fake_pynrfjprog import FakeChip, FakeHighLevel

ECHO = """
import json, os, sys, time
for line in sys.stdin:
    call = json.loads(line)
    {body}
"""


def engine_of(body: str) -> ProcessEngine:
    return ProcessEngine((sys.executable, "-c", ECHO.format(body=textwrap.indent(body, "    ").strip())))


def test_a_call_goes_out_with_its_arguments_and_its_result_comes_back() -> None:
    with engine_of("print(json.dumps({'result': call}), flush=True)") as engine:
        for _ in range(2):
            assert engine.call("program", timeout_s=20, path="x.hex", erase="all") == {
                "call": "program",
                "arguments": {"path": "x.hex", "erase": "all"},
            }


def test_progress_comes_before_the_result() -> None:
    seen: list[ProbeProgress] = []
    body = "print(json.dumps({'progress': {'operation': 'verify', 'percent': 7}}))\nprint('{\"result\": 1}', flush=True)"
    with engine_of(body) as engine:
        assert engine.call("verify", timeout_s=20, on_progress=seen.append) == 1
    assert seen == [ProbeProgress("verify", 7)]


def test_an_error_is_the_same_error_here() -> None:
    error = {"class": "BoardNotFoundError", "message": "m", "reason": "r", "offset": 7, "hint": "h"}
    with (
        engine_of(f"print(json.dumps({{'error': {error}}}), flush=True)") as engine,
        pytest.raises(BoardNotFoundError) as caught,
    ):
        engine.call("connected", timeout_s=20)
    found = caught.value
    assert (found.message, found.reason, found.offset, found.hint) == ("m", "r", 7, "h")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("os.abort()", "by SIGABRT"),
        ("os.kill(os.getpid(), 11)", "by SIGSEGV"),
        ("sys.exit('out of order')", "with code 1: out of order"),
    ],
)
def test_given_the_process_dies_then_that_is_an_error_and_the_next_call_starts_another(
    body: str, text: str
) -> None:
    with engine_of(f"if call['call'] == 'verify': {body}\nprint('{{\"result\": 5}}', flush=True)") as engine:
        for _ in range(2):
            with pytest.raises(BenchError, match=text) as caught:
                engine.call("verify", timeout_s=20)
            assert caught.value.reason == "probe-crashed"
        assert engine.call("connected", timeout_s=20) == 5


def test_given_the_process_says_nothing_then_it_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    with engine_of(body) as engine:
        with pytest.raises(LinkError) as caught:
            engine.call("program", timeout_s=1.0)
        assert caught.value.reason == "no-answer"
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_given_an_interruption_then_the_process_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = (
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        'print(\'{"progress": {"operation": "x"}}\', flush=True)\ntime.sleep(600)'
    )

    def interrupt(_: ProbeProgress) -> None:
        raise KeyboardInterrupt

    with engine_of(body) as engine:
        with pytest.raises(KeyboardInterrupt):
            engine.call("program", timeout_s=20, on_progress=interrupt)
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_an_engine_that_was_never_used_can_be_closed_twice() -> None:
    engine = ProcessEngine()
    engine.close()
    engine.close()


def serve_calls(vendor: FakeHighLevel, *calls: tuple[str, dict[str, object]]) -> list[dict[str, object]]:
    """Have the other side serve calls, here."""
    lines = "".join(json.dumps({"call": name, "arguments": given}) + "\n" for name, given in calls)
    answers = io.StringIO()
    serve(io.StringIO(lines), answers, vendor)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_the_other_side_answers_each_call_and_goes_on_after_errors() -> None:
    vendor = FakeHighLevel({1: FakeChip()})
    answers = serve_calls(
        vendor,
        ("open_debugger", {"serial_number": 2}),
        ("open_debugger", {"serial_number": 1}),
        ("reset", {}),
    )
    assert [next(iter(answer)) for answer in answers] == ["error", "result", "progress", "progress", "result"]
    assert answers[1] == {"result": {"family": "NRF91", "device": "NRF9160_xxAA_REV2"}}
    assert (vendor.is_open, vendor.open_probes) == (False, 0)


def test_the_other_side_needs_an_open_probe() -> None:
    (answer,) = serve_calls(FakeHighLevel({}), ("read", {"address": 0, "size_bytes": 4}))
    assert answer["error"] == {
        "class": UsageError.__name__,
        "message": "no probe is open",
        "reason": "not-open",
        "offset": None,
        "hint": None,
    }


def test_the_other_side_carries_out_nothing_but_its_calls() -> None:
    with pytest.raises(ValueError, match="no such call"):
        serve_calls(FakeHighLevel({}), ("close", {}))

"""The plugin's hooks: options, the header line, which tests can run here, and what each of them has shown.

Suites that use none of its fixtures pay for reading this module and nothing else, and see no line of it.
"""

import sys
from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from bridge.pytest_plugin.keys import NEEDS, RECORD, SESSION
from bridge.pytest_plugin.markers import MARKERS, needs_of
from bridge.pytest_plugin.session import BenchSession
from bridge.pytest_plugin.settings import add_options

if TYPE_CHECKING:
    from bridge.pytest_plugin.artifacts import TestRecord

BENCH_PROPERTY = "nrf91_bench_error"
_DESELECTED = "nrf91_deselected"
_NO_BOARD = "no board: "


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register options and ini keys."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | pytest.ExitCode | None:
    """Begin again where an option's path kept pytest from its ini file."""
    from bridge.pytest_plugin.arguments import joined_arguments  # noqa: PLC0415

    arguments = joined_arguments(config)
    return None if arguments is None else pytest.main(arguments, config.invocation_params.plugins)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, and register markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[SESSION] = BenchSession(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say on which board this runs, and who decided."""
    session = config.stash[SESSION]
    return session.header() if session.is_used else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this bench cannot run, and remember why."""
    session = config.stash[SESSION]
    for item in items:
        item.stash[NEEDS] = needs_of(item)
    with_board = [item for item in items if item.stash[NEEDS].board]
    if not with_board:
        return
    from bridge.errors import BridgeError  # noqa: PLC0415

    try:
        abilities = session.abilities()
    except BridgeError as error:
        if error.reason in {"no-board", "port-missing"}:
            if not session.settings.flag("require"):
                skip = pytest.mark.skip(
                    reason=f"no board: {error.message} (--nrf91-require makes this an error)"
                )
                for item in with_board:
                    item.add_marker(skip)
            return
        raise pytest.UsageError(
            f"nrf91: {error.message}." + (f" {error.hint}" if error.hint else "")
        ) from error
    left_out = []
    for item in with_board:
        reason = abilities.missing(item.stash[NEEDS])
        if reason is not None:
            session.deselected[reason] = session.deselected.get(reason, 0) + 1
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Find out now, and not after an hour, that artefacts cannot be kept."""
    artifacts = session.config.stash[SESSION].settings.path("artifacts")
    if artifacts is not None and not session.config.option.collectonly:
        from bridge.pytest_plugin.artifacts import check_place  # noqa: PLC0415

        check_place(artifacts)


@pytest.hookimpl
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A worker of pytest-xdist hands over what it has left out, and why."""
    listed = session.config.option.collectonly or exitstatus == pytest.ExitCode.USAGE_ERROR
    session.config.stash[SESSION].ran = not listed
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_DESELECTED] = session.config.stash[SESSION].deselected


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001 - the names are pytest-xdist's
    """Take over what a worker has left out; all of them have left out the same."""
    session: BenchSession = node.config.stash[SESSION]
    session.deselected.update(getattr(node, "workeroutput", {}).get(_DESELECTED, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why tests were left out, what the bench had to do, and how often it was at fault."""
    session = config.stash[SESSION]
    reports = [report for group in terminalreporter.stats.values() for report in group]
    properties = [
        pair
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for pair in getattr(report, "user_properties", ())
    ]
    notes = [str(value) for name, value in properties if name == "nrf91_note"]
    bench_errors = sum(name == BENCH_PROPERTY for name, _ in properties)
    skipped = Counter(_skip_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    del skipped[None]
    if not (session.deselected or notes or bench_errors or skipped):
        return
    terminalreporter.section("nRF91 bench")
    for reason, count in sorted(session.deselected.items()):
        terminalreporter.line(f"{count} deselected: {reason}")
    for why, count in skipped.items():
        terminalreporter.line(f"{count} skipped: {why}")
    for note, count in Counter(notes).items():
        terminalreporter.line(note if count == 1 else f"{note} ({count} times)")
    if bench_errors:
        terminalreporter.line(f"{bench_errors} bench errors: they say nothing about the product")


def _skip_reason(report: pytest.TestReport) -> str | None:
    """Why there was no board, if that is why a test was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    reason = text.removeprefix("Skipped: ")
    return reason if reason.startswith(_NO_BOARD) else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give everything back."""
    session = config.stash.get(SESSION, None)
    if session is None:
        return
    artifacts = session.settings.path("artifacts")
    if artifacts is not None and session.ran and not hasattr(config, "workerinput"):
        from bridge.pytest_plugin.artifacts import write_session  # noqa: PLC0415
        from bridge.pytest_plugin.run_report import write_run_report  # noqa: PLC0415

        try:
            write_session(artifacts, session.facts())
            write_run_report(artifacts, session.began_at, session.shown_facts())
        except OSError as error:
            sys.stderr.write(f"nrf91: the report was not written: {error}\n")
    session.close()


# --- one test ----------------------------------------------------------------------------------------------------


def _record(item: pytest.Item) -> "TestRecord | None":
    return item.stash.get(RECORD, None)


def _record_of_bench_error(item: pytest.Item, call: pytest.CallInfo[None]) -> "TestRecord | None":
    """A test without a board can lack something of the bench as well, such as the cloud."""
    if call.excinfo is None:
        return None
    from bridge.errors import BenchError  # noqa: PLC0415

    return item.config.stash[SESSION].record() if isinstance(call.excinfo.value, BenchError) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Write down what goes over the cable from before the first fixture until after the last."""
    with item.config.stash[SESSION].running(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After the test's own assertions: nothing may have crashed, and nothing may have been fetched twice."""
    board = item.config.stash[SESSION].board
    if (record := _record(item)) is not None and record.board is None and board is not None:
        record.put_on(board)  # which an earlier test has set up, with --nrf91-scope
    result = yield
    if (record := _record(item)) is not None:
        record.check()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Nothing may have crashed while the fixtures cleaned up either."""
    result = yield
    record = _record(item)
    if record is not None and record.outcome == "passed":
        record.check_faults()
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the bench's faults from the product's, and write down how it ended."""
    report = yield
    record = _record(item) or _record_of_bench_error(item, call)
    if record is None:
        return report
    from bridge.pytest_plugin.reporting import note_report  # noqa: PLC0415

    note_report(item, call, report, record)
    artifacts = item.config.stash[SESSION].settings.path("artifacts")
    if report.when == "teardown" and artifacts is not None:
        from bridge.pytest_plugin import recordings  # noqa: F401, PLC0415 - it registers its writers
        from bridge.pytest_plugin.artifacts import write_artifacts  # noqa: PLC0415

        try:
            write_artifacts(artifacts, record)
        except OSError as error:
            report.user_properties.append(("nrf91_note", f"artefacts were not written: {error}"))
    return report

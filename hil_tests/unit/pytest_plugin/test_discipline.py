"""The discipline of a bench: what cannot run is said, faults of the bench are told apart, nothing is left behind."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bridge.board.transcript import read_transcript
from bridge.pytest_plugin.artifacts import (
    TestRecord,
    register_writer,
    test_directory,
    write_artifacts,
    writers,
)

VIRTUAL = ("--nrf91-port", "virtual", "-p", "no:cacheprovider")


def test_without_a_board_tests_are_skipped_and_with_require_they_are_errors(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    suite.makepyfile("def test_it(nrf91_board): pass\ndef test_other(): pass")
    result = suite.runpytest("-ra")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*no nRF91 board is connected by USB*--nrf91-require*"])
    result.stdout.fnmatch_lines(["1 skipped: no board: no nRF91 board is connected*"])
    result = suite.runpytest("--nrf91-require")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*BENCH ERROR (no-board)*"])


def test_given_no_package_for_the_cloud_then_the_bench_lacks_it_and_says_what_to_install(
    suite: pytest.Pytester,
) -> None:
    suite.makeconftest("import sys\nsys.modules['starlette'] = None")
    suite.makepyfile("def test_it(nrf91_cloud): pass\ndef test_again(nrf91_cloud): pass")
    result = suite.runpytest_subprocess(*VIRTUAL)
    result.assert_outcomes(errors=2)
    text = result.stdout.str()
    assert text.count("BENCH ERROR (missing-extra)") >= 2
    assert "needs starlette" in text
    assert "hint: Install it with: pip install 'nrf91-bridge[lab]'" in text


def test_what_a_bench_cannot_do_is_deselected_with_a_reason(suite: pytest.Pytester) -> None:
    suite.path.joinpath("bench.toml").write_text('[boards.1]\nport = "/dev/nowhere"\ntransport = "smp"\n')
    suite.makepyfile(
        """
        import pytest

        def test_faults(nrf91_faults): raise AssertionError
        @pytest.mark.nrf91_virtual("it is taken apart")
        def test_virtual(nrf91_board): raise AssertionError
        @pytest.mark.nrf91_power
        def test_power(nrf91_board): raise AssertionError
        @pytest.mark.nrf91_route("xdfu")
        def test_route(nrf91_board): raise AssertionError
        @pytest.mark.nrf91_kind("modem-delta")
        def test_kind(nrf91_board): raise AssertionError
        def test_firmware(nrf91_board, nrf91_images): raise AssertionError
        @pytest.mark.nrf91_network
        def test_network(nrf91_board): raise AssertionError
        def test_none(): pass
        """
    )
    result = suite.runpytest("--nrf91-bench", "bench.toml")
    result.assert_outcomes(passed=1, deselected=7)
    text = result.stdout.str()
    for reason in (
        "it injects faults",
        "it is taken apart",
        "needs power control",
        "needs the route xdfu, the bench has smp",
        "modem-delta, see --nrf91-images",
        "needs firmware, see",
        "needs a network",
    ):
        assert f"1 deselected: needs {reason}".replace("needs needs", "needs") in text or reason in text


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ('nrf91_route("spm")', "nrf91_route is to name a route, and names 'spm'; choose one of xdfu, smp"),
        ("nrf91_route", "nrf91_route is to name a route, and names none"),
        ('nrf91_kind("modem-detla")', "nrf91_kind is to name a kind of firmware, and names 'modem-detla'"),
        ("nrf91_kind()", "nrf91_kind is to name a kind of firmware, and names none"),
    ],
)
def test_a_marker_with_a_slip_in_it_ends_the_run(suite: pytest.Pytester, marker: str, told: str) -> None:
    suite.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(nrf91_board): pass")
    result = suite.runpytest(*VIRTUAL)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*::test_it: {told}*"])


def test_a_bench_error_is_an_error_and_no_failure_in_the_summary_and_the_junit_file(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile(
        """
        from bridge.errors import BenchError

        def test_product(nrf91_board):
            assert False, "it does not work"

        def test_bench(nrf91_board):
            raise BenchError("somebody pulled the plug", reason="no-power", hint="Plug it in.")

        def test_good(nrf91_board):
            assert nrf91_board.version() == "1.0.0"
        """
    )
    result = suite.runpytest(*VIRTUAL, "--junitxml", "junit.xml")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*BENCH ERROR (no-power), not a failure of the product*", "1 bench errors: *"]
    )
    root = ET.parse(suite.path / "junit.xml").getroot()
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["test_bench"].find("failure") is None
    assert cases["test_bench"].find("error") is not None
    assert cases["test_product"].find("error") is None
    assert cases["test_product"].find("failure") is not None
    outcomes = {
        name: {each.get("name"): each.get("value") for each in case.iter("property")}
        for name, case in cases.items()
    }
    assert outcomes["test_bench"]["nrf91_outcome"] == "bench-error"
    assert outcomes["test_bench"]["nrf91_bench_error"] == "no-power"
    assert outcomes["test_product"]["nrf91_outcome"] == "failed"
    assert outcomes["test_good"]["nrf91_outcome"] == "passed"


def test_a_fault_text_in_the_log_fails_a_test_that_would_have_passed(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        r"""
        CRASH = "\r\n>>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0\r\n"

        def test_crash(nrf91_board, nrf91_faults, nrf91_log):
            nrf91_board.version()
            nrf91_faults.say(CRASH)
            nrf91_log.wait_for("Kernel panic")

        def test_provoked(nrf91_board, nrf91_faults, nrf91_log):
            nrf91_log.expected_faults.append("Kernel panic")
            nrf91_board.version()
            nrf91_faults.say(CRASH)
            nrf91_log.wait_for("Kernel panic")
        """
    )
    result = suite.runpytest(*VIRTUAL)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*ZEPHYR FATAL ERROR 4*"])


def test_a_second_download_after_success_fails_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import ssl, urllib.request

        def test_it(nrf91_board, nrf91_images, nrf91_deploy, nrf91_cloud):
            assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
            context = ssl.create_default_context(cafile=str(nrf91_cloud.local.ca_file))
            url = nrf91_cloud.local.images.url(nrf91_images.newer.name)
            with urllib.request.urlopen(url, context=context) as answer:
                answer.read()
        """
    )
    result = suite.runpytest(*VIRTUAL)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was downloaded again after its success*"])


def test_artefacts_of_a_test_are_in_one_directory_without_secrets(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_it(nrf91_board, nrf91_update, nrf91_images):
            nrf91_board.at('AT%CMNG=0,77,1,"PLANTED0SECRET-KEY"')
            assert nrf91_update(nrf91_images.newer).outcome == "succeeded"
        """
    )
    suite.runpytest(*VIRTUAL, "--nrf91-artifacts", "out").assert_outcomes(passed=1)
    out = suite.path / "out"
    session = json.loads((out / "session.json").read_text())
    assert session["settings"]["port"] == {"value": "virtual", "source": "option"}
    (directory,) = [path for path in out.iterdir() if path.is_dir()]
    result = json.loads((directory / "result.json").read_text())
    assert result["outcome"] == "passed"
    (update,) = result["updates"]
    assert (update["from_version"], update["running_version"], update["attempts"]) == ("1.0.0", "2.0.0", 1)
    assert update["stages_s"]["transfer"] > 0
    log = (directory / "at.log").read_text()
    assert "-> AT#XDFUINIT" in log
    assert "PLANTED0SECRET" not in log + json.dumps(result)


def test_writers_can_be_added_and_a_broken_one_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.pytest_plugin.artifacts._writers", {})

    def broken(directory: Path, record: TestRecord) -> None:
        raise RuntimeError("no pen")

    def name(directory: Path, record: TestRecord) -> None:
        (directory / "name.txt").write_text(record.nodeid)

    register_writer("broken", broken)
    register_writer("name.txt", name)
    assert writers() == ("broken", "name.txt")
    directory = write_artifacts(tmp_path, TestRecord("a.py::test[x/y]"))
    assert (directory / "name.txt").read_text() == "a.py::test[x/y]"
    assert "no pen" in (directory / "not-written.txt").read_text()
    assert test_directory(tmp_path, "a.py::test[x/y]") != test_directory(tmp_path, "a.py::test[x-y]")


def test_artefacts_of_an_earlier_run_are_not_taken_for_those_of_this_one(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile("def test_it(nrf91_board): assert nrf91_board.version()")
    arguments = (*VIRTUAL, "--nrf91-artifacts=out")
    directory = test_directory(
        suite.path / "out",
        "test_artefacts_of_an_earlier_run_are_not_taken_for_those_of_this_one.py::test_it",
    )
    directory.mkdir(parents=True)
    (directory / "throughput.svg").write_text("of another update")
    broken = suite.path / "out" / "test_killed"
    broken.mkdir()
    (broken / "result.json").write_text('{"schema": 1, "te')
    suite.runpytest(*arguments).assert_outcomes(passed=1)
    assert not (directory / "throughput.svg").exists()
    page = (suite.path / "out" / "report.html").read_text()
    assert "<b>1</b> tests" in page
    assert "throughput.svg" not in page
    suite.runpytest(*arguments, "--collect-only")
    assert (suite.path / "out" / "report.html").read_text() == page


def test_artefacts_that_cannot_be_written_end_neither_the_test_nor_the_run(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        from pathlib import Path

        def test_it(nrf91_board):
            Path("out").rmdir()
            Path("out").touch()
        """
    )
    result = suite.runpytest(*VIRTUAL, "--nrf91-artifacts=out")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["artefacts were not written: *"])
    result.stderr.fnmatch_lines(["nrf91: the report was not written: *"])


@pytest.mark.parametrize("scope", ["module", "session"])
def test_each_test_is_told_with_its_board_however_long_it_stays_the_same(
    suite: pytest.Pytester, scope: str
) -> None:
    suite.makepyfile(
        """
        def test_first(nrf91_board): assert nrf91_board.version() == "1.0.0"
        def test_second(nrf91_board): assert nrf91_board.version() == "1.0.0"
        """
    )
    suite.runpytest(*VIRTUAL, "--nrf91-scope", scope, "--nrf91-artifacts=out").assert_outcomes(passed=2)
    boards = [json.loads(file.read_text())["board"] for file in (suite.path / "out").glob("*/result.json")]
    assert [board["name"] for board in boards] == ["virtual"] * 2
    assert boards[0] == boards[1]


def test_fixtures_that_a_test_asks_for_while_it_runs_work_as_well(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["nrf91_update", "nrf91_log", "nrf91_deploy"])
        def test_it(request, name):
            request.getfixturevalue(name)
            assert request.getfixturevalue("nrf91_board").version() == "1.0.0"
        """
    )
    suite.runpytest(*VIRTUAL, "--nrf91-artifacts=out").assert_outcomes(passed=3)
    logs = [file.read_text() for file in (suite.path / "out").glob("*/at.log")]
    assert len(logs) == 3
    assert all("#XSMVER" in log for log in logs)


def test_each_update_is_kept_alone_with_the_command_that_plays_it_again(suite: pytest.Pytester) -> None:
    """The whole transcript of a test begins with what the plugin asked the board; a command would not say that."""
    suite.makepyfile(
        """
        def test_it(nrf91_board, nrf91_update, nrf91_images):
            nrf91_board.at("AT+CGMM")
            assert nrf91_update(nrf91_images.newer).outcome == "succeeded"
            nrf91_board.at("AT+CGMM")
            assert nrf91_update(nrf91_images.newer, allow_downgrade=True).outcome == "rejected"
        """
    )
    suite.runpytest(*VIRTUAL, "--nrf91-artifacts=out").assert_outcomes(passed=1)
    first, second = (read_transcript(file) for file in sorted((suite.path / "out").glob("*/update-*.jsonl")))
    assert first.records[0].way == "opened"
    assert (first.command[0], first.exit_code) == ("flash", 0)
    sent = b"".join(record.data for record in first.records if record.way == "out")
    assert Path(first.command[1]).read_bytes()[:1024] in sent
    assert (second.command[2:], second.exit_code) == (("--allow-downgrade",), 5)

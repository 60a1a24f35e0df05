"""Who decides what: option, environment, ini file, bench file; and that other suites see nothing of it."""

from pathlib import Path

import pytest

BENCH = """
[boards.0001]
name = "left"
port = "/dev/nowhere-left"
model = "nrf9151dk"
"""


def header(result: pytest.RunResult) -> str:
    return next((line for line in result.outlines if line.startswith("nrf91: ")), "")


def test_the_first_one_to_decide_wins_and_is_shown(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makeini("[pytest]\nnrf91_port = /dev/from-ini\nnrf91_model = thingy91\n")
    assert "port /dev/from-ini (ini), model thingy91 (ini)" in header(suite.runpytest())
    monkeypatch.setenv("NRF91_BRIDGE_PORT", "/dev/from-environment")
    assert "port /dev/from-environment (NRF91_BRIDGE_PORT), model thingy91 (ini)" in header(suite.runpytest())
    shown = header(suite.runpytest("--nrf91-port", "/dev/from-option"))
    assert "port /dev/from-option (option), model thingy91 (ini)" in shown


def test_the_bench_file_fills_in_what_nobody_has_said(suite: pytest.Pytester) -> None:
    suite.path.joinpath("bench.toml").write_text(BENCH)
    suite.makepyfile(
        """
        from bridge.pytest_plugin.keys import SESSION

        def test_board(request):
            (board,) = request.config.stash[SESSION].bench.boards
            assert (board.name, board.model, board.port) == ("left", {model!r}, "/dev/nowhere-left")
        """.replace("{model!r}", "request.config.getini('nrf91_model') or 'nrf9151dk'")
    )
    suite.runpytest("--nrf91-bench", "bench.toml").assert_outcomes(passed=1)
    suite.makeini("[pytest]\nnrf91_model = nrf9161dk\n")
    suite.runpytest("--nrf91-bench", "bench.toml").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "runs_on"),
    [
        (["--nrf91-bench=bench.toml"], "/dev/nowhere-left"),
        (["--nrf91-bench=bench.toml", "--nrf91-port=auto"], "/dev/nowhere-left"),
        (["--nrf91-serial-number=77"], "serial number 77"),
        (["--nrf91-port=virtual", "--nrf91-bench=bench.toml"], None),
        ([], None),
    ],
)
def test_a_port_from_an_ini_file_gives_way_to_a_bench_or_a_board_that_was_asked_for(
    suite: pytest.Pytester, arguments: list[str], runs_on: str | None
) -> None:
    """A project has ``nrf91_port = virtual`` until there is a board; whoever names one must not test a virtual one."""
    suite.makeini("[pytest]\nnrf91_port = virtual\n")
    suite.path.joinpath("bench.toml").write_text(BENCH)
    suite.makepyfile(
        f"""
        from bridge.pytest_plugin.device import DeviceUnderTest
        from bridge.pytest_plugin.keys import SESSION

        def test_board(request):
            bench = request.config.stash[SESSION].bench
            where = None if bench is None else DeviceUnderTest(bench.boards[0]).where
            assert where == {runs_on!r}
        """
    )
    suite.runpytest(*arguments).assert_outcomes(passed=1)


def test_settings_that_pytest_has_not_read_end_the_run(suite: pytest.Pytester, tmp_path: Path) -> None:
    """Of ``--nrf91-port /dev/ttyACM0`` pytest takes the device for a place of tests, and looks for ini files there."""
    device = tmp_path.parent / f"{tmp_path.name}-elsewhere" / "ttyACM0"
    device.parent.mkdir()
    device.touch()
    suite.makepyfile("def test_it(): pass")
    result = suite.runpytest("--nrf91-port", str(device))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*has not read {suite.path}/tox.ini; write --nrf91-port={device}"])
    suite.runpytest(f"--nrf91-port={device}").assert_outcomes(passed=1)
    suite.runpytest("--nrf91-port", str(device), str(suite.path)).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--nrf91-wait=soon"], "give seconds"),
        (["--nrf91-port=virtual", "--nrf91-model=thingy92"], "there is no virtual board thingy92. Known: "),
        (
            ["--nrf91-port=/dev/nowhere", "--nrf91-model=thingy92"],
            "there is no board model thingy92. Known: ",
        ),
        (["--nrf91-artifacts=bench.toml"], "artefacts cannot be kept in"),
        (["--nrf91-cloud", "azure"], "azure"),
        (["--nrf91-bench", "none.toml"], "none.toml"),
        (["--nrf91-bench", "bench.toml", "--nrf91-serial-number", "77"], "77"),
    ],
)
def test_what_makes_no_sense_ends_the_run_at_once(
    suite: pytest.Pytester, arguments: list[str], complaint: str
) -> None:
    suite.path.joinpath("bench.toml").write_text(BENCH)
    suite.makepyfile("def test_it(nrf91_board): pass")
    result = suite.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert complaint in result.stderr.str() + result.stdout.str()


def test_an_environment_variable_is_checked_like_an_option(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NRF91_BRIDGE_CLOUD", "azure")
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "NRF91_BRIDGE_CLOUD" in result.stderr.str()


def test_a_suite_without_boards_sees_nothing_and_loads_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import sys

        def test_it():
            heavy = ("bridge.board", "bridge.fota", "bridge.lab", "bridge.virtual", "serial", "paho", "pydantic")
            assert [name for name in heavy if name in sys.modules] == []
        """
    )
    result = suite.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    text = result.stdout.str().replace("nrf91-bridge-", "")  # pytest's own list of plugins
    assert "nrf91" not in text.lower()


def test_every_name_begins_with_the_prefix(suite: pytest.Pytester) -> None:
    shown = suite.runpytest("--fixtures", "-q").outlines
    ours = [line.split()[0] for line in shown if "pytest_plugin/fixtures.py" in line]
    assert len(ours) == 9
    assert all(name.startswith("nrf91_") for name in ours)
    options = [
        word
        for line in suite.runpytest("--help").outlines
        for word in line.split()
        if word.startswith("--nrf91")
    ]
    assert {"--nrf91-port=PORT", "--nrf91-require", "--nrf91-bench=BENCH"} <= set(options)

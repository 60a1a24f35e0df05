"""Errors become last lines and exit codes; each family has its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bridge import __version__
from bridge.cli import app as app_module
from bridge.cli import main
from bridge.cli.app import run
from bridge.errors import (
    BenchError,
    BoardNotFoundError,
    BoardRefusedError,
    BridgeError,
    CloudError,
    ImageRefusedError,
    InterruptedUpdateError,
    LinkError,
    UsageError,
    VerificationError,
)
from hil_tests.unit.image.build import mcuboot


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> "CommandLine":
    return CommandLine(monkeypatch)


class CommandLine:
    """Runs the command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str) -> int:
        self._monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *arguments])
        return run()

    def failing(self, error: BaseException, *arguments: str) -> int:
        """Run a command that raises."""
        app = typer.Typer()

        @app.command()
        def fail() -> None:
            raise error

        self._monkeypatch.setattr(app_module, "app", app)
        return self(*arguments)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BridgeError, 1),
        (UsageError, 2),
        (BoardNotFoundError, 3),
        (LinkError, 4),
        (ImageRefusedError, 5),
        (BoardRefusedError, 6),
        (VerificationError, 7),
        (CloudError, 8),
        (BenchError, 9),
        (InterruptedUpdateError, 130),
    ],
)
def test_each_family_of_errors_has_its_exit_code_and_a_last_line(
    command: CommandLine, capsys: pytest.CaptureFixture[str], error: type[BridgeError], code: int
) -> None:
    raised = error("it went [wrong]", reason="odd", stage="transfer", offset=4096, hint="Try again.")
    assert command.failing(raised) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == "error: it went [wrong] (in stage transfer, at offset 4096). Try again. [odd]"


def test_a_bug_is_exit_code_1_with_a_traceback(
    command: CommandLine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.failing(RuntimeError("surprise")) == 1
    assert "surprise" in capsys.readouterr().err


def test_ctrl_c_is_exit_code_130(command: CommandLine) -> None:
    assert command.failing(KeyboardInterrupt()) == 130


def test_an_unknown_option_is_exit_code_2(command: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("flash", "--no-such-option") == 2
    assert "no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("flash", "--json", "--no-such-option"), "--no-such-option"),
        (("flash", "--json"), "file"),
        (("no-such-command", "--json"), "no-such-command"),
    ],
)
def test_a_command_line_that_typer_refuses_is_an_error_in_json_too(
    command: CommandLine, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert command(*arguments) == 2
    shown = capsys.readouterr()
    (line,) = shown.out.splitlines()
    error = json.loads(line)
    assert (error["event"], error["reason"], error["exit_code"]) == ("error", "usage", 2)
    assert says in error["message"].lower()
    assert "--help" in error["hint"]
    assert shown.err.startswith("Usage: ")


@pytest.mark.parametrize(
    "arguments", [("--help",), ("flash", "--help"), ("image", "inspect"), ("image", "inspect", "--json")]
)
def test_a_command_whose_output_nobody_reads_ends_like_one_that_sigpipe_ended(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    image = tmp_path / "app.bin"
    image.write_bytes(mcuboot(b"application"))
    file = (str(image),) if "inspect" in arguments else ()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "bridge", *arguments, *file],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_help_and_version_are_exit_code_0(command: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--help") == 0
    assert "flash" in capsys.readouterr().out
    assert command("--version") == 0
    assert capsys.readouterr().out.strip() == f"nrf91-bridge {__version__}"


def test_the_version_alone_needs_none_of_the_libraries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nrf91-bridge", "--version"])
    monkeypatch.setitem(sys.modules, "bridge.cli.app", None)
    main()
    assert capsys.readouterr().out.strip() == f"nrf91-bridge {__version__}"


def test_main_leaves_with_the_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["nrf91-bridge", "image", "inspect", str(tmp_path / "missing.bin")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code != 0


def test_an_error_of_a_json_command_is_json_too(
    command: CommandLine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.bin"
    page.write_text("<!DOCTYPE html><html><body>Not found</body></html>")
    assert command("image", "inspect", "--json", str(page)) == 5
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "error"
    assert (lines[-1]["schema"], lines[-1]["exit_code"]) == (1, 5)


def test_given_a_package_of_an_extra_that_is_missing_then_the_pip_command_is_told(
    command: CommandLine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.failing(ModuleNotFoundError("No module", name="starlette.routing")) == UsageError.exit_code
    told = capsys.readouterr().err
    assert "pip install 'nrf91-bridge[lab]'" in told
    assert "[missing-extra]" in told


def test_given_a_module_that_no_extra_brings_then_its_absence_is_a_bug(
    command: CommandLine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.failing(ModuleNotFoundError("No module", name="bridge.elsewhere")) == 1
    assert "this is a bug" in capsys.readouterr().err

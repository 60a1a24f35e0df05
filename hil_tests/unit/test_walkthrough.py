"""The walk-through in ``docs/aws-iot.md``: every command of its local part is pasted into one shell, in order, and works."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import bridge
from bridge.cloud.thing_policy import policy_template

ROOT = Path(bridge.__file__).parent.parent
TEXT = (ROOT / "docs" / "aws-iot.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh local( background)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """A shell that finds ``nrf91-bridge`` and ``python3`` as after an installation."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, module in (("nrf91-bridge", " -m bridge"), ("python3", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "NRF91_"))}
    return environment | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }


@contextmanager
def in_background(command: str, directory: Path, environment: dict[str, str]) -> Iterator[None]:
    """A command that goes on until it is interrupted, as in a terminal of its own; ready when it says so."""
    with subprocess.Popen(
        f"exec {command}", shell=True, cwd=directory, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            while not said or not said[-1].startswith("Ready."):
                said.append(process.stderr.readline())
                assert said[-1], "".join(said)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


@pytest.mark.timeout(300)  # a dozen processes, one after the other, on a machine that may be busy
def test_the_local_walk_through_works_as_it_is_written(
    tmp_path: Path, shell_environment: dict[str, str]
) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    text = TEXT
    for port in ("18883", "18443"):  # they may be in use here
        assert port in text
        text = text.replace(port, str(free_port()))
    blocks = BLOCK.findall(text)
    foreground = [body for background, body in blocks if not background]
    background = [body.strip() for background, body in blocks if background]
    assert (len(background), len(foreground)) == (1, 7)
    script = "set -e\n" + "\n".join(foreground)
    with in_background(background[0], directory, shell_environment):
        done = subprocess.run(
            ["bash"],
            input=script,
            cwd=directory,
            env=shell_environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my-board can work jobs" in done.stdout
    assert "my-board: SUCCEEDED" in done.stdout
    assert json.loads((directory / "document.json").read_text())["fwversion"] == "2.0.0"
    assert (directory / "my-board.key.pem").stat().st_mode & 0o777 == 0o600


def test_the_policy_shown_is_the_file() -> None:
    shown = re.search(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1] == policy_template()


def test_the_codes_and_options_named_exist() -> None:
    codes = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    section = TEXT[TEXT.index("## Troubleshooting") :]
    named = set(re.findall(r"(?<=[ (|])`([a-z]+(?:-[a-z0-9]+)+|tls|unreachable|timeout)`[,:. ]", section))
    named -= {"describe-endpoint", "nrf91-bridge", "aws-fota"}
    assert {"tls", "broker-unreachable", "endpoint-unknown"} <= named
    assert [code for code in sorted(named) if f"`{code}`" not in codes] == []

"""Commands as a user runs them, as processes of their own where that matters: board, flash, run, demo."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.lab.sample_images import SampleImages
from hil_tests.scenarios.conftest import Bench


@contextmanager
def process(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, object]]]:
    """Run a command that serves something; yields it with its first JSON event."""
    command = [sys.executable, "-m", "bridge", *arguments, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
            running.wait(30)


def test_a_board_lives_on_in_its_state_directory(
    tmp_path: Path, samples: SampleImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, state = tmp_path / "port", tmp_path / "state"
    arguments = ("board", "--link", str(link), "--state", str(state))
    with process(*arguments) as (_, ready):
        assert (ready["event"], ready["port"]) == ("ready", str(link))
        flash = [
            sys.executable,
            "-m",
            "bridge",
            "flash",
            str(samples.application("2.0.0")),
            "--port",
            str(link),
        ]
        subprocess.run([*flash, "--json"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    assert not link.is_symlink()
    with process(*arguments), Board.open(str(link)) as board:
        assert board.identify().application_version == "v2.0.0"


def test_a_second_board_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with process("board", "--state", str(tmp_path)):
        second = [sys.executable, "-m", "bridge", "board", "--state", str(tmp_path)]
        assert subprocess.run(second, capture_output=True, timeout=60, check=False).returncode == 9


def test_a_link_never_replaces_a_file(tmp_path: Path, bench: Bench) -> None:
    taken = tmp_path / "precious"
    taken.write_text("data")
    assert bench.command("board", "--link", str(taken)) == 2
    assert taken.read_text() == "data"


def test_flash_works_on_a_package_and_on_a_virtual_port_in_this_process(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(bench.samples.public_key_pem)
    image = bench.samples.application("1.0.0")
    url = f"virtual://nrf9151dk?image={image}&key={key}&name={os.path.basename(tmp_path)}"  # noqa: PTH119
    package = bench.samples.dfu_package("2.0.0")
    assert bench.command("flash", str(package), "--port", url, "--key", str(key), "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (events[-1]["event"], events[-1]["running_version"]) == ("finished", "2.0.0")


def test_flash_shows_people_what_happens_on_stderr_only(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    image = bench.samples.application("2.0.0")
    assert bench.command("flash", str(image), "--port", bench.port, "--transfer-baud", "0") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "SUCCEEDED" in shown.err
    assert "1.0.0 -> 2.0.0" in shown.err


@pytest.mark.parametrize("kind", ["application", "modem-delta"])
def test_the_demo_ends_well_and_speaks_json(
    bench: Bench, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert bench.command("demo", "--type", kind, "--size", "64", "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events][:2] == ["scene", "stage-started"]
    assert {event["schema"] for event in events} == {1}
    assert events[-1]["status"] == "SUCCEEDED"
    assert events[-1]["good"] is True


def test_the_demo_shows_people_the_story(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.command("demo", "--size", "64") == 0
    shown = capsys.readouterr().err
    assert "The Jobs service says SUCCEEDED" in shown
    assert "The board runs 2.0.0, confirmed." in shown


def test_the_agent_stops_when_told_to(bench: Bench) -> None:
    host, port = bench.cloud.mqtt_endpoint
    arguments = (
        *("run", "--thing", bench.thing.thing_name, "--endpoint", f"{host}:{port}", "--port", bench.port),
        *(
            "--cert",
            str(bench.thing.cert_file),
            "--key",
            str(bench.thing.key_file),
            "--ca",
            str(bench.thing.ca_file),
        ),
    )
    with process(*arguments) as (running, ready):
        assert ready["event"] == "ready"
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0

"""``nrf91-bridge cloud`` as a process: what it prints works when pasted, and it ends when told to."""

import json
import shlex
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from bridge.cli import cloud as cloud_command
from bridge.errors import UsageError

PROGRAM = "import typer\nfrom bridge.cli import cloud\napp = typer.Typer()\ncloud.register(app)\napp()"


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def put(url: str, ca_file: str, body: str) -> Any:
    context = ssl.create_default_context(cafile=ca_file)
    request = urllib.request.Request(url, body.encode(), {"content-type": "application/json"}, method="PUT")
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return json.load(answer)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_given_json_then_one_ready_event_and_a_clean_end(tmp_path: Path, number: signal.Signals) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "app.bin").write_bytes(b"x")
    with running(
        "--json", "--state", str(tmp_path / "state"), "--images", str(images), "--thing", "t-1"
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert (ready["schema"], ready["event"]) == (1, "ready")
        assert [one["name"] for one in ready["things"]] == ["t-1"]
        assert Path(ready["things"][0]["key"]).is_file()
        assert ready["images"] == [f"{ready['https']}/images/app.bin"]
        assert ready["not_emulated"]
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stdout.read() == ""


def test_given_a_person_then_the_commands_shown_work_when_pasted(tmp_path: Path) -> None:
    with running("--state", str(tmp_path), "--broker", "builtin") as process:
        assert process.stderr is not None
        shown: list[str] = []
        while not shown or not shown[-1].startswith("Ready."):
            shown.append(process.stderr.readline().strip())
        agent = shlex.split(next(line for line in shown if line.startswith("nrf91-bridge run")))
        job = shlex.split(next(line for line in shown if line.startswith("curl")))
        url = next(word for word in job if word.startswith("https://"))
        answer = put(url, option(job, "--cacert"), option(job, "-d"))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert answer["jobId"] == "job-1"
    assert option(agent, "--thing") == "nrf91-lab-1"
    assert Path(option(agent, "--cert")).is_file()
    assert any("job templates" in line for line in shown)


def test_given_no_lab_extra_then_a_hint_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bridge.lab.local_cloud", None)
    app = typer.Typer()
    cloud_command.register(app)
    with pytest.raises(UsageError) as caught:
        app([], standalone_mode=False)
    assert caught.value.reason == "missing-extra"
    assert "[lab]" in str(caught.value.hint)

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
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages

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


def pasted(line: str, *more: str, directory: Path, **words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that was shown, with the words that a person fills in."""
    command = [words.get(word, word) for word in shlex.split(line)]
    assert command.pop(0) == "nrf91-bridge"
    return subprocess.run(
        [sys.executable, "-m", "bridge", *command, *more],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def put(url: str, ca_file: str, body: str, method: str = "PUT") -> Any:
    context = ssl.create_default_context(cafile=ca_file)
    request = urllib.request.Request(url, body.encode(), {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return json.load(answer)


def ask(ready: Any, method: str, path: str, body: object = None) -> Any:
    text = "" if body is None else json.dumps(body)
    return put(ready["https"] + path, ready["ca"], text, method)


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
        assert str(images / "app.bin") in shlex.split(ready["commands"]["create"])
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stdout.read() == ""


def test_given_a_person_then_the_commands_shown_work_when_pasted(tmp_path: Path) -> None:
    samples = SampleImages(tmp_path / "images")
    old, new = (samples.application(version, size_bytes=8_000) for version in ("1.0.0", "2.0.0"))
    (tmp_path / "key.pem").write_bytes(samples.public_key_pem)
    board = f"virtual://nrf9151dk?timing=simulated&image={old}&key={tmp_path / 'key.pem'}"
    with running("--state", str(tmp_path / "state"), "--broker", "builtin") as process:
        assert process.stderr is not None
        shown: list[str] = []
        while not shown or not shown[-1].startswith("Ready."):
            shown.append(process.stderr.readline().strip())
        lines = {
            words: line for line in shown for words in (" ".join(line.split(" ")[1:3]),) if "nrf91-" in line
        }
        create = pasted(lines["job create"], directory=tmp_path, IMAGE=str(new))
        assert create.returncode == 0, create
        agent = pasted(lines["run --thing"], "--once", directory=tmp_path, PORT=board)
        assert agent.returncode == 0, agent
        watch = pasted(lines["job watch"], directory=tmp_path)
        assert (watch.returncode, "nrf91-lab-1: SUCCEEDED" in watch.stdout) == (0, True), watch
        assert pasted(lines["thing create"], directory=tmp_path).returncode == 0
        check = pasted(lines["thing check"], directory=tmp_path)
        assert (check.returncode, "my-board can work jobs" in check.stdout) == (0, True), check
        environment = next(line for line in shown if line.startswith("export "))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert {"AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_SECRET_ACCESS_KEY"} <= {
        word.partition("=")[0] for word in shlex.split(environment)
    }
    assert any("Not emulated" in line for line in shown)


def test_given_no_lab_extra_then_a_hint_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bridge.lab.local_cloud", None)
    app = typer.Typer()
    cloud_command.register(app)
    with pytest.raises(UsageError) as caught:
        app([], standalone_mode=False)
    assert caught.value.reason == "missing-extra"
    assert "[lab]" in str(caught.value.hint)


def test_given_a_killed_process_then_the_next_one_goes_on_with_its_jobs_and_groups(tmp_path: Path) -> None:
    arguments = ("--json", "--state", str(tmp_path), "--thing", "t-1")
    with running(*arguments) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        group = {"targets": ["arn:aws:iot:us-east-1:1:thinggroup/g"], "targetSelection": "CONTINUOUS"}
        ask(ready, "POST", "/thing-groups/g", {})
        ask(ready, "PUT", "/thing-groups/addThingToThingGroup", {"thingGroupName": "g", "thingName": "t-1"})
        ask(ready, "PUT", "/jobs/job-1", {"document": "{}", **group})
        process.kill()
        process.wait(20)
    with running(*arguments) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        (execution,) = ask(ready, "GET", "/jobs/job-1/things")["executionSummaries"]
        assert execution["jobExecutionSummary"]["status"] == "QUEUED"
        assert ask(ready, "GET", "/thing-groups/g/things")["things"] == ["t-1"]
        assert ask(ready, "GET", "/jobs?targetSelection=CONTINUOUS")["jobs"][0]["jobId"] == "job-1"


def test_given_a_state_directory_in_use_then_the_second_cloud_says_so(tmp_path: Path) -> None:
    with running("--json", "--state", str(tmp_path)) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(UsageError, match="another local cloud") as caught, LocalCloud(tmp_path):
            pass
    assert caught.value.reason == "jobs-database"

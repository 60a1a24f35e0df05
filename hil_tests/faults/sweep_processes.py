"""The processes of a kill sweep, each its own: local cloud, virtual board on a pty, and the agent that is killed."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import requests

from bridge.lab.rest_values import thing_arn

THING = "swept"
Event = dict[str, Any]


class Command:
    """``nrf91-bridge`` with ``--json`` as a process of its own.

    Args:
        directory: Where it keeps its state and its standard error.
        arguments: Its arguments.

    Attributes:
        process: The process.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._events: queue.Queue[Event | None] = queue.Queue()
        self.errors = directory / f"{arguments[0]}.err"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge", *arguments, "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "XDG_STATE_HOME": str(directory / "state"), "PYTHONUNBUFFERED": "1"},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def next_event(self, timeout_s: float) -> Event | None:
        """The next event; None when there is none in time, or never again."""
        try:
            return self._events.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None

    def until(self, name: str, timeout_s: float) -> Event:
        """Skip to an event of this name."""
        deadline_s = time.monotonic() + timeout_s
        while (event := self.next_event(deadline_s - time.monotonic())) is not None:
            if event["event"] == name:
                return event
        raise TimeoutError(f"no event {name} in {timeout_s:g} s; see {self.errors}")

    def kill(self) -> None:
        """SIGKILL, and be sure that it is dead."""
        self.process.kill()
        self._wait(10)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self._wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, timeout_s: float) -> int:
        code = self.process.wait(timeout_s)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                try:
                    self._events.put(json.loads(line))
                except ValueError:
                    break  # cut off by the kill
        self._events.put(None)


class Cloud:
    """A local cloud in its own process, and its AWS-like API.

    Args:
        directory: For its certificates.
        images: Every file in it is served.
        broker: ``builtin`` or ``mosquitto``.
    """

    def __init__(self, directory: Path, images: Path, broker: str) -> None:
        self._command = Command(
            directory,
            *("cloud", "--state", str(directory / "cloud"), "--thing", THING),
            *("--images", str(images), "--broker", broker),
        )
        try:
            self._ready = self._command.until("ready", 60)
        except BaseException:
            self._command.stop()
            raise
        self._urls = {url.rpartition("/")[2]: url for url in self._ready["images"]}
        self._http = requests.Session()
        self._http.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._command.stop()

    @property
    def agent_arguments(self) -> tuple[str, ...]:
        """How an agent of the thing reaches it."""
        (thing,) = self._ready["things"]
        return (
            *("--thing", THING, "--endpoint", self._ready["endpoint"], "--cert", thing["cert"]),
            *("--key", thing["key"], "--ca", self._ready["ca"], "--download-ca", self._ready["ca"]),
        )

    def create_job(self, job_id: str, image: Path) -> None:
        """Queue an image for the thing."""
        kind = "modem_fw_update" if image.name.startswith("mfw_") else "app_fw_update"
        document = {"operation": kind, "location": {"url": self._urls[image.name]}}
        self._ask("PUT", f"/jobs/{job_id}", {"targets": [thing_arn(THING)], "document": json.dumps(document)})

    def cancel_job(self, job_id: str) -> None:
        """Cancel a job, also one that is in progress; one whose end was told just before the kill keeps it."""
        try:
            self._ask("PUT", f"/jobs/{job_id}/cancel?force=true", {})
        except requests.HTTPError:
            if self.execution(job_id)["status"] in {"QUEUED", "IN_PROGRESS"}:
                raise

    def execution(self, job_id: str) -> Event:
        """The execution as the control plane describes it."""
        found: Event = self._ask("GET", f"/things/{THING}/jobs/{job_id}", None)["execution"]
        return found

    def executions(self, job_id: str) -> int:
        """How many there are of a job."""
        return len(self._ask("GET", f"/jobs/{job_id}/things", None)["executionSummaries"])

    def _ask(self, method: str, path: str, body: object) -> Any:
        answer = self._http.request(
            method, f"{self._ready['https']}{path}", json=body, verify=self._ready["ca"], timeout=20
        )
        answer.raise_for_status()
        return answer.json()

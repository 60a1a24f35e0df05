"""Calling pynrfjprog in its process: starting it, watching it, and saying what happened when it dies."""

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, Self

import bridge.errors
from bridge.dfu.probe.reports import ProbeProgress
from bridge.errors import BenchError, BridgeError, LinkError

_log = logging.getLogger(__name__)

_WORKER: Final = ("-P", "-m", "bridge.dfu.probe.worker")
_END_S: Final = 10.0
_STDERR_BYTES: Final = 4096

OnProgress = Callable[[ProbeProgress], None]


class Engine(Protocol):
    """Something that carries out the calls of :class:`bridge.dfu.probe.session.Session`."""

    def call(
        self, name: str, *, timeout_s: float, on_progress: OnProgress | None = None, **arguments: object
    ) -> Any:
        """Carry out one call.

        Args:
            name: Method of the session.
            timeout_s: How long it may take.
            on_progress: Gets its progress, in the calling thread.
            arguments: Of the method.

        Returns:
            What the method returns.

        Raises:
            BridgeError: What the method raises; LinkError (reason ``no-answer``) when it takes too long,
                BenchError (``probe-crashed``) when pynrfjprog takes its process down.
        """
        ...

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...


class ProcessEngine:
    """Runs the session in a process of its own, started at the first call.

    A call that is interrupted or takes too long cannot be stopped otherwise than by ending the process.

    Args:
        command: How to start it; for tests.
    """

    def __init__(self, command: tuple[str, ...] = (sys.executable, *_WORKER)) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self, name: str, *, timeout_s: float, on_progress: OnProgress | None = None, **arguments: object
    ) -> Any:
        """See :class:`Engine`."""
        process = self._process or self._start()
        try:
            return self._call(process, name, timeout_s, on_progress, arguments)
        except BridgeError:
            raise
        except BaseException:
            self._kill()
            raise

    def close(self) -> None:
        """End the process; it lets go of the probe first."""
        process = self._process
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                _log.warning("pynrfjprog does not let go of the probe")
            self._kill()
        self._stderr.close()

    def _start(self) -> subprocess.Popen[str]:
        _log.debug("starting %s", " ".join(self._command))
        process = subprocess.Popen(  # noqa: S603 - our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
            # A Ctrl-C in the terminal is for this process, which then decides what becomes of that one.
            start_new_session=True,
        )
        self._process, self._answers = process, queue.SimpleQueue()
        threading.Thread(
            target=_read_lines, args=(process, self._answers), name="pynrfjprog-answers", daemon=True
        ).start()
        return process

    def _call(
        self,
        process: subprocess.Popen[str],
        name: str,
        timeout_s: float,
        on_progress: OnProgress | None,
        arguments: Mapping[str, object],
    ) -> Any:
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it has died; there will be no answer
            process.stdin.write(json.dumps({"call": name, "arguments": arguments}) + "\n")
            process.stdin.flush()
        while True:
            answer = self._next_answer(name, timeout_s)
            if "progress" in answer:
                progress = ProbeProgress(**answer["progress"])
                _log.debug("%s", progress)
                if on_progress is not None:
                    on_progress(progress)
            elif "error" in answer:
                raise _rebuild(answer["error"])
            else:
                return answer["result"]

    def _next_answer(self, name: str, timeout_s: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self._kill()
            raise LinkError(
                f"pynrfjprog has said nothing for {timeout_s:g} s during {name}",
                reason="no-answer",
                hint="Unplug the probe or the board, plug it in again, and start over.",
            ) from None
        if line is None:
            raise self._crash(name)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _crash(self, name: str) -> BenchError:
        process = self._process
        assert process is not None
        code = process.wait()
        self._kill()
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_BYTES))
        said = self._stderr.read().decode(errors="replace").strip()
        _log.debug("pynrfjprog's process said: %s", said)
        last = said.splitlines()[-1] if said else ""
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return BenchError(
            f"pynrfjprog crashed during {name} (its process ended {how}{': ' + last if last else ''})",
            reason="probe-crashed",
            hint="The bridge goes on; what was being written may be incomplete. Try again with -vv for details.",
        )

    def _kill(self) -> None:
        """End the process for good, with the J-Link process that it may have started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()


def _read_lines(process: subprocess.Popen[str], answers: "queue.SimpleQueue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            answers.put(line)
    answers.put(None)


def _rebuild(error: Mapping[str, Any]) -> BridgeError:
    kind = getattr(bridge.errors, error["class"], BridgeError)
    made: BridgeError = kind(
        error["message"], reason=error["reason"], offset=error["offset"], hint=error["hint"]
    )
    return made

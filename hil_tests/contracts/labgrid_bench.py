"""A labgrid laboratory on this machine's loopback: a coordinator, exporters, and virtual boards behind ser2net."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bridge import clock

PYTHON = Path(os.environ.get("NRF91_BRIDGE_LABGRID", f"{sys.prefix}/share/labgrid")) / "bin/python"
START_TIMEOUT_S = 60.0
_DRIVER = Path(__file__).with_name("labgrid_driver.py")
_EXPORTER = """\
{group}:
  at: {{ cls: RawSerialPort, port: "{port}", speed: 115200 }}
  board: {{ cls: NrfBoard, serial_number: "{serial_number}", model: nrf9151dk, transport: {transport}, transfer_baud: 0 }}
"""
_ENVIRONMENT = """\
targets:
  main:
    resources: {{ RemotePlace: {{ name: "{place}" }} }}
    drivers:
      NrfBridgeDriver: {{ timeout: 20.0 }}
      {power}
      NrfStrategy: {{}}
imports: [bridge.lab.labgrid]
"""


@dataclass
class Shared:
    """A board of the laboratory.

    Attributes:
        name: Of its place, its exporter and its resource group.
        port: Its name under /dev, where labgrid wants ports to be.
        link: The same, as a file.
        control: Socket of its power switch.
        transport: What it is known to speak.
    """

    name: str
    link: Path
    serial_number: str
    control: Path
    transport: str

    @property
    def port(self) -> str:
        return str(self.link)


@dataclass
class Lab:
    """The laboratory.

    Attributes:
        coordinator: ``HOST:PORT``.
    """

    directory: Path
    coordinator: str
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    # --- what an operator does ------------------------------------------------------------------------------

    def start(self, name: str, *command: str, **environment: str) -> None:
        """Start a daemon; its output goes to a file beside it."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "LG_COORDINATOR": self.coordinator, **environment},
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End a daemon and its children at once, as a host does that loses its power."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def start_exporter(self, board: Shared) -> None:
        """Share a board."""
        file = self.directory / f"{board.name}.yaml"
        file.write_text(
            _EXPORTER.format(
                group=board.name,
                port=board.port,
                serial_number=board.serial_number,
                transport=board.transport,
            )
        )
        self.start(
            f"exporter-{board.name}",
            *(tool("labgrid-exporter"), "--name", f"host-{board.name}", "--hostname", "127.0.0.1", str(file)),
        )

    def wait_exported(self, *boards: Shared) -> None:
        """Wait until the coordinator knows what exporters share."""
        wanted = [f"host-{board.name}/{board.name}/NrfBoard" for board in boards]
        wait_for(lambda: all(name in self.client("resources").stdout for name in wanted))

    def client(
        self, *arguments: str, user: str = "first", check: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        """``labgrid-client`` as some user."""
        return subprocess.run(
            [tool("labgrid-client"), *arguments],
            env={**os.environ, "LG_COORDINATOR": self.coordinator, "LG_USERNAME": user},
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=check,
        )

    def power(self, board: Shared) -> str:
        """A power driver of labgrid's for a board, as a line of an environment file."""
        file = self.directory / f"bench-{board.name}.toml"
        file.write_text(f'[boards.1]\npower = {{ kind = "virtual", control = "{board.control}" }}')
        command = f"{sys.executable} -m bridge bench power {{}} --bench {file} --bench-board 1"
        return (
            f'ExternalPowerDriver: {{ cmd_on: "{command.format("on")}", cmd_off: "{command.format("off")}" }}'
        )

    # --- what a user's program does -------------------------------------------------------------------------

    def driver(
        self, place: str, *arguments: str, power: str = "", user: str = "first"
    ) -> "subprocess.Popen[str]":
        """:mod:`hil_tests.contracts.labgrid_driver` for a place."""
        env = self.directory / f"env-{place}.yaml"
        env.write_text(_ENVIRONMENT.format(place=place, power=power))
        return subprocess.Popen(
            [str(PYTHON), str(_DRIVER), str(env), *arguments],
            env={**os.environ, "LG_COORDINATOR": self.coordinator, "LG_USERNAME": user},
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(
        self, place: str, *arguments: str, power: str = "", user: str = "first"
    ) -> list[dict[str, object]]:
        """All that the driver says until its end."""
        with self.driver(place, *arguments, power=power, user=user) as process:
            return list(said(process))


def _place(name: str) -> str:
    matches = "".join(
        f"  - {{exporter: host-{name}, group: {name}, cls: {cls}, name: {resource}, rename: {resource}}}\n"
        for cls, resource in (("NetworkSerialPort", "at"), ("NrfBoard", "board"))
    )
    return (
        f"{name}:\n  acquired: null\n  acquired_resources: []\n  aliases: []\n  allowed: []\n  changed: 0.0\n"
        f"  comment: ''\n  created: 0.0\n  matches:\n{matches}  reservation: null\n"
        f"  tags: {{board: nrf9151dk, pace: {name}}}\n"
    )


def tool(name: str) -> str:
    """A program of labgrid's environment."""
    program = PYTHON.with_name(name)
    assert program.exists(), f"{program} is missing: run scripts/labgrid-env"
    return str(program)


def said(process: "subprocess.Popen[str]") -> Iterator[dict[str, object]]:
    """The driver's lines, while they come; it is killed if it says nothing for too long."""
    assert process.stdout is not None
    watchdog = threading.Timer(2 * START_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        yield from map(json.loads, process.stdout)
    finally:
        watchdog.cancel()


def wait_for(condition: Callable[[], object], timeout_s: float = START_TIMEOUT_S) -> None:
    """Wait until another process did something that nobody tells us about."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "nothing happened"
        clock.event().wait(0.2)


@contextmanager
def running_lab(directory: Path, *places: str) -> Iterator[Lab]:
    """A coordinator with places (its own file of them spares many calls of its client); all ends with it."""
    (directory / "places.yaml").write_text("".join(map(_place, places)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lab = Lab(directory, f"127.0.0.1:{port}")
    try:
        lab.start("coordinator", tool("labgrid-coordinator"), "-l", lab.coordinator)
        yield lab
    finally:
        for name in list(lab.processes):
            lab.kill(name)


@contextmanager
def virtual_board(
    lab: Lab, name: str, serial_number: str, *options: str, transport: str = "auto"
) -> Iterator[Shared]:
    """A virtual board in a process of its own."""
    link = Path("/dev/shm") / f"nrf91-bridge-{os.getpid()}-{name}"
    board = Shared(name, link, serial_number, link.with_suffix(".control"), transport)
    command = [
        *(sys.executable, "-m", "bridge", "board", "--json", "--link", board.port),
        *("--control", str(board.control), *options),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event"] == "ready"
            yield board
        finally:
            process.terminate()

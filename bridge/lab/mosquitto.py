"""Eclipse mosquitto as the local cloud's broker: its configuration, its ACL, its life as a subprocess.

Source: mosquitto.conf(5) of 2.0. ``per_listener_settings`` is needed for an ACL of the listener's own; an
ACL's ``#`` does not reach ``$aws``, which must be spelled out; a broker started as root drops its rights and
then cannot read our files unless told to stay root.
"""

import logging
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bridge.errors import CloudError

_log = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 5.0
_RETRY_S: Final = 0.02


@dataclass(frozen=True)
class ServerFiles:
    """PEM files of the listener: CA of the clients, own certificate, own key."""

    ca_file: Path
    cert_file: Path
    key_file: Path


def find_mosquitto() -> str:
    """Path of the mosquitto program.

    Raises:
        CloudError: It is not installed (reason ``mosquitto-missing``).
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if program is None:
        raise CloudError(
            "mosquitto is not installed",
            reason="mosquitto-missing",
            hint="Install it (Debian and Ubuntu: apt install mosquitto), or use the built-in broker.",
        )
    return program


def build_configuration(*, host: str, port: int, files: ServerFiles, acl_file: Path, as_root: bool) -> str:
    """Text of mosquitto.conf: one listener, mutual TLS, the certificate's common name as identity."""
    lines = [
        "per_listener_settings true",
        f"listener {port} {host}",
        f"cafile {files.ca_file}",
        f"certfile {files.cert_file}",
        f"keyfile {files.key_file}",
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
        f"acl_file {acl_file}",
        "persistence false",
        "message_size_limit 131072",
        "log_dest stderr",
    ]
    if as_root:
        lines.append("user root")
    return "\n".join(lines) + "\n"


def build_acl(service_name: str) -> str:
    """Text of the ACL: the Jobs service reaches all things, a thing itself and the free ``lab/`` topics."""
    return (
        f"user {service_name}\n"
        "topic readwrite $aws/#\n"
        "\n"
        "pattern readwrite $aws/things/%u/#\n"
        "pattern readwrite lab/#\n"
    )


class Mosquitto:
    """A mosquitto process with its files in ``directory``.

    Args:
        directory: Where configuration, ACL and log go.
        files: Certificates of the listener.
        service_name: Common name of the Jobs service's certificate.
        host: Address to listen on.
        port: TCP port; 0 picks a free one.
    """

    def __init__(
        self,
        directory: Path,
        files: ServerFiles,
        *,
        service_name: str,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._directory = directory
        self._files = files
        self._service_name = service_name
        self._host = host
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """TCP port, once started."""
        return self._port

    @property
    def pid(self) -> int | None:
        """Process id, while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> Self:
        """Start the process and wait until it says that it runs.

        Raises:
            CloudError: Not installed, ended at once (with its own words), or deaf for too long.
        """
        program = find_mosquitto()
        if not self._port:
            with socket.create_server((self._host, 0)) as probe:
                self._port = int(probe.getsockname()[1])
        self._directory.mkdir(parents=True, exist_ok=True)
        acl_file, conf_file = self._directory / "mosquitto.acl", self._directory / "mosquitto.conf"
        acl_file.write_text(build_acl(self._service_name))
        acl_file.chmod(0o600)
        conf_file.write_text(
            build_configuration(
                host=self._host,
                port=self._port,
                files=self._files,
                acl_file=acl_file,
                as_root=hasattr(os, "geteuid") and os.geteuid() == 0,
            )
        )
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen([program, "-c", str(conf_file)], stdout=log, stderr=log)  # noqa: S603 - our own file
        self._wait_until_listening(self._process)
        return self

    def close(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _log_file(self) -> Path:
        return self._directory / "mosquitto.log"

    def _wait_until_listening(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._is_ready():
                return
            try:
                process.wait(_RETRY_S)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
            log = self._log_file.read_text(errors="replace").splitlines()
            words = [line for line in log if "Error" in line] or log[-1:]
            self.close()
            raise CloudError(
                f"mosquitto does not listen on port {self._port}: {'; '.join(words) or 'it said nothing'}",
                reason="mosquitto-failed",
            )

    def _is_ready(self) -> bool:
        """Whether it says so itself: its socket can be connected to before its files are read and found wanting."""
        return b" running" in self._log_file.read_bytes()

"""The brokers under load, each as a process of its own so that its memory and processor time can be read."""

import resource
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.lab.broker import Broker
from bridge.lab.mosquitto import Mosquitto, ServerFiles
from hil_tests.lab_rig import Certificates

THING = "load"


@dataclass(frozen=True)
class RunningBroker:
    """A broker's port and process."""

    name: str
    port: int
    pid: int

    def resident_bytes(self) -> int:
        """Resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"no VmRSS of process {self.pid}")

    def cpu_s(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100  # USER_HZ is 100 on Linux


def allow_files(count: int) -> None:
    """Raise the soft limit of open files, for this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


@contextmanager
def running(name: str, certificates: Certificates) -> Iterator[RunningBroker]:
    """Our broker ("builtin") or mosquitto."""
    if name == "mosquitto":
        files = ServerFiles(certificates.ca_file, *certificates.server)
        with Mosquitto(certificates.directory / name, files, service_name="nobody") as mosquitto:
            assert mosquitto.pid is not None
            yield RunningBroker(name, mosquitto.port, mosquitto.pid)
        return
    command = [sys.executable, "-m", __name__, str(certificates.ca_file), *map(str, certificates.server)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield RunningBroker(name, int(process.stdout.readline()), process.pid)
        finally:
            process.stdin.close()  # the end of its input ends it


def _serve(ca_file: str, cert_file: str, key_file: str) -> None:

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert_file, key_file)
    tls.load_verify_locations(ca_file)
    with Broker(tls) as broker:
        print(broker.port, flush=True)  # noqa: T201 - the parent reads it
        sys.stdin.read()


if __name__ == "__main__":
    _serve(*sys.argv[1:])

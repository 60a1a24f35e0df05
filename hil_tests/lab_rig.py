"""Broker, Jobs service and throw-away certificates for tests, built from their parts."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from starlette.routing import BaseRoute

from bridge.lab.broker import Broker
from bridge.lab.broker_faults import BrokerFaults
from bridge.lab.https_server import HttpsServer
from bridge.lab.jobs_mqtt_front import SERVICE_NAME, MqttClientFront, ServiceLogin
from bridge.lab.jobs_service import BrokerFront, JobsService
from bridge.lab.jobs_store import JobsStore
from bridge.lab.mosquitto import Mosquitto, ServerFiles

HOST = "127.0.0.1"


class Certificates:
    """A CA and what it issues, as PEM files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        self.server = self._issue("server", HOST, "localhost")

    def thing(self, name: str) -> tuple[Path, Path]:
        """Certificate and key file of a client; the name is its common name."""
        return self._issue(name, "client.invalid")

    def server_context(self) -> ssl.SSLContext:
        """TLS of a server that trusts this CA's clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.server)
        context.load_verify_locations(self.ca_file)
        return context

    def client_context(self, name: str | None) -> ssl.SSLContext:
        """TLS of a client, with the certificate of a thing or with none."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if name is not None:
            context.load_cert_chain(*self.thing(name))
        return context

    def _issue(self, name: str, *hosts: str) -> tuple[Path, Path]:
        cert_file, key_file = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        if not cert_file.exists():
            leaf = self.authority.issue_cert(*hosts, common_name=name)
            leaf.cert_chain_pems[0].write_to_path(str(cert_file))
            leaf.private_key_pem.write_to_path(str(key_file))
        return cert_file, key_file


@dataclass
class JobsRig:
    """A Jobs service on some broker."""

    certificates: Certificates
    port: int
    store: JobsStore
    faults: BrokerFaults | None = None


@contextmanager
def builtin_jobs(directory: Path) -> Iterator[JobsRig]:
    """The Jobs service inside the built-in broker."""
    certificates, store = Certificates(directory), JobsStore()
    with Broker(certificates.server_context()) as broker, JobsService(store, BrokerFront(broker)):
        yield JobsRig(certificates, broker.port, store, broker.faults)


@contextmanager
def mosquitto_jobs(directory: Path) -> Iterator[JobsRig]:
    """The Jobs service as a client of mosquitto."""
    certificates, store = Certificates(directory), JobsStore()
    files = ServerFiles(certificates.ca_file, *certificates.server)
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(directory / "mosquitto", files, service_name=SERVICE_NAME))
        login = ServiceLogin(HOST, broker.port, certificates.ca_file, *certificates.thing(SERVICE_NAME))
        stack.enter_context(JobsService(store, MqttClientFront(login)))
        yield JobsRig(certificates, broker.port, store)


@contextmanager
def https_server(certificates: Certificates, routes: list[BaseRoute]) -> Iterator[str]:
    """Serve starlette routes over HTTPS; gives the base URL."""
    cert_file, key_file = certificates.server
    with HttpsServer(routes, cert_file=cert_file, key_file=key_file) as server:
        yield f"https://localhost:{server.port}"

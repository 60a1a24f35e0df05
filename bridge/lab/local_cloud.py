"""The local cloud in one object: throw-away CA, MQTT broker, Jobs service, HTTPS, started and stopped together.

Certificates, policies, jobs, groups, buckets and the key that signs requests can live in a state directory and so survive. It
also says where the cloud is (:mod:`bridge.cloud.local_state`).
"""

import logging
import ssl
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, get_args
from urllib.parse import quote

from starlette.routing import BaseRoute

from bridge.cloud.local_state import LocalCloudState
from bridge.cloud.thing_policy import policy_for, policy_name
from bridge.errors import UsageError
from bridge.lab.broker import Broker
from bridge.lab.broker_faults import BrokerFaults
from bridge.lab.broker_limits import BrokerLimits
from bridge.lab.broker_principals import PrincipalPolicy
from bridge.lab.document_source import document_reader
from bridge.lab.https_server import HttpsServer
from bridge.lab.image_server import ImageServer
from bridge.lab.jobs_mqtt_front import SERVICE_NAME, MqttClientFront, ServiceLogin
from bridge.lab.jobs_service import BrokerFront, Front, JobsService
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.mosquitto import Mosquitto, ServerFiles
from bridge.lab.pki import LabPki
from bridge.lab.presign import REGION, Presigner
from bridge.lab.registry import Registry
from bridge.lab.registry_model import RegistryRefusedError
from bridge.lab.rest import UnknownOperationRoute, jobs_routes, routes_of
from bridge.lab.rest_registry import RegistryRest
from bridge.lab.rest_values import thing_arn
from bridge.lab.s3_places import find_object
from bridge.lab.s3_service import S3Service
from bridge.lab.s3_signature import AccessKey
from bridge.lab.s3_store import BucketStore

_log = logging.getLogger(__name__)

BrokerKind = Literal["builtin", "mosquitto"]

BUCKET: Final = "nrf91-bridge"
"""A bucket that is there from the start."""
NOT_EMULATED: Final = (
    "IAM: signatures of S3 requests are verified, those of the Jobs and registry API are not",
    "types and attributes of things, job templates, maintenance windows, dynamic thing groups, package versions, namespaces",
    "shadows, rules, lifecycle events, fleet provisioning, MQTT over WebSocket, QoS 2 (AWS refuses that too)",
    "throughput limits, and sessions and retained messages that outlive this process",
    "quotas of an account; jobs and groups outlive this process only in a state directory",
)
"""What a person used to AWS IoT Core must not expect here."""


@dataclass(frozen=True)
class Credentials:
    """What a thing needs to connect."""

    thing_name: str
    ca_file: Path
    cert_file: Path
    key_file: Path


class LocalCloud:
    """AWS IoT Core's jobs on one machine, as a context manager.

    Args:
        state_dir: Where CA, certificates, jobs and groups live; without it a temporary directory, removed at the end.
        host: Address to listen on; anything but loopback lets others in.
        mqtt_port: Port of the broker; 0 picks a free one.
        https_port: Port of images and the AWS-like API; 0 picks a free one.
        broker: ``builtin`` keeps AWS's rules best; ``mosquitto`` runs the installed program.
        limits: Quotas of the built-in broker, such as :data:`~bridge.lab.broker_limits.AWS_LIMITS`.
        clock: Epoch seconds for the Jobs service.

    Attributes:
        jobs: The Jobs store: ``create_job``, ``describe_execution``, ``cancel_job`` and more.
        images: The image server, with ``faults`` to switch on and ``requests`` to count; both are for objects in buckets too,
            under ``bucket/key``.
        presigner: Signs URLs, and holds the key that S3 requests must be signed with.

    Raises:
        UsageError: There is no such broker, or quotas are wanted of mosquitto.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        host: str = "127.0.0.1",
        mqtt_port: int = 0,
        https_port: int = 0,
        broker: BrokerKind = "builtin",
        limits: BrokerLimits | None = None,
        clock: Clock = time.time,
    ) -> None:
        if broker not in get_args(BrokerKind):
            raise UsageError(
                f"there is no broker {broker!r}; choose builtin or mosquitto", reason="unknown-broker"
            )
        self._state_dir = state_dir
        self._host = host
        self._mqtt_port = mqtt_port
        self._https_port = https_port
        if limits is not None and broker != "builtin":
            raise UsageError("quotas need the built-in broker", reason="no-builtin-broker")
        self._broker_kind = broker
        self._limits = limits
        self._clock = clock
        self._stack = ExitStack()
        self._broker: Broker | None = None
        self.presigner = Presigner(clock)
        self.images = ImageServer(lambda: self.https_url, self.presigner)
        self.jobs = JobsStore(clock=clock, presigner=self._presign)

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            CloudError: A port is in use, or mosquitto is missing or refuses to start.
            UsageError: The state directory cannot be used.
        """
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_thing(self, name: str) -> Credentials:
        """Register a thing and issue its certificate (or find it in the state directory).

        Raises:
            UsageError: The name is no thing name.
        """
        cert_file, key_file = self._pki.issue_client(name)
        self.jobs.add_thing(name)
        with self.registry.together():
            self._provision(name, cert_file)
        return Credentials(name, self.ca_file, cert_file, key_file)

    def _provision(self, name: str, cert_file: Path) -> None:
        """Register a thing's certificate with the least it needs, unless somebody did so or undid it before."""
        try:
            certificate = self.registry.register(cert_file.read_text(), active=True)
        except RegistryRefusedError:
            return
        self.registry.attach_thing(name, certificate.arn)
        policy = policy_name(name)
        with suppress(RegistryRefusedError):
            self.registry.create_policy(policy, policy_for(thing_arn(name)))
        self.registry.attach_policy(policy, certificate.arn)

    def publish_image(self, path: Path) -> str:
        """Serve a copy of a file and give its HTTPS URL.

        Raises:
            UsageError: The file cannot be read.
        """
        return self.images.publish(path)

    @property
    def ca_file(self) -> Path:
        """The CA's certificate (PEM), for MQTT and for HTTPS."""
        return self._pki.ca_file

    @property
    def mqtt_endpoint(self) -> tuple[str, int]:
        """Host and port for devices."""
        return self._host, self._mqtt_port

    @property
    def https_url(self) -> str:
        """Base URL of the AWS-like API, for boto3's ``endpoint_url``."""
        return f"https://{self._host}:{self._https_port}"

    @property
    def not_emulated(self) -> tuple[str, ...]:
        """What a person used to AWS IoT Core must not expect here."""
        return NOT_EMULATED

    def thing_arn(self, name: str) -> str:
        """ARN of a thing, for CreateJob's ``targets``."""
        return thing_arn(name)

    @property
    def broker_faults(self) -> BrokerFaults:
        """Faults of the built-in broker.

        Raises:
            UsageError: The broker is mosquitto, which has none.
        """
        return self.broker.faults

    @property
    def broker(self) -> Broker:
        """The built-in broker, to cut clients or to wait for them.

        Raises:
            UsageError: The broker is mosquitto.
        """
        if self._broker is None:
            raise UsageError("only a running built-in broker can be reached into", reason="no-builtin-broker")
        return self._broker

    def _start(self, stack: ExitStack) -> None:
        stack.callback(self.images.close)
        directory = self._state_dir
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nrf91-bridge-cloud-")))
        directory = directory.absolute()  # paths are for commands that may run elsewhere
        self._pki = LabPki(directory)
        self._open_stores(directory)
        cert_file, key_file = self._pki.issue_server(self._host)
        if self._broker_kind == "builtin":
            front = self._start_builtin(stack, cert_file, key_file)
        else:
            front = self._start_mosquitto(stack, directory / "mosquitto", cert_file, key_file)
        if self._state_dir is not None:
            stack.enter_context(self.jobs.kept_in(directory / "jobs.sqlite3"))
        # Not before the database says that nobody else uses the directory.
        self.buckets = BucketStore(directory / "buckets", self._clock)
        self.buckets.create(BUCKET)
        stack.enter_context(JobsService(self.jobs, front, clock=self._clock))
        server = HttpsServer(
            self._routes(),
            cert_file=cert_file,
            key_file=key_file,
            host=self._host,
            port=self._https_port,
            client_ca_file=self.ca_file,
        )
        self._https_port = stack.enter_context(server).port
        self._tell_where(directory)
        _log.info("local cloud: MQTT on %s, HTTPS on %s", self._endpoint_text(), self.https_url)

    def _open_stores(self, directory: Path) -> None:
        self.state_dir = directory
        self.registry = Registry(
            directory / "registry.json", thing_exists=lambda name: name in self.jobs.things, clock=self._clock
        )
        with suppress(UsageError):  # the first start
            before = LocalCloudState.read(directory)
            self.presigner.key = AccessKey(before.access_key_id, before.secret_access_key)

    def _routes(self) -> list[BaseRoute]:
        s3 = S3Service(
            self.buckets,
            self.presigner,
            faults=self.images.faults,
            note=self.images.note,
            hosts=("localhost", self._host),
        )
        return [
            *self.images.routes,
            s3.signed_route,
            *routes_of({"iot": RegistryRest(self.registry, self._pki).handlers}),
            *jobs_routes(
                self.jobs,
                mqtt_endpoint=self._endpoint_text,
                clock=self._clock,
                read_document=document_reader(self.buckets),
                principals=self.registry,
                attached=self.registry.principals_of,
            ),
            UnknownOperationRoute(),
            s3.rest_route,
        ]

    def _tell_where(self, directory: Path) -> None:
        LocalCloudState(
            endpoint_url=self.https_url,
            mqtt_endpoint=self._endpoint_text(),
            ca_file=self.ca_file,
            region=REGION,
            access_key_id=self.presigner.key.key_id,
            secret_access_key=self.presigner.key.secret,
            bucket=BUCKET,
        ).write(directory)

    def _start_builtin(self, stack: ExitStack, cert_file: Path, key_file: Path) -> Front:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert_file, key_file)
        tls.load_verify_locations(self.ca_file)
        policy = PrincipalPolicy(self.registry)
        broker = Broker(tls, host=self._host, port=self._mqtt_port, policy=policy, limits=self._limits)
        stack.enter_context(broker)
        self._broker, self._mqtt_port = broker, broker.port
        return BrokerFront(broker)

    def _start_mosquitto(self, stack: ExitStack, directory: Path, cert_file: Path, key_file: Path) -> Front:
        files = ServerFiles(self.ca_file, cert_file, key_file)
        broker = Mosquitto(directory, files, service_name=SERVICE_NAME, host=self._host, port=self._mqtt_port)
        self._mqtt_port = stack.enter_context(broker).port
        service_files = self._pki.issue_client(SERVICE_NAME)
        return MqttClientFront(ServiceLogin(self._host, self._mqtt_port, self.ca_file, *service_files))

    def _endpoint_text(self) -> str:
        return f"{self._host}:{self._mqtt_port}"

    def _presign(self, url: str, expires_in_s: int) -> str:
        """Open what a placeholder names: an object in a bucket here, or an image that was published under the last name."""
        place = find_object(url, self.buckets)
        if place is None:
            return self.images.presigned_url(url.rsplit("/", 1)[-1], expires_in_s)
        return self.presigner.url(f"{self.https_url}/{quote(place.name)}", expires_in_s)

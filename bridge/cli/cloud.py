"""``nrf91-bridge cloud``: the local cloud's broker, Jobs service, images and API, until interrupted."""

import ipaddress
import shlex
import socket
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.cli.output import console, emit_json, use_json
from bridge.cli.signals import until_interrupted
from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.lab.local_cloud import Credentials, LocalCloud


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cloud")(run_cloud)


def run_cloud(
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="Keep CA, certificates, jobs and groups here; otherwise they are thrown away."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on and to be reached by; all but loopback lets others in.")
    ] = "127.0.0.1",
    mqtt_port: Annotated[int, typer.Option(min=0, max=65535, help="Broker's port; 0 picks a free one.")] = 0,
    https_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of images and AWS-like API; 0 picks a free one.")
    ] = 0,
    thing: Annotated[
        list[str] | None, typer.Option("--thing", help="Thing to create; may be repeated.")
    ] = None,
    broker: Annotated[
        Literal["builtin", "mosquitto"], typer.Option(help="Built-in broker, or the installed mosquitto.")
    ] = "builtin",
    aws_quotas: Annotated[
        bool,
        typer.Option(
            "--aws-quotas",
            help="Throttle as AWS does: 100 publishes a second on a connection, 1 connect a second with a client id.",
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Serve the files of this directory over HTTPS.", exists=True, file_okay=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Run a local AWS IoT Core for jobs: mutual TLS broker, Jobs service, HTTPS images, AWS-like API."""
    use_json(json)
    try:
        from bridge.lab.broker_limits import AWS_LIMITS  # noqa: PLC0415
        from bridge.lab.local_cloud import LocalCloud  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the local cloud needs {error.name}, which is not installed",
            reason="missing-extra",
            hint="Install it with: pip install 'nrf91-bridge[lab]'",
        ) from error

    with (
        until_interrupted() as wait,
        LocalCloud(
            state,
            host=host,
            mqtt_port=mqtt_port,
            https_port=https_port,
            broker=broker,
            limits=AWS_LIMITS if aws_quotas else None,
        ) as cloud,
    ):
        things = [cloud.add_thing(name) for name in thing or ["nrf91-lab-1"]]
        files = sorted(path for path in images.iterdir() if path.is_file()) if images else []
        urls = [cloud.publish_image(path) for path in files]
        (_tell_machine if json else _tell_person)(cloud, things, urls)
        wait()


def _tell_machine(cloud: "LocalCloud", things: "list[Credentials]", urls: list[str]) -> None:
    host, port = cloud.mqtt_endpoint
    emit_json(
        {
            "event": "ready",
            "endpoint": f"{host}:{port}",
            "https": cloud.https_url,
            "ca": cloud.ca_file,
            "things": [
                {"name": one.thing_name, "cert": one.cert_file, "key": one.key_file} for one in things
            ],
            "images": urls,
            "not_emulated": list(cloud.not_emulated),
        }
    )


def _tell_person(cloud: "LocalCloud", things: "list[Credentials]", urls: list[str]) -> None:
    host, port = cloud.mqtt_endpoint
    lines = [
        f"MQTT endpoint  {host}:{port}",
        f"HTTPS          {cloud.https_url}",
        f"CA             {cloud.ca_file}",
    ]
    for one in things:
        lines += [
            f"thing          {one.thing_name}",
            f"  certificate  {one.cert_file}",
            f"  key          {one.key_file}",
        ]
    lines += [f"image          {url}" for url in urls]
    lines += ["", "Work its jobs on a board:", f"  {agent_command(cloud, things[0])}"]
    lines += ["", "Create a job (or use boto3 with this endpoint_url):"]
    lines += [f"  {job_command(cloud, things[0], urls)}"]
    lines += ["", "Not emulated:", *(f"  - {what}" for what in cloud.not_emulated)]
    if not ipaddress.ip_address(socket.gethostbyname(host)).is_loopback:
        lines += ["", f"Warning: whoever reaches {cloud.https_url} can create jobs; there is no login."]
    lines += ["", "Ready. Ctrl-C stops it."]
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def agent_command(cloud: "LocalCloud", thing: "Credentials") -> str:
    """Command line of the agent for a thing, to be pasted into a shell."""
    host, port = cloud.mqtt_endpoint
    command = ["nrf91-bridge", "run", "--thing", thing.thing_name, "--endpoint", f"{host}:{port}"]
    command += ["--cert", str(thing.cert_file), "--key", str(thing.key_file)]
    command += ["--ca", str(thing.ca_file), "--download-ca", str(thing.ca_file)]
    command += ["--allow-network", _network(host), "--port", "PORT"]
    return shlex.join(command)


def _network(host: str) -> str:
    """What the agent must be allowed for images from here: this host, or the address that the cloud listens on."""
    address = ipaddress.ip_address(socket.gethostbyname(host))
    return "loopback" if address.is_loopback else str(address)


def job_command(cloud: "LocalCloud", thing: "Credentials", urls: list[str]) -> str:
    """Command line that creates a job with curl, to be pasted into a shell."""
    document = {
        "operation": "app_fw_update",
        "location": {"url": urls[0] if urls else "https://HOST/IMAGE.bin"},
    }
    body = {"targets": [cloud.thing_arn(thing.thing_name)], "document": dumps(document)}
    command = ["curl", "--cacert", str(cloud.ca_file), "-X", "PUT", f"{cloud.https_url}/jobs/job-1"]
    return shlex.join([*command, "-H", "content-type: application/json", "-d", dumps(body)])

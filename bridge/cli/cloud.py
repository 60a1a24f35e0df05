"""``nrf91-bridge cloud``: the local cloud's broker, Jobs service, images and API, until interrupted."""

import ipaddress
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.cli.output import console, emit_json, use_json
from bridge.cli.signals import until_interrupted
from bridge.extras import missing_extra

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
        raise missing_extra("the local cloud needs", error, "lab") from error

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
        (_tell_machine if json else _tell_person)(cloud, things, urls, files[0] if files else None)
        wait()


def _tell_machine(
    cloud: "LocalCloud", things: "list[Credentials]", urls: list[str], image: Path | None
) -> None:
    host, port = cloud.mqtt_endpoint
    emit_json(
        {
            "event": "ready",
            "endpoint": f"{host}:{port}",
            "https": cloud.https_url,
            "ca": cloud.ca_file,
            "state": cloud.state_dir,
            "things": [
                {"name": one.thing_name, "cert": one.cert_file, "key": one.key_file} for one in things
            ],
            "images": urls,
            "commands": {each.name: each.command for each in suggestions(cloud, things[0], image)},
            "not_emulated": list(cloud.not_emulated),
        }
    )


def _tell_person(
    cloud: "LocalCloud", things: "list[Credentials]", urls: list[str], image: Path | None
) -> None:
    host, port = cloud.mqtt_endpoint
    lines = [
        f"MQTT endpoint  {host}:{port}",
        f"HTTPS          {cloud.https_url}",
        f"CA             {cloud.ca_file}",
        f"state          {cloud.state_dir}",
    ]
    for one in things:
        lines += [
            f"thing          {one.thing_name}",
            f"  certificate  {one.cert_file}",
            f"  key          {one.key_file}",
        ]
    lines += [f"image          {url}" for url in urls]
    for each in suggestions(cloud, things[0], image):
        lines += ["", f"{each.text}:", f"  {each.command}"]
    lines += ["", "Not emulated:", *(f"  - {what}" for what in cloud.not_emulated)]
    if not _is_loopback(host):
        lines += ["", f"Warning: whoever reaches {cloud.https_url} can create jobs; there is no login."]
    lines += ["", "Ready. Ctrl-C stops it."]
    console.print("\n".join(lines), soft_wrap=True)


@dataclass(frozen=True)
class Suggestion:
    """A command line to be pasted into a shell; only IMAGE and PORT are left to be filled in.

    Attributes:
        name: For machines.
        text: What it does.
        command: The line.
    """

    name: str
    text: str
    command: str


def suggestions(cloud: "LocalCloud", thing: "Credentials", image: Path | None) -> list[Suggestion]:
    """What to do next with a cloud."""
    state = ["--cloud-state", str(cloud.state_dir)]
    job, name = ["nrf91-bridge", "job"], thing.thing_name
    create = ["create", "--image", str(image.absolute()) if image else "IMAGE", "--thing", name, "--presign"]
    return [
        Suggestion("run", "Work its jobs on a board", agent_command(cloud, thing)),
        Suggestion("create", "Create a job", shlex.join([*job, *create, "--job-id", "job-1", *state])),
        Suggestion("watch", "Watch it", shlex.join([*job, "watch", "job-1", *state])),
        Suggestion(
            "thing", "Make another thing", shlex.join(["nrf91-bridge", "thing", "create", "my-board", *state])
        ),
        Suggestion("check", "Check it", shlex.join(["nrf91-bridge", "thing", "check", "my-board", *state])),
        Suggestion("environment", "Use other AWS tools", _aws_environment(cloud)),
    ]


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
    return "loopback" if _is_loopback(host) else socket.gethostbyname(host)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(socket.gethostbyname(host)).is_loopback


def _aws_environment(cloud: "LocalCloud") -> str:
    """Variables that boto3, the AWS CLI and others read."""
    key = cloud.presigner.key
    values = {
        "AWS_ENDPOINT_URL": cloud.https_url,
        "AWS_CA_BUNDLE": str(cloud.ca_file),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key.key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
    }
    return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())

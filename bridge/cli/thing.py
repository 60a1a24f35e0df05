"""``nrf91-bridge thing``: making a thing that can work jobs, and finding out why one cannot."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bridge.cli.cloud_options import CloudOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.errors import CloudError, UsageError

if TYPE_CHECKING:
    from bridge.cloud.deploy import ControlPlane
    from bridge.cloud.deploy_check import Finding
    from bridge.cloud.deploy_things import ProvisionedThing

NameArgument = Annotated[str, typer.Argument(help="Name of the thing.")]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        envvar="NRF91_BRIDGE_THING_DIR",
        file_okay=False,
        help="Directory of its certificate and key.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Provision things, and check them.")
    group.command("create")(create)
    group.command("check")(check)
    app.add_typer(group, name="thing")


@takes_groups
def create(
    name: NameArgument,
    out_dir: OutOption = Path(),
    policy: Annotated[
        str | None, typer.Option(help="Policy to attach, if it is there already or shall be called so.")
    ] = None,
    policy_file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Document of the policy if it must be made; default: the least needed.",
        ),
    ] = None,
    works_for: Annotated[
        list[str] | None,
        typer.Option(
            "--works-for",
            help="Gateway: let it work this thing's jobs too (run --gateway); may be repeated, * for any.",
        ),
    ] = None,
    *,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Make a thing, its key, its certificate and a policy that allows its jobs and nothing else.

    What is there stays as it is, keys above all, so the command can be repeated.
    """
    use_json(json)
    from bridge.cloud.deploy_things import ThingFiles, ThingMaker  # noqa: PLC0415

    with cloud.open() as plane:
        document = policy_file.read_text(encoding="utf-8") if policy_file else None
        made = ThingMaker(plane).make(
            ThingFiles(out_dir.absolute(), name),
            policy=policy,
            policy_document=document,
            works_for=works_for or (),
        )
        ca_file = plane.access.ca_file
    command = shlex.join(agent_words(made, ca_file))
    (_tell_machine if json else _tell_person)(made, command)


def _tell_machine(made: "ProvisionedThing", command: str) -> None:
    emit_json(
        {
            "event": "thing",
            "thing": made.files.thing_name,
            "arn": made.thing_arn,
            "endpoint": made.endpoint,
            "cert": made.files.cert_file,
            "key": made.files.key_file,
            "certificate_id": made.certificate_id,
            "policy": made.policy_name,
            "made": list(made.made),
            "remarks": list(made.remarks),
            "run": command,
        }
    )


def _tell_person(made: "ProvisionedThing", command: str) -> None:
    news = ", ".join(made.made) or "nothing; all of it was there"
    out.print(f"made: {news}")
    out.print(f"thing        {made.thing_arn}", soft_wrap=True)
    out.print(f"certificate  {made.files.cert_file}", soft_wrap=True)
    out.print(f"key          {made.files.key_file}", soft_wrap=True)
    out.print(f"policy       {made.policy_name}", soft_wrap=True)
    for remark in made.remarks:
        console.print(f"note: {remark}", soft_wrap=True)
    out.print("work its jobs:", command, soft_wrap=True)


def agent_words(made: "ProvisionedThing", ca_file: Path | None) -> list[str]:
    """Command line of the agent for a thing."""
    words = ["nrf91-bridge", "run", "--thing", made.files.thing_name, "--endpoint", made.endpoint]
    words += ["--cert", str(made.files.cert_file), "--key", str(made.files.key_file)]
    if ca_file is not None:
        words += ["--ca", str(ca_file), "--download-ca", str(ca_file), "--allow-network", "loopback"]
    return [*words, "--port", "PORT"]


@takes_groups
def check(
    name: NameArgument,
    out_dir: OutOption = Path(),
    endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="NRF91_BRIDGE_ENDPOINT", help="Broker: HOST or HOST:PORT; default: ask the cloud."
        ),
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(envvar="NRF91_BRIDGE_CERT", help="Certificate; default: that of --out.")
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option("--key", envvar="NRF91_BRIDGE_PRIVATE_KEY", help="Its key.")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(envvar="NRF91_BRIDGE_CLIENT_ID", help="MQTT client id; default: the name.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for each answer.")] = 10.0,
    *,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Connect as the agent does and say exactly what is missing.

    With the operator's rights (any of --cloud-state, --endpoint-url, --profile, --region, or no --endpoint) it also reads
    what the registry says. An agent that runs with the same client id is disconnected for a moment.
    """
    use_json(json)
    from bridge.cloud.deploy_check import ThingCheck  # noqa: PLC0415
    from bridge.cloud.deploy_things import ThingFiles  # noqa: PLC0415
    from bridge.cloud.endpoint import Endpoint  # noqa: PLC0415

    files = ThingFiles(out_dir, name)
    asks_cloud = endpoint is None or any((cloud.cloud_state, cloud.endpoint_url, cloud.profile, cloud.region))
    plane = cloud.open() if asks_cloud else None
    try:
        host, port = _broker(endpoint, plane)
        broker = Endpoint(
            host=host,
            port=port,
            ca_file=cloud.ca or (plane.access.ca_file if plane else None),
            cert_file=cert or files.cert_file,
            key_file=private_key or files.key_file,
            client_id=client_id or name,
        )
        findings = []
        for finding in ThingCheck(broker, name, plane=plane, timeout_s=timeout).run():
            findings.append(finding)
            _tell(finding, json=json)
    finally:
        if plane is not None:
            plane.__exit__(None, None, None)
    _judge(name, findings, json=json)


def _broker(endpoint: str | None, plane: "ControlPlane | None") -> tuple[str, int]:
    from bridge.cli.broker_options import split_endpoint  # noqa: PLC0415

    if endpoint is None:
        assert plane is not None
        endpoint = plane.access.mqtt_endpoint or plane.describe_endpoint()
    return split_endpoint(endpoint)


def _tell(finding: "Finding", *, json: bool) -> None:
    if json:
        emit_json(
            {
                "event": "check",
                "check": finding.check,
                "good": finding.good,
                "text": finding.text,
                "reason": finding.reason,
                "hint": finding.hint,
            }
        )
        return
    mark = ("ok", "green") if finding.good else ("no", "red")
    out.print(Text.assemble(mark, f"  {finding.check:<10}{finding.text}"), soft_wrap=True)
    if finding.hint:
        out.print(f"              {finding.hint}", soft_wrap=True)


def _judge(name: str, findings: "list[Finding]", *, json: bool) -> None:
    """Say the first thing that is wrong as the command's error."""
    wrong = next((each for each in findings if not each.good), None)
    if wrong is not None:
        family = UsageError if wrong.check == "files" else CloudError
        raise family(f"thing {name}: {wrong.text}", reason=wrong.reason, hint=wrong.hint)
    if json:
        emit_json({"event": "thing-ready", "thing": name})
    else:
        out.print(f"{name} can work jobs")

#!/usr/bin/env python3
"""Take the part of AWS's service models that the local cloud serves out of botocore, into bridge/lab/aws_shapes.json.

Run it when AWS has changed its API; a test compares the file with the installed botocore.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import botocore
import botocore.loaders

FILE = Path(__file__).resolve().parent.parent / "bridge" / "lab" / "aws_shapes.json"

CONTROL = re.compile(
    r"(Create|Describe|Update|Cancel|Delete|Associate\w+With)Job(Execution)?"
    r"|GetJobDocument|ListJobs|ListJobExecutionsFor(Job|Thing)"
    r"|(Create|Describe|Update|Delete|List)(Managed)?JobTemplates?"
    r"|(Create|Describe|Update|Delete|List)(Dynamic)?ThingGroups?"
    r"|AddThingToThingGroup|RemoveThingFromThingGroup|UpdateThingGroupsForThing"
    r"|ListThingsInThingGroup|ListThingGroupsForThing"
    r"|(Create|Describe|Update|Delete|List)Things?|DescribeEndpoint"
    r"|ListTagsForResource|TagResource|UntagResource"
    r"|(Attach|Detach)ThingPrincipal|List(ThingPrincipals|PrincipalThings)(V2)?"
    r"|(Create|Get|Delete|List)Polic(y|ies)|(Attach|Detach)Policy|ListAttachedPolicies|ListTargetsForPolicy"
    r"|CreatePolicyVersion|DeletePolicyVersion|ListPolicyVersions|GetPolicyVersion|SetDefaultPolicyVersion"
    r"|CreateKeysAndCertificate|CreateCertificateFromCsr|RegisterCertificate(WithoutCA)?"
    r"|(Describe|Update|Delete|List)Certificates?"
)
DATA = re.compile(r"(Describe|Update)JobExecution|GetPendingJobExecutions|StartNextPendingJobExecution")
CONSTRAINTS = ("type", "min", "max", "pattern", "enum", "required")


def generate() -> dict[str, Any]:
    """What the file must hold."""
    services = {"iot": CONTROL, "iot-jobs-data": DATA}
    return {name: _service(name, wanted) for name, wanted in services.items()}


def _service(name: str, wanted: re.Pattern[str]) -> dict[str, Any]:
    model = botocore.loaders.Loader().load_service_model(name, "service-2")
    operations = {}
    shapes: dict[str, Any] = {}
    for operation, body in sorted(model["operations"].items()):
        if not wanted.fullmatch(operation):
            continue
        operations[operation] = {
            "method": body["http"]["method"],
            "uri": body["http"]["requestUri"],
            "input": body.get("input", {}).get("shape"),
            "output": body.get("output", {}).get("shape"),
            "errors": [error["shape"] for error in body.get("errors", ())],
        }
        for end in ("input", "output"):
            if operations[operation][end]:
                _collect(model["shapes"], operations[operation][end], shapes)
    errors = {
        shape: body["error"]["httpStatusCode"]
        for shape, body in sorted(model["shapes"].items())
        if body.get("exception")
    }
    return {"operations": operations, "errors": errors, "shapes": dict(sorted(shapes.items()))}


def _collect(model: dict[str, Any], name: str, shapes: dict[str, Any]) -> None:
    if name in shapes:
        return
    body = model[name]
    shapes[name] = kept = {key: body[key] for key in CONSTRAINTS if key in body}
    for part in ("member", "key", "value"):
        if part in body:
            kept[part] = body[part]["shape"]
            _collect(model, kept[part], shapes)
    if "members" in body:
        kept["members"] = {}
        for member, reference in body["members"].items():
            places = {key: reference[key] for key in ("location", "locationName") if key in reference}
            kept["members"][member] = {"shape": reference["shape"], **places}
            _collect(model, reference["shape"], shapes)


def render(services: dict[str, Any]) -> str:
    """JSON with a line for each operation and shape, so that differences can be read."""
    lines = ["{"]
    for name, service in services.items():
        lines.append(f" {json.dumps(name)}: {{")
        lines.append(f'  "errors": {json.dumps(service["errors"])},')
        for part in ("operations", "shapes"):
            lines.append(f'  "{part}": {{')
            entries = [f"   {json.dumps(key)}: {json.dumps(body)}" for key, body in service[part].items()]
            lines.append(",\n".join(entries))
            lines.append("  }," if part == "operations" else "  }")
        lines.append(" }," if name != list(services)[-1] else " }")
    return "\n".join([*lines, "}"]) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(generate()), encoding="utf-8")
    sys.stderr.write(f"{FILE} written from botocore {botocore.__version__}\n")

"""Whether what the local cloud answers has the shapes that botocore's models give it: no member more, none missing.

boto3 itself drops members that it does not know, and does not miss any.
"""

import json
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "double": (int, float),
    "timestamp": (int, float),
}


class ShapeWatch:
    """Looks at every answer to the clients that it watches.

    Attributes:
        answered: Operations that were answered, well or with an error, as ``service.Operation``.
        wrong: What was not as the model says.
    """

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.wrong: list[str] = []

    def watch(self, client: Any) -> None:
        """Look at every answer to a client from now on."""
        client.meta.events.register("after-call", self._after_call)

    def _after_call(self, http_response: Any, parsed: Any, model: OperationModel, **_: Any) -> None:
        name = f"{model.service_model.signing_name}.{model.name}"
        self.answered.add(name)
        if http_response.status_code < 300:
            body = json.loads(http_response.content or b"{}")
            if model.output_shape is None:
                self.wrong += [f"{name} answers nothing, not {sorted(body)}"] if body else []
            else:
                self.wrong += problems(model.output_shape, body, name)
            return
        code = parsed["Error"]["Code"]
        # The data plane's model promises a VersionMismatch in its texts only.
        listed = {shape.error_code for shape in model.error_shapes} | {
            "VersionConflictException" if name == "iot-jobs-data.UpdateJobExecution" else ""
        }
        if code not in listed:
            self.wrong.append(f"{name} never raises {code}")


def problems(shape: Shape, value: Any, path: str) -> list[str]:
    """What is wrong with a value of a response, one sentence each."""
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return [f"{path} is no object"]
        found = [f"{path}.{name} is not in the model" for name in value if name not in shape.members]
        found += [f"{path}.{name} is missing" for name in shape.required_members if name not in value]
        for name, inner in value.items():
            if name in shape.members:
                found += problems(shape.members[name], inner, f"{path}.{name}")
        return found
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [one for n, inner in enumerate(value) for one in problems(shape.member, inner, f"{path}[{n}]")]
    if isinstance(shape, MapShape):
        if not isinstance(value, dict):
            return [f"{path} is no map"]
        return [one for key in value for one in problems(shape.value, value[key], f"{path}.{key}")]
    if not isinstance(value, _TYPES[shape.type_name]):
        return [f"{path} is {value!r}, not a {shape.type_name}"]
    enum = getattr(shape, "enum", None)
    return [f"{path} is {value!r}, not one of {enum}"] if enum and value not in enum else []

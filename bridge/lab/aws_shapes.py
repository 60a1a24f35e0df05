"""AWS's request and response shapes, and whether a value keeps to them: members, types, lengths, ranges, patterns.

The data in ``aws_shapes.json`` is taken from botocore's service models by ``scripts/aws_shapes.py``. Limits that AWS states
only in prose are in :mod:`bridge.lab.jobs_limits`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from bridge.lab.aws_patterns import matcher
from bridge.lab.jobs_model import JobsRejectedError, RejectionCode

ServiceName = Literal["iot", "iot-jobs-data"]
Shape = Mapping[str, Any]

_NUMBERS: Final = frozenset({"integer", "long", "double"})


@dataclass(frozen=True)
class Operation:
    """One call of an API.

    Attributes:
        uri: Path with ``{member}`` in it.
        input_shape: What it takes; None for nothing.
        output_shape: What it answers; None for nothing.
        errors: Exceptions that it may raise.
    """

    service: ServiceName
    name: str
    method: str
    uri: str
    input_shape: str | None
    output_shape: str | None
    errors: tuple[str, ...]


class ServiceModel:
    """One service's operations and shapes."""

    def __init__(self, name: ServiceName, data: Mapping[str, Any]) -> None:
        self.name = name
        self.shapes: Final[Mapping[str, Shape]] = data["shapes"]
        self.error_status: Final[Mapping[str, int]] = data["errors"]
        """HTTP status of each exception."""
        self.operations: Final = {
            key: Operation(
                name,
                key,
                one["method"],
                one["uri"],
                one["input"],
                one["output"],
                tuple(one["errors"]),
            )
            for key, one in data["operations"].items()
        }

    def limit(self, shape: str, bound: Literal["min", "max"]) -> int:
        """A bound of a shape."""
        return int(self.shapes[shape][bound])

    def check(self, shape: str, value: object, member: str) -> None:
        """Check a value against a shape.

        Raises:
            JobsRejectedError: InvalidRequest, with the member's path in its message.
        """
        body = self.shapes[shape]
        _CHECKS[body["type"]](self, body, value, member)


@cache
def service(name: ServiceName) -> ServiceModel:
    """The model of a service."""
    text = resources.files("bridge.lab").joinpath("aws_shapes.json").read_text(encoding="utf-8")
    return ServiceModel(name, json.loads(text)[name])


def _refuse(message: str) -> JobsRejectedError:
    return JobsRejectedError(RejectionCode.INVALID_REQUEST, message)


def _structure(model: ServiceModel, shape: Shape, value: object, path: str) -> None:
    if not isinstance(value, Mapping):
        raise _refuse(f"{path or 'the request'} must be an object")
    prefix = f"{path}." if path else ""
    if unknown := sorted(set(map(str, value)) - set(shape["members"])):
        raise _refuse(f"there is no member {prefix}{unknown[0]}")
    for member in shape.get("required", ()):
        if value.get(member) is None:
            raise _refuse(f"{prefix}{member} is missing")
    for member, inner in value.items():
        if inner is not None:  # null is the same as absent
            model.check(shape["members"][member]["shape"], inner, f"{prefix}{member}")


def _list(model: ServiceModel, shape: Shape, value: object, path: str) -> None:
    if not isinstance(value, list | tuple):
        raise _refuse(f"{path} must be a list")
    _bounds(shape, len(value), path, "items")
    for number, inner in enumerate(value):
        model.check(shape["member"], inner, f"{path}[{number}]")


def _map(model: ServiceModel, shape: Shape, value: object, path: str) -> None:
    if not isinstance(value, Mapping):
        raise _refuse(f"{path} must be an object")
    _bounds(shape, len(value), path, "entries")
    for key, inner in value.items():
        model.check(shape["key"], key, f"a key of {path}")
        model.check(shape["value"], inner, f"{path}.{key}")


def _string(_model: ServiceModel, shape: Shape, value: object, path: str) -> None:
    if not isinstance(value, str):
        raise _refuse(f"{path} must be a string")
    _bounds(shape, len(value), path, "characters")
    if "enum" in shape and value not in shape["enum"]:
        raise _refuse(f"{path} must be one of {', '.join(shape['enum'])}, not {value[:80]!r}")
    if "pattern" in shape and not matcher(shape["pattern"])(value):
        raise _refuse(f"{path} {value[:80]!r} does not match {shape['pattern']}")


def _number(_model: ServiceModel, shape: Shape, value: object, path: str) -> None:
    kinds = (int, float) if shape["type"] == "double" else (int,)
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise _refuse(f"{path} must be {'a number' if shape['type'] == 'double' else 'an integer'}")
    low, high = shape.get("min"), shape.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        raise _refuse(f"{path} is {value}; allowed is {_range(low, high)}")


def _boolean(_model: ServiceModel, _shape: Shape, value: object, path: str) -> None:
    if not isinstance(value, bool):
        raise _refuse(f"{path} must be true or false")


def _timestamp(_model: ServiceModel, _shape: Shape, value: object, path: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _refuse(f"{path} must be epoch seconds")


def _bounds(shape: Shape, count: int, path: str, unit: str) -> None:
    low, high = shape.get("min"), shape.get("max")
    if (low is not None and count < low) or (high is not None and count > high):
        raise _refuse(f"{path} has {count} {unit}; allowed are {_range(low, high)}")


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{low} or more"
    return f"at most {high}" if low is None else f"{low} to {high}"


_CHECKS: Final[Mapping[str, Callable[[ServiceModel, Shape, object, str], None]]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "boolean": _boolean,
    "timestamp": _timestamp,
    **dict.fromkeys(_NUMBERS, _number),
}

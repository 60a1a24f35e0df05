"""Options of a firmware build written as text: ``direct-upload,line-bytes=512``."""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar

from bridge.errors import UsageError

_Options = TypeVar("_Options", bound=Any)


def with_options(options: _Options, texts: Iterable[str]) -> _Options:
    """Options with some of them changed.

    Args:
        options: A frozen dataclass with fields of kind ``bool`` and ``int``; others cannot be set like this.
        texts: Each ``name``, ``name=value``, or several of these with commas between. A name alone switches on; switches
            take 0 and 1.

    Raises:
        UsageError: There is no such option, or its value makes no sense.
    """
    known = {
        field.name.replace("_", "-"): type(getattr(options, field.name))
        for field in fields(options)
        if isinstance(getattr(options, field.name), int)
    }
    changes: dict[str, Any] = {}
    for text in ",".join(texts).split(","):
        if not text:
            continue
        name, has_value, value = text.partition("=")
        if name not in known:
            raise UsageError(
                f"there is no build option {name}",
                reason="unknown-option",
                hint=f"Known: {', '.join(known)}.",
            )
        changes[name.replace("-", "_")] = _value(name, known[name], value if has_value else None)
    changed: _Options = replace(options, **changes)
    return changed


def _value(name: str, kind: type, text: str | None) -> int:
    if kind is bool and text in (None, "0", "1"):
        return text != "0"
    if kind is not bool and text is not None and text.isdecimal():
        return int(text)
    raise UsageError(
        f"the build option {name} cannot be {text or 'set without a value'}", reason="bad-option"
    )

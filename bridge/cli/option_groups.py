"""Groups of options: a dataclass as a command's parameter stands for its fields, each of them an option of the command."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a function that takes groups of options into one that typer can make a command of.

    A group is a dataclass whose fields are annotated as options are. Its options stand where its parameter stands; the
    function gets the group, made of what was given for them.
    """
    parameters = inspect.signature(command).parameters.values()
    groups: dict[str, Any] = {
        one.name: one.annotation for one in parameters if dataclasses.is_dataclass(one.annotation)
    }

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{each.name: values.pop(each.name) for each in dataclasses.fields(group)})
        command(**values)

    options = [
        option
        for one in parameters
        for option in (_options_of(groups[one.name]) if one.name in groups else [one])
    ]
    # By keyword only, as typer gives them: some without a default stand behind others.
    flat = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in options]
    with_options.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in flat}
    return with_options


def _options_of(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for each in dataclasses.fields(group):
        default = inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default
        yield inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[each.name]
        )

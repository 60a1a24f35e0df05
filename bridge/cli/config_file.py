"""A TOML file that sets the options of a command (``run --config``)."""

import tomllib
from pathlib import Path

import typer

from bridge.errors import UsageError


def load_config(context: typer.Context, file: Path | None) -> Path | None:
    """Let a TOML file set the defaults of the command's options; the command line and the environment win.

    Settings that say what may be installed can stand in a section ``[policy]``.

    Raises:
        UsageError: The file cannot be read, or sets what is no option (reason ``bad-config``).
    """
    if file is None:
        return None
    try:
        values = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the configuration {file}: {error}", reason="bad-config") from error
    parameters = {
        option.removeprefix("--"): parameter
        for parameter in context.command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    policy = values.pop("policy", {})
    if not isinstance(policy, dict) or not set(values).isdisjoint(policy):
        raise UsageError(
            f"the configuration {file} has no [policy] section with settings of its own", reason="bad-config"
        )
    values |= policy
    unknown = sorted(set(values) - set(parameters))
    if unknown:
        raise UsageError(
            f"the configuration {file} has unknown settings: {', '.join(unknown)}",
            reason="bad-config",
            hint="Settings are the long options of `nrf91-bridge run` without the dashes in front.",
        )
    context.default_map = {
        str(parameters[key].name): [value] if parameters[key].multiple and isinstance(value, str) else value
        for key, value in values.items()
    }
    return file

"""Options of ours that are followed by a path, which pytest takes for a place of tests.

pytest looks for its ini file above the paths among its arguments, before it knows the options of plugins: with ``--nrf91-port
/dev/ttyACM0`` it looks above the device, and reads no settings at all (source: pytest ``config/findpaths.py``,
``determine_setup``). With ``--nrf91-port=/dev/ttyACM0`` it does not.
"""

import pytest

from bridge.pytest_plugin.settings import SETTINGS


def joined_arguments(config: pytest.Config) -> list[str] | None:
    """The arguments of this run with such options and their paths in one word; None if pytest read what it should."""
    if config.inipath is not None:
        return None
    ours = {setting.option for setting in SETTINGS if not setting.is_flag}
    joined: list[str] = []
    words = iter(config.invocation_params.args)
    for word in words:
        value = next(words, None) if word in ours else None
        joined.append(word if value is None else f"{word}={value}")
    return None if len(joined) == len(config.invocation_params.args) else joined

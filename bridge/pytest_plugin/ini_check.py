"""Has pytest read the project's ini file? It has not when an option of a plugin is followed by a path that exists.

pytest looks for its ini file above the paths among its arguments, before it knows the options of plugins: in ``--nrf91-port
/dev/ttyACM0`` it takes the device for a place of tests, and reads no settings at all (source: pytest ``config/findpaths.py``,
``determine_setup``). With ``--nrf91-port=/dev/ttyACM0`` it does not.
"""

from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from bridge.pytest_plugin.settings import SETTINGS

_INI_FILES: Final = {
    "pytest.toml": "[pytest]",
    "pytest.ini": "[pytest]",
    ".pytest.ini": "[pytest]",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}


def check_ini_file(config: pytest.Config) -> None:
    """Refuse a run whose ini file was lost.

    Raises:
        pytest.UsageError: It was; the message says how to write the option.
    """
    if config.inipath is not None:
        return
    ours = {setting.option for setting in SETTINGS}
    start = config.invocation_params.dir
    for option, value in pairwise(config.invocation_params.args):
        if option in ours and (start / value).exists():
            lost = _ini_file(start)
            if lost is not None:
                raise pytest.UsageError(
                    f"nrf91: pytest takes {value} for a place of tests, and has not read {lost}; "
                    f"write {option}={value}"
                )


def _ini_file(start: Path) -> Path | None:
    for directory in (start, *start.parents):
        for name, section in _INI_FILES.items():
            file = directory / name
            if file.is_file() and section in file.read_text(encoding="utf-8", errors="replace"):
                return file
    return None

"""The plugin's settings: one table, and for each of them who decides.

The order is option, environment, ini file, bench file, and what the plugin finds out by itself. The header line of a run shows
the winner and where it came from, because a run on the wrong board is worse than none.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ENVIRONMENT_PREFIX: Final = "NRF91_BRIDGE_"
_RANKS: Final = {"option": 0, "ini": 2, "default": 3}
"""Who is heard before whom; environment variables, each a source of its own, come in between."""
_YES: Final = frozenset(("1", "yes", "y", "true", "on"))
_NO: Final = frozenset(("", "0", "no", "n", "false", "off"))


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Name without prefix, as in ``--nrf91-<name>``; the environment variable and the ini key follow from it.
        help: One sentence.
        choices: What it may be, if that is a closed list.
        default: What it is when nobody says anything; None where the bench file or the plugin decides.
        is_flag: It is on or off.
        is_seconds: It is a time.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    default: str | None = None
    is_flag: bool = False
    is_seconds: bool = False

    @property
    def option(self) -> str:
        """Command line option."""
        return f"--nrf91-{self.name}"

    @property
    def key(self) -> str:
        """Ini key; also the option's destination."""
        return f"nrf91_{self.name.replace('-', '_')}"

    @property
    def variable(self) -> str:
        """Environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper().replace("-", "_")


SETTINGS: Final = (
    Setting(
        "port",
        "the board: a device, a URL such as rfc2217://host:port, auto (the only one on USB), or virtual",
    ),
    Setting("serial-number", "find the board by its USB serial number"),
    Setting("bench", "bench file: bench.toml, or the hardware map (YAML) of Zephyr's twister"),
    Setting("model", "board model, such as nrf9151dk"),
    Setting("cloud", "where jobs come from", ("local", "mosquitto", "aws"), "local"),
    Setting("bucket", "S3 bucket for images, with --nrf91-cloud aws"),
    Setting("require", "a missing board is an error, not a skip", is_flag=True),
    Setting("artifacts", "directory for what each test leaves behind"),
    Setting("images", "directory with firmware for the board; sample builds images that virtual boards run"),
    Setting(
        "baseline",
        "after each test: restore what the board ran before, or accept what it runs for good",
        ("restore", "accept"),
        "restore",
    ),
    Setting("smoke", "link check before the first test on a board", ("off", "quick", "full"), "quick"),
    Setting(
        "scope",
        "how long a test's board stays the same",
        ("function", "class", "module", "session"),
        "function",
    ),
    Setting(
        "wait",
        "seconds to wait for a board that another worker or program holds",
        default="600",
        is_seconds=True,
    ),
)
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Value:
    """What a setting is.

    Attributes:
        text: The value; None when nobody decided.
        source: Who decided: ``option``, an environment variable, ``ini``, ``bench file``, ``auto`` or ``default``.
    """

    text: str | None
    source: str

    @property
    def rank(self) -> int:
        """Whose word it is: the lower, the more it counts."""
        return _RANKS.get(self.source, 1)

    def __str__(self) -> str:
        return f"{self.text} ({self.source})"


class Settings:
    """All settings of one run.

    Args:
        config: pytest's configuration.
        environment: Environment variables.

    Raises:
        pytest.UsageError: A value makes no sense.
    """

    def __init__(self, config: pytest.Config, environment: Mapping[str, str] = os.environ) -> None:
        self._values = {setting.name: _resolve(setting, config, environment) for setting in SETTINGS}
        self._drop_overruled_port()
        self._directory = config.invocation_params.dir
        self._ini_directory = config.inipath.parent if config.inipath else config.rootpath

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def _drop_overruled_port(self) -> None:
        """Who names a bench or a board has said on what to run; a port from a weaker source, such as an ini file, is not it."""
        port = self._values["port"]
        if any(self._values[name].rank < port.rank for name in ("bench", "serial-number")):
            self._values["port"] = Value(None, "default")

    def text(self, name: str) -> str | None:
        """A value as text."""
        return self._values[name].text

    def flag(self, name: str) -> bool:
        """A value as yes or no."""
        return (self._values[name].text or "").lower() in _YES

    def path(self, name: str) -> Path | None:
        """A value as a path: in an ini file relative to that file, else to where pytest was started."""
        value = self._values[name]
        if value.text is None:
            return None
        start = self._ini_directory if value.source == "ini" else self._directory
        return start / Path(value.text).expanduser()

    def decide(self, name: str, text: str | None, source: str) -> None:
        """Fill in what nobody has decided: by the bench file, or by what was found."""
        if text is not None and self._values[name].text is None:
            self._values[name] = Value(text, source)


def add_options(parser: pytest.Parser) -> None:
    """Register all options and ini keys, under one prefix, so that no other plugin's are in the way."""
    group = parser.getgroup("nrf91", "nRF91 boards (nrf91-bridge)")
    for setting in SETTINGS:
        told = f"{setting.help} [env {setting.variable}, ini {setting.key}]"
        if setting.is_flag:
            group.addoption(
                setting.option, dest=setting.key, action="store_const", const="yes", default=None, help=told
            )
        else:
            group.addoption(
                setting.option, dest=setting.key, default=None, choices=setting.choices or None, help=told,
                metavar=setting.name.upper() if not setting.choices else None,
            )  # fmt: skip
        parser.addini(setting.key, f"{setting.help} (see {setting.option})", type="string", default=None)


def _resolve(setting: Setting, config: pytest.Config, environment: Mapping[str, str]) -> Value:
    option = config.getoption(setting.key, default=None)
    if option is not None:
        return _checked(setting, Value(option, "option"))
    from_environment = environment.get(setting.variable)
    if from_environment:
        return _checked(setting, Value(from_environment, setting.variable))
    from_ini = config.getini(setting.key)
    if from_ini:
        return _checked(setting, Value(str(from_ini), "ini"))
    return Value(setting.default, "default")


def _checked(setting: Setting, value: Value) -> Value:
    allowed = (_YES | _NO) if setting.is_flag else setting.choices
    text = (value.text or "").lower() if setting.is_flag else value.text
    if allowed and text not in allowed:
        choices = "yes, no" if setting.is_flag else ", ".join(setting.choices)
        raise pytest.UsageError(
            f"{setting.option} is {value.text!r} (from {value.source}); choose one of {choices}"
        )
    if setting.is_seconds and not _is_seconds(value.text):
        raise pytest.UsageError(f"{setting.option} is {value.text!r} (from {value.source}); give seconds")
    return value


def _is_seconds(text: str | None) -> bool:
    try:
        return float(text or "") >= 0
    except ValueError:
        return False

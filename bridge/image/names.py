"""What a file is called, without folders and URL queries, and the versions in Nordic's modem file names.

Source: nrfxlib ``nrf_modem/doc/delta_dfu.rst`` (``mfw_nrf9160_update_from_1.2.2_to_1.2.3``) and the names
of released modem firmware, among them the ``-FOTA-TEST`` builds.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

_VERSION: Final = r"\d+\.\d+\.\d+(?:-[A-Za-z0-9]+)*"
_DELTA: Final = re.compile(
    rf"(?:^|[^A-Za-z0-9])mfw_(nrf91[0-9a-z]{{2}})_update_from_({_VERSION})_to_({_VERSION})(?![A-Za-z0-9-])",
    re.IGNORECASE,
)
_RELEASE: Final = re.compile(
    rf"(?:^|[^A-Za-z0-9])mfw_(nrf91[0-9a-z]{{2}})_({_VERSION})(?![A-Za-z0-9-])", re.IGNORECASE
)


@dataclass(frozen=True)
class DeltaName:
    """What the name of a modem delta says.

    Attributes:
        family: Modem family, such as ``nrf91x1`` or ``nrf9160``.
        base_version: Modem firmware that it updates, such as ``2.0.1`` or ``2.0.1-FOTA-TEST``.
        target_version: Modem firmware that it brings.
    """

    family: str
    base_version: str
    target_version: str


def file_name(name: str) -> str:
    """The last part of a path or URL, without query and fragment, which may hold secrets."""
    if "://" in name:
        try:
            path = urlsplit(name).path
        except ValueError:
            return ""
        name = unquote(path)
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def parse_delta_name(name: str) -> DeltaName | None:
    """Read the name, path or URL of a modem delta; None if it is not named as Nordic does."""
    match = _DELTA.search(file_name(name))
    return DeltaName(match[1].lower(), match[2], match[3]) if match else None


def parse_modem_release(name: str) -> tuple[str, str] | None:
    """Family and version in a name such as ``mfw_nrf91x1_2.0.2.zip``; None if it is named otherwise."""
    match = _RELEASE.search(file_name(name))
    return (match[1].lower(), match[2]) if match else None

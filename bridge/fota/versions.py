"""Comparing what a board says it runs with what an image says it is.

Serial Modem's ``#XSMVER`` prints its version as ``v<major>.<minor>.<revision>`` with an optional suffix (source:
ncs-serial-modem ``app/cmake/sm_version.cmake``); MCUboot's header holds major, minor, revision and build numbers. So three
numbers can be compared, and the build number only between two images.
"""

import re

_TRIPLE = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_FULL = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[+.](\d+))?")
_MODEM_RELEASE = re.compile(r"(\d+\.\d+\.\d+(?:[-.]?\w+)*)$")


def version_triple(text: str | None) -> tuple[int, int, int] | None:
    """Major, minor and revision of a version text such as ``v2.0.0-rc1`` or ``2.0.0+5``; None if it holds none."""
    match = _TRIPLE.match(text or "")
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def full_version(text: str | None) -> tuple[int, int, int, int] | None:
    """Like :func:`version_triple`, with the build number, which is 0 if it is not there.

    It is written ``2.0.0+5``, or ``2.0.0.5`` by SMP servers.
    """
    match = _FULL.fullmatch(text or "")
    if match is None:
        return None
    return int(match[1]), int(match[2]), int(match[3]), int(match[4] or 0)


def same_version(left: str | None, right: str | None) -> bool:
    """Whether two version texts agree in major, minor and revision; unreadable ones never agree."""
    triple = version_triple(left)
    return triple is not None and triple == version_triple(right)


def modem_release(text: str | None) -> str | None:
    """The release inside a modem version: ``mfw_nrf91x1_2.0.2`` and ``nrf91x1_2.0.2`` are both ``2.0.2``."""
    match = _MODEM_RELEASE.search(text or "")
    return match[1] if match else None

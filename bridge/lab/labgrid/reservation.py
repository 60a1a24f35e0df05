"""A place of a labgrid coordinator for us alone: reserved by tags, locked, and given back however it ends.

labgrid's pytest plugin does not lock places; this does, by way of ``labgrid-client``, whose command line is stable.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bridge.board.bench_command import EndedCommand, run_command
from bridge.errors import BenchError

_ALLOCATED: Final = "+"
"""The place that was allocated to the reservation in ``LG_TOKEN``."""
_CLIENT: Final = "labgrid-client"
_STEP_TIMEOUT_S: Final = 30.0


@contextmanager
def reserved_place(
    tags: Mapping[str, str], *, coordinator: str | None = None, timeout_s: float = 600.0
) -> Iterator[Mapping[str, str]]:
    """Reserve a place with these tags, wait for it, lock it, and in the end unlock it and give the reservation back.

    Args:
        tags: What the place must have, such as ``{"board": "nrf9151dk"}``.
        coordinator: ``HOST:PORT``; None for ``LG_COORDINATOR`` or labgrid's default.
        timeout_s: How long to wait for a place that others have.

    Yields:
        Environment variables with which labgrid means this place by the name ``+``.

    Raises:
        BenchError: No place has the tags or the coordinator is away (``labgrid-failed``), others kept it for too long
            (``reservation-timeout``), or somebody took it at the last moment (``place-held``).
    """
    environment = {} if coordinator is None else {"LG_COORDINATOR": coordinator}
    filters = [f"{key}={value}" for key, value in sorted(tags.items())]
    output = _client(["reserve", "--shell", *filters], environment, "no place was reserved").output
    token = output.rpartition("LG_TOKEN=")[2].split()[0]
    environment["LG_TOKEN"] = token
    try:
        _client(["wait", token], environment, "the reserved place did not get free", timeout_s)
        with locked_place(_ALLOCATED, environment):
            yield environment
    finally:
        with suppress(BenchError):
            _client(["cancel-reservation", token], environment, "the reservation was not given back")


@contextmanager
def locked_place(place: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Lock a place, and unlock it in the end.

    Raises:
        BenchError: Somebody else has it; the message is labgrid's and names them (``place-held``).
    """
    _client(["-p", place, "lock"], environment, "the place was not locked", reason="place-held")
    try:
        yield
    finally:
        with suppress(BenchError):
            _client(["-p", place, "unlock"], environment, "the place was not unlocked")


def _client(
    arguments: list[str],
    environment: Mapping[str, str],
    failure: str,
    timeout_s: float = _STEP_TIMEOUT_S,
    *,
    reason: str = "labgrid-failed",
) -> EndedCommand:
    ended = run_command(
        [_client_program(), *arguments],
        f"{_CLIENT} {arguments[0]}",
        timeout_s=timeout_s,
        reasons=("labgrid-missing", "reservation-timeout"),
        environment=environment,
    )
    if ended.code != 0:
        raise BenchError(
            f"{failure}{ended.last_words}", reason=reason, hint="`labgrid-client places` lists what there is."
        )
    return ended


def _client_program() -> str:
    """The client beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name(_CLIENT)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(_CLIENT) or _CLIENT

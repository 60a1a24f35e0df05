"""Zephyr twister's hardware map as a bench: labs have one already.

Source: Zephyr ``scripts/schemas/twister/hwmap-schema.yaml`` and ``twisterlib/hardwaremap.py``: a list of boards with
``connected``, ``id``, ``platform``, ``product``, ``runner``, and optionally ``serial``, ``serial_pty``, ``probe_id``, ``baud``,
``fixtures``, ``pre_script``, ``post_script``, ``notes`` and more. ``id`` is the USB serial number (that of the debug probe);
where a map has ``probe_id``, that is it, and ``id`` may be any name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bridge.errors import UsageError
from bridge.extras import missing_extra
from bridge.fota.bench_file import Bench, BenchBoard

NORDIC_BOARDS: Final = ("nrf9160dk", "nrf9161dk", "nrf9151dk", "nrf9131ek", "thingy91x", "thingy91")
"""Board models with an nRF91; longer names first."""
_REQUIRED: Final = ("connected", "id", "platform")


def read_hardware_map(path: Path) -> Bench:
    """Read a hardware map; boards that are not connected, and boards without an nRF91, are left out.

    Args:
        path: The YAML file.

    Raises:
        UsageError: It cannot be read, is no hardware map, or has no nRF91 board (``bad-bench``); or PyYAML is missing.
    """
    boards = tuple(
        _board(entry, path)
        for entry in _entries(path)
        if entry.get("connected") and entry.get("available", True) and _model(entry)
    )
    if not boards:
        raise _refusal(path, "no nRF91 board in it is connected")
    return Bench(path.stem, boards, file=path)


def _entries(path: Path) -> list[Mapping[str, Any]]:
    try:
        import yaml  # noqa: PLC0415 - only for maps
    except ImportError as error:
        raise missing_extra("reading a hardware map needs", error, "hil") from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read the hardware map {path}: {error.strerror}", reason="bad-bench"
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _refusal(path, f"it is no YAML: {error}") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise _refusal(path, "it is no list of boards")
    for number, entry in enumerate(content, start=1):
        missing = [key for key in _REQUIRED if key not in entry]
        if missing:
            raise _refusal(path, f"board {number} has no {missing[0]}")
        if not all(isinstance(entry.get(key, ""), str) for key in ("id", "probe_id")):
            # YAML takes 0010... for an octal number, and the serial number is gone.
            raise _refusal(path, f"id and probe_id of board {number} must be text; put them in quotes")
    return content


def _board(entry: Mapping[str, Any], path: Path) -> BenchBoard:
    model = _model(entry)
    serial = entry.get("serial")
    if entry.get("serial_pty"):
        raise _refusal(
            path, f"board {entry['id']} has a serial_pty; serve the pty and give its path as serial"
        )
    if serial is not None and not isinstance(serial, str):
        raise _refusal(path, f"serial of board {entry['id']} is no text")
    baud = entry.get("baud", 115_200)
    if not isinstance(baud, int) or baud <= 0:
        raise _refusal(path, f"baud of board {entry['id']} is no number")
    fixtures = entry.get("fixtures") or []
    number = str(entry.get("probe_id") or entry["id"])
    return BenchBoard(
        name=str(entry["id"]),
        serial_number="" if number == "unknown" else number,
        port=serial,
        baud=baud,
        flow_control=not (model or "").startswith("thingy91"),
        model=model,
        groups=frozenset(str(fixture) for fixture in fixtures),
        notes=str(entry.get("notes") or entry.get("product") or ""),
    )


def _model(entry: Mapping[str, Any]) -> str | None:
    """``nrf9151dk/nrf9151/ns`` and the older ``nrf9160dk_nrf9160_ns`` are boards of ours."""
    platforms = entry["platform"] if isinstance(entry["platform"], list) else [entry["platform"]]
    for platform in platforms:
        name = str(platform).split("/")[0].split("@")[0]
        for board in NORDIC_BOARDS:
            if name == board or name.startswith(f"{board}_"):
                return board
    return None


def _refusal(path: Path, what: str) -> UsageError:
    return UsageError(f"the hardware map {path} cannot be used: {what}", reason="bad-bench")

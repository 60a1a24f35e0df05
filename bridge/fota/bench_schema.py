"""What may be written in ``bench.toml``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from bridge.fota.bench_messages import explain, refusal

_Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
_Whole = Annotated[int, Field(strict=True)]
_Switch = Annotated[bool, Field(strict=True)]
_Seconds = Annotated[float, Field(strict=True, ge=0, le=3600)]
_Deadline = Annotated[float, Field(strict=True, gt=0, le=3600)]
_Command = _Text | Annotated[list[_Text], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class VirtualPowerTable(_Table):
    """The switch of the virtual board that ``port`` names, or of one in another process by its control socket."""

    kind: Literal["virtual"]
    control: Path | None = None


class CommandPowerTable(_Table):
    """Commands of one's own."""

    kind: Literal["command"]
    on: _Command
    off: _Command
    cycle: _Command | None = None
    off_time: _Seconds = 2.0
    timeout: _Deadline = 30.0


class UhubctlPowerTable(_Table):
    """A port of a USB hub."""

    kind: Literal["uhubctl"]
    hub: Annotated[str, StringConstraints(pattern=r"^[0-9]+(-[0-9]+(\.[0-9]+)*)?$")]
    port: Annotated[_Whole, Field(ge=1, le=255)]
    off_time: _Seconds = 2.0
    timeout: _Deadline = 30.0
    program: _Text = "uhubctl"


PowerTable = VirtualPowerTable | CommandPowerTable | UhubctlPowerTable


class BoardTable(_Table):
    """``[boards.SERIALNUMBER]``; see :class:`bridge.fota.bench_file.BenchBoard`."""

    name: _Name | None = None
    port: _Text | None = None
    baud: Annotated[_Whole, Field(gt=0)] = 115_200
    flow_control: _Switch = True
    transfer_baud: Annotated[_Whole, Field(ge=0)] = 1_000_000
    timeout: _Deadline = 10.0
    line_bytes: Annotated[_Whole, Field(ge=16)] = 127
    recovery: _Switch = False
    confirm: _Switch = True
    model: Literal["nrf9160dk", "nrf9161dk", "nrf9151dk", "nrf9131ek", "thingy91", "thingy91x"] | None = None
    transport: Literal["auto", "xdfu", "smp", "modem-smp", "probe"] = "auto"
    thing: _Text | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    power: Annotated[PowerTable, Field(discriminator="kind")] | None = None
    groups: list[_Name] = Field(default_factory=list)
    notes: str = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key are only of use together")
        ours = (self.port or "").startswith("virtual://")
        if isinstance(self.power, VirtualPowerTable) and ours is (self.power.control is not None):
            raise ValueError(
                'power of kind "virtual" needs a port that begins with virtual://, or else a control socket'
            )
        return self


class CloudTable(_Table):
    """``[cloud]``: the broker of all boards."""

    endpoint: _Text | None = None
    ca: Path | None = None
    download_ca: Path | None = None


class BenchTable(_Table):
    """The whole file."""

    name: _Text | None = None
    cloud: CloudTable = CloudTable()
    boards: Annotated[dict[_Name, BoardTable], Field(min_length=1)]


def check_tables(tables: Mapping[str, Any], file: Path) -> BenchTable:
    """Check what a file holds; ``[defaults]`` is put under each board first.

    Args:
        tables: The decoded TOML.
        file: Its name, for messages.

    Raises:
        UsageError: Something makes no sense (``bad-bench``).
    """
    merged = _with_defaults(tables, file)
    try:
        checked = BenchTable.model_validate(merged)
    except ValidationError as error:
        raise explain(error.errors(), file, _TABLES) from None
    for what, boards in _clashes(checked):
        raise refusal(
            file, f"[boards.{boards[1]}]", f"has {what} of [boards.{boards[0]}]", "Give each its own."
        )
    return checked


def _with_defaults(tables: Mapping[str, Any], file: Path) -> dict[str, Any]:
    own = dict(tables)
    defaults = own.pop("defaults", {})
    boards = own.get("boards", {})
    if not isinstance(defaults, dict):
        raise refusal(file, "the top level", "defaults must be a table", "Write [defaults].")
    if not isinstance(boards, dict):
        return own
    unknown = sorted(set(defaults) - set(BoardTable.model_fields))
    if unknown:
        raise refusal(file, "[defaults]", f"does not know the key {unknown[0]}")
    for key in ("name", "port", "thing"):
        if key in defaults:
            raise refusal(
                file, "[defaults]", f"{key} cannot be the same for all boards", "Move it to the boards."
            )
    filled = {
        number: _filled(number, {**defaults, **board}) if isinstance(board, dict) else board
        for number, board in boards.items()
    }
    return own | {"boards": filled}


def _filled(serial_number: str, board: dict[str, Any]) -> dict[str, Any]:
    """Certificates of many boards are files with the boards' names: ``certs/{name}.pem``."""
    places = {
        "{name}": str(board.get("name", serial_number)),
        "{serial_number}": serial_number,
        "{thing}": str(board.get("thing", "")),
    }
    for key in ("cert", "key"):
        if isinstance(board.get(key), str):
            for mark, value in places.items():
                board[key] = board[key].replace(mark, value)
    return board


def _clashes(bench: BenchTable) -> Iterator[tuple[str, tuple[str, str]]]:
    """Two boards with something that only one can have."""
    seen: dict[tuple[str, str], str] = {}
    for number, board in bench.boards.items():
        same = number.lstrip("0") if number.isdigit() else number
        for what, value in (
            ("the serial number", same),
            ("the name", board.name or number),
            ("the port", board.port),
            ("the thing", board.thing),
        ):
            if value is None:
                continue
            if (what, value) in seen:
                yield what, (seen[what, value], number)
            seen[what, value] = number


_TABLES: Final[Mapping[str, type[BaseModel]]] = {
    "": BenchTable,
    "cloud": CloudTable,
    "boards": BoardTable,
    "virtual": VirtualPowerTable,
    "command": CommandPowerTable,
    "uhubctl": UhubctlPowerTable,
}

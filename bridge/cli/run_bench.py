"""``nrf91-bridge run --bench``: the agents of all boards of a bench in one process."""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from bridge.cli.broker_options import ConnectionOptions, split_endpoint
from bridge.cli.fleet_view import FleetView
from bridge.cli.journals import open_journal, place_of, port_for_us
from bridge.cli.route_options import make_route
from bridge.cli.signals import stopping
from bridge.errors import BridgeError, UsageError

if TYPE_CHECKING:
    from bridge.cloud import JobsLink
    from bridge.fota import RouteOpener, UpdateOptions
    from bridge.fota.agent import Agent, SourceMaker
    from bridge.fota.bench_file import Bench, BenchBoard
    from bridge.fota.fleet import BoardEnd
    from bridge.fota.journal import Journal
    from bridge.fota.service import DownloadSettings
    from bridge.fota.window import Admission

_OF_ONE_BOARD: Final = frozenset(
    (
        *(
            "thing",
            "cert",
            "private_key",
            "ca",
            "client_id",
            "gateway",
            "port",
            "serial_number",
            "baud",
            "transfer_baud",
        ),
        *("flow_control", "timeout", "transport", "line_bytes", "recovery", "upload_image", "confirm"),
        *("address", "board"),
    )
)
"""Parameters of ``run`` that say something about a single board, or the thing behind it."""


@dataclass(frozen=True)
class BenchWork:
    """What all boards of a bench have in common while they are worked.

    Attributes:
        options: How updates are done; the file says how fast the line of each board is.
        admission: When jobs may be taken.
        endpoint: Broker, over what the file says.
        journal_file: The journal of all boards; None for the bench's own.
        once: One job on each board.
        json: Events as JSON on stdout.
        connection: How the cloud is spoken to.
    """

    options: "UpdateOptions"
    admission: "Admission"
    endpoint: str | None
    journal_file: Path | None
    once: bool
    json: bool
    connection: ConnectionOptions = field(default_factory=ConnectionOptions)


def refuse_single_board_options(context: typer.Context) -> None:
    """Refuse options that the bench file has the say about, rather than ignore them.

    Raises:
        UsageError: One was given on the command line or in a configuration.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in _OF_ONE_BOARD and source is not None and source.name in {"COMMANDLINE", "DEFAULT_MAP"}:
            raise UsageError(
                f"{parameter.opts[0]} is about one board, and --bench works many",
                reason="bench-option",
                hint="Write it into the bench file.",
            )


def run_bench(
    file: Path, names: Sequence[str], groups: Sequence[str], downloads: "DownloadSettings", work: BenchWork
) -> None:
    """Work all boards of a bench until interrupted, or one job on each.

    Args:
        file: The bench file.
        names: Boards to work; with none of these and no groups, all.
        groups: Groups of boards to work.
        downloads: How images are fetched; an image for many boards is fetched once.
        work: What all boards have in common.

    Raises:
        UsageError: The file, or something it names, makes no sense.
        BridgeError: Boards failed; it is the error of the one that needs attention most.
    """
    from bridge.fota.bench_file import read_bench  # noqa: PLC0415
    from bridge.fota.fleet import Fleet, worst  # noqa: PLC0415
    from bridge.fota.service import source_maker  # noqa: PLC0415
    from bridge.fota.shared_downloads import SharedDownloads  # noqa: PLC0415

    bench = read_bench(file)
    boards = bench.select(names, groups)
    broker = _check_cloud(bench, boards, work.endpoint)
    if downloads.ca_file is None:
        downloads = replace(downloads, ca_file=bench.download_ca_file)
    owner = f"nrf91-bridge run for the bench {bench.name}"
    with (
        open_journal(work.journal_file, f"bench {bench.name}", owner) as journal,
        FleetView(boards, json=work.json) as view,
    ):
        agents = _Agents(broker, owner, journal, SharedDownloads(source_maker(downloads)), view, work)
        fleet = Fleet(boards, agents.open, on_trouble=view.trouble, on_end=view.ended)
        with stopping(fleet.stop):
            view.ready(bench.name, broker)
            with ThreadPoolExecutor(1, "fleet") as executor:
                ends = executor.submit(fleet.run, once=work.once).result()
    needs_attention = worst(ends)
    if needs_attention is not None:
        raise _of_all(needs_attention, ends)


@dataclass(frozen=True)
class _Agents:
    """Opens the agent of one board after the other, with what they share."""

    broker: str
    owner: str
    journal: "Journal"
    downloads: "SourceMaker"
    view: FleetView
    work: BenchWork

    @contextmanager
    def open(self, board: "BenchBoard") -> Iterator["Agent"]:
        """Take the board's port for us, and connect its thing."""
        from bridge.fota.service import running_agent  # noqa: PLC0415

        place = place_of(board.port, board.serial_number, board.transport)
        with (
            port_for_us(place, self.owner),
            running_agent(
                *(
                    _link(board, self.broker, self.work.connection),
                    board.thing or "",
                    route_of(board),
                    self.downloads,
                ),
                options=replace(self.work.options, transfer_baud=board.transfer_baud),
                on_event=self.view.of(board).show,
                admission=self.work.admission,
                journal=self.journal,
                place=place,
            ) as agent,
        ):
            yield agent


def route_of(board: "BenchBoard") -> "RouteOpener":
    """How the board of a bench is opened; its port is looked for each time."""
    return make_route(
        board.port,
        board.serial_number,
        transport=board.transport,
        baud=board.baud,
        flow_control=board.flow_control,
        timeout_s=board.timeout_s,
        line_bytes=board.line_bytes,
        recovery=board.recovery,
        confirms=board.confirm,
    )


def _check_cloud(bench: "Bench", boards: Sequence["BenchBoard"], endpoint: str | None) -> str:
    """The broker, once everything is there that working jobs needs."""
    broker = endpoint or bench.endpoint
    if broker is None:
        raise UsageError(
            f"the bench file {bench.file}: [cloud] does not say where the broker is",
            reason="bad-bench",
            hint="Write endpoint there, or give --endpoint.",
        )
    split_endpoint(broker)
    for board in boards:
        needed = {"thing": board.thing, "cert and key": board.credentials}
        missing = [key for key, value in needed.items() if value is None]
        if missing:
            raise UsageError(
                f"the bench file {bench.file}: [boards.{board.serial_number}] has no {' and no '.join(missing)}",
                reason="bad-bench",
                hint="Each board that works jobs needs them; --group and --bench-board leave others out.",
            )
    return broker


def _link(board: "BenchBoard", broker: str, connection: ConnectionOptions) -> "JobsLink":
    assert board.credentials is not None  # checked for all boards beforehand
    return connection.link(
        broker,
        cert=board.credentials.cert_file,
        private_key=board.credentials.key_file,
        ca=board.credentials.ca_file,
        client_id=board.thing or "",
    )


def _of_all(end: "BoardEnd", ends: Sequence["BoardEnd"]) -> BridgeError:
    """One board's error, and that it is not the only one."""
    assert end.error is not None
    failed = sum(one.error is not None for one in ends)
    error = copy.copy(end.error)
    error.args = (f"{failed} of {len(ends)} boards failed; worst {end.board.name}: {error.message}",)
    return error

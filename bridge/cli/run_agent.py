"""``nrf91-bridge run``: the agent; jobs from AWS IoT or the local cloud onto one board, or onto several."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.bench_options import BenchBoardOption, BenchFileOption, BenchGroupOption
from bridge.cli.broker_options import (
    CaOption,
    CertOption,
    ClientIdOption,
    ConnectionOptions,
    EndpointOption,
    PrivateKeyOption,
)
from bridge.cli.config_file import load_config
from bridge.cli.download_options import DownloadOptions, HostOptions
from bridge.cli.gateway import GatewayOption, boards_of, hold, journal_for
from bridge.cli.image_store import open_store
from bridge.cli.jobs_view import JobsView
from bridge.cli.line_options import LineOptions, TransferBaudOption
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import ImageStoreOption, JournalOption, JsonOption
from bridge.cli.output import use_json
from bridge.cli.policy_options import (
    ImageKeysOption,
    PolicyOptions,
    Sha256Option,
    WindowOption,
    make_admission,
)
from bridge.cli.route_options import RouteOptions
from bridge.cli.signals import stopping
from bridge.errors import InterruptedUpdateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.fota.agent import Agent
    from bridge.fota.job_result import JobResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run_agent)


@takes_groups
def run_agent(
    context: typer.Context,
    thing: Annotated[
        str | None, typer.Option(envvar="NRF91_BRIDGE_THING", help="Thing whose jobs to work.")
    ] = None,
    endpoint: EndpointOption = None,
    cert: CertOption = None,
    private_key: PrivateKeyOption = None,
    ca: CaOption = None,
    client_id: ClientIdOption = None,
    *,
    connection: ConnectionOptions,
    gateway: GatewayOption = None,
    downloads: DownloadOptions,
    image_key: ImageKeysOption = None,
    line: LineOptions,
    transfer_baud: TransferBaudOption = 1_000_000,
    policy: PolicyOptions,
    strict: Annotated[
        bool, typer.Option(help="Refuse an image whose version is not the document's.")
    ] = False,
    require_sha256: Sha256Option = False,
    hosts: HostOptions,
    window: WindowOption = None,
    route: RouteOptions,
    store: ImageStoreOption = None,
    journal: JournalOption = None,
    config: Annotated[
        Path | None, typer.Option(callback=load_config, is_eager=True, help="TOML file with these options.")
    ] = None,
    bench: BenchFileOption = None,
    bench_board: BenchBoardOption = None,
    group: BenchGroupOption = None,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Work one job (with --bench: one on each board) and exit with its exit code."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Work the jobs of a thing on the board behind a port, until interrupted; with --bench those of many boards at once.

    With --bench the file says where each board is, what its thing is, and who that is to the broker.
    """
    use_json(json)
    from bridge.cli.run_bench import BenchWork, refuse_single_board_options, run_bench  # noqa: PLC0415
    from bridge.fota import UpdateOptions  # noqa: PLC0415
    from bridge.fota.service import running_agents  # noqa: PLC0415

    options = UpdateOptions(
        policy=policy.policy(image_key, strict=strict, require_sha256=require_sha256),
        transfer_baud=transfer_baud or None,
        image_store=open_store(store),
    )
    settings = downloads.settings(hosts, policy.max_size)
    if bench is not None:
        refuse_single_board_options(context)
        work = BenchWork(
            options, make_admission(window), endpoint, journal, once=once, json=json, connection=connection
        )
        run_bench(bench, bench_board or (), group or (), settings, work)
        return
    boards = boards_of(thing, line.port, line.serial_number, gateway, client_id)
    if endpoint is None or cert is None or private_key is None or not boards:
        raise UsageError(
            "--thing (or --gateway), --endpoint, --cert and --key are needed, and not all are given",
            hint="A --config file can hold them; --bench takes a file that describes many boards.",
        )
    link = connection.link(
        endpoint, cert=cert, private_key=private_key, ca=ca, client_id=client_id or boards[0].thing
    )
    names = [one.thing for one in boards]
    with ExitStack() as stack, JobsView(names, json=json) as view:
        things = [
            hold(
                stack,
                one,
                route.opener(replace(line, port=one.port, serial_number=one.serial_number)),
                route.transport,
                journal_for(journal, one, gateway),
            )
            for one in boards
        ]
        agents = stack.enter_context(
            running_agents(
                *(link, things, settings),
                options=options,
                on_event=view.show,
                admission=make_admission(window),
            )
        )
        results = _run_until_signal(
            dict(zip(names, agents, strict=True)), once=once, on_ready=lambda: view.ready(endpoint)
        )
    _raise_what_counts(list(results.values()), once=once)


def _raise_what_counts(results: "list[JobResult | None]", *, once: bool) -> None:
    """End with the exit code of what was asked for: of each one job, or of what a signal stopped."""
    if once and None in results:
        raise InterruptedUpdateError("told to stop before there was a job")
    for result in results:
        if result is not None and result.error is not None and (once or _was_stopped(result)):
            raise result.error


def _was_stopped(result: "JobResult") -> bool:
    from bridge.fota import Outcome  # noqa: PLC0415

    return result.finished.outcome is Outcome.INTERRUPTED


def _run_until_signal(
    agents: "dict[str, Agent]", *, once: bool, on_ready: "Callable[[], None]"
) -> "dict[str, JobResult | None]":
    """Run the agents on threads, so that Ctrl-C and SIGTERM can stop them where nothing is lost; a second one ends all."""
    from bridge.fota.gateway import Gateway  # noqa: PLC0415

    gateway = Gateway(agents)
    with stopping(gateway.stop):
        on_ready()
        with ThreadPoolExecutor(1, "gateway") as executor:
            return executor.submit(gateway.run, once=once).result()

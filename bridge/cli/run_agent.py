"""``nrf91-bridge run``: the agent; jobs from AWS IoT or the local cloud onto one board, or onto several."""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.bench_options import BenchBoardOption, BenchFileOption, BenchGroupOption
from bridge.cli.broker_options import (
    AlpnOption,
    CaOption,
    CertOption,
    ClientIdOption,
    ConnectionOptions,
    EndpointOption,
    JobsHttpsOption,
    JobsOverOption,
    KeepAliveOption,
    PollIntervalOption,
    PrivateKeyOption,
)
from bridge.cli.flash import hex_address, make_route
from bridge.cli.gateway import GatewayOption, boards_of, hold, journal_for
from bridge.cli.image_store import open_store
from bridge.cli.jobs_view import JobsView
from bridge.cli.options import (
    BaudOption,
    ConfirmOption,
    FlowControlOption,
    ImageStoreOption,
    JournalOption,
    JsonOption,
    LineBytesOption,
    PortOption,
    ProbeAddressOption,
    ProbeBoardOption,
    RecoveryOption,
    SerialNumberOption,
    TimeoutOption,
    TransferBaudOption,
    TransportOption,
    UploadImageOption,
)
from bridge.cli.output import use_json
from bridge.cli.policy_options import (
    DEFAULT_MIN_VOLTAGE_MV,
    DEFAULT_VOLTAGE_WAIT_S,
    AllowHostOption,
    AllowHttpOption,
    AllowNetworkOption,
    DowngradeOption,
    ImageKeysOption,
    MaxSizeOption,
    MinVoltageOption,
    SameVersionOption,
    Sha256Option,
    SlotSizeOption,
    VoltageWaitOption,
    WindowOption,
    make_admission,
    make_host_rules,
    make_policy,
)
from bridge.cli.signals import stopping
from bridge.errors import InterruptedUpdateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.cli.gateway import BoardAt
    from bridge.fota import RouteOpener
    from bridge.fota.agent import Agent
    from bridge.fota.job_result import JobResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run_agent)


def _load_config(context: typer.Context, file: Path | None) -> Path | None:
    """Let a TOML file set the defaults of the command's options; the command line and the environment win."""
    if file is None:
        return None
    try:
        values = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the configuration {file}: {error}", reason="bad-config") from error
    parameters = {
        option.removeprefix("--"): parameter
        for parameter in context.command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    policy = values.pop("policy", {})
    if not isinstance(policy, dict) or not set(values).isdisjoint(policy):
        raise UsageError(
            f"the configuration {file} has no [policy] section with settings of its own", reason="bad-config"
        )
    values |= policy
    unknown = sorted(set(values) - set(parameters))
    if unknown:
        raise UsageError(
            f"the configuration {file} has unknown settings: {', '.join(unknown)}",
            reason="bad-config",
            hint="Settings are the long options of `nrf91-bridge run` without the dashes in front.",
        )
    context.default_map = {
        str(parameters[key].name): [value] if parameters[key].multiple and isinstance(value, str) else value
        for key, value in values.items()
    }
    return file


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
    keep_alive: KeepAliveOption = 60,
    alpn: AlpnOption = None,
    jobs_over: JobsOverOption = "mqtt",
    jobs_https: JobsHttpsOption = None,
    poll_interval: PollIntervalOption = 30.0,
    gateway: GatewayOption = None,
    download_ca: Annotated[
        Path | None,
        typer.Option(envvar="NRF91_BRIDGE_DOWNLOAD_CA", help="CA of the image server, if not public."),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="NRF91_BRIDGE_CACHE_DIR", help="Where downloads are kept; default: this user's cache."
        ),
    ] = None,
    download_cert: Annotated[
        Path | None,
        typer.Option(envvar="NRF91_BRIDGE_DOWNLOAD_CERT", help="Client certificate for the image server."),
    ] = None,
    download_key: Annotated[
        Path | None, typer.Option(envvar="NRF91_BRIDGE_DOWNLOAD_KEY", help="Private key of --download-cert.")
    ] = None,
    download_timeout: Annotated[
        float,
        typer.Option(
            envvar="NRF91_BRIDGE_DOWNLOAD_TIMEOUT",
            help="Seconds without a new byte after which a download is given up.",
        ),
    ] = 60.0,
    image_key: ImageKeysOption = None,
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    baud: BaudOption = 115_200,
    transfer_baud: TransferBaudOption = 1_000_000,
    flow_control: FlowControlOption = True,
    timeout: TimeoutOption = 10.0,
    allow_same_version: SameVersionOption = False,
    allow_downgrade: DowngradeOption = False,
    strict: Annotated[
        bool, typer.Option(help="Refuse an image whose version is not the document's.")
    ] = False,
    slot_size: SlotSizeOption = None,
    max_size: MaxSizeOption = None,
    min_voltage: MinVoltageOption = DEFAULT_MIN_VOLTAGE_MV,
    voltage_wait: VoltageWaitOption = DEFAULT_VOLTAGE_WAIT_S,
    require_sha256: Sha256Option = False,
    allow_host: AllowHostOption = None,
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    window: WindowOption = None,
    transport: TransportOption = "auto",
    line_bytes: LineBytesOption = 127,
    recovery: RecoveryOption = False,
    upload_image: UploadImageOption = None,
    confirm: ConfirmOption = True,
    address: ProbeAddressOption = None,
    board: ProbeBoardOption = None,
    store: ImageStoreOption = None,
    journal: JournalOption = None,
    config: Annotated[
        Path | None, typer.Option(callback=_load_config, is_eager=True, help="TOML file with these options.")
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
    from bridge.fetch import DownloadOptions  # noqa: PLC0415
    from bridge.fota import UpdateOptions  # noqa: PLC0415
    from bridge.fota.service import DownloadSettings, running_agents  # noqa: PLC0415

    connection = ConnectionOptions(keep_alive, alpn, jobs_over, jobs_https, poll_interval)
    options = UpdateOptions(
        policy=make_policy(
            image_key,
            allow_same_version=allow_same_version,
            allow_downgrade=allow_downgrade,
            slot_size=slot_size,
            max_size=max_size,
            min_voltage=min_voltage,
            voltage_wait=voltage_wait,
            strict=strict,
            require_sha256=require_sha256,
        ),
        transfer_baud=transfer_baud or None,
        image_store=open_store(store),
    )
    downloads = DownloadSettings(
        cache_dir or default_cache_dir(),
        ca_file=download_ca,
        client_cert=(download_cert, download_key) if download_cert and download_key else None,
        options=DownloadOptions(
            no_progress_timeout_s=download_timeout,
            max_size_bytes=max_size or DownloadOptions.max_size_bytes,
        ),
        rules=make_host_rules(allow_host, allow_network, http=allow_http),
    )
    if bench is not None:
        refuse_single_board_options(context)
        work = BenchWork(
            options, make_admission(window), endpoint, journal, once=once, json=json, connection=connection
        )
        run_bench(bench, bench_board or (), group or (), downloads, work)
        return
    boards = boards_of(thing, port, serial_number, gateway, client_id)
    if endpoint is None or cert is None or private_key is None or not boards:
        raise UsageError(
            "--thing (or --gateway), --endpoint, --cert and --key are needed, and not all are given",
            hint="A --config file can hold them; --bench takes a file that describes many boards.",
        )
    link = connection.link(
        endpoint, cert=cert, private_key=private_key, ca=ca, client_id=client_id or boards[0].thing
    )

    def open_route(board_at: "BoardAt") -> "RouteOpener":
        return make_route(
            board_at.port,
            board_at.serial_number,
            transport=transport,
            baud=baud,
            flow_control=flow_control,
            timeout_s=timeout,
            line_bytes=line_bytes,
            recovery=recovery,
            upload_image=upload_image,
            confirms=confirm,
            probe_address=hex_address(address),
            probe_board=board,
        )

    names = [one.thing for one in boards]
    with ExitStack() as stack, JobsView(names, json=json) as view:
        things = [
            hold(stack, one, open_route(one), transport, journal_for(journal, one, gateway)) for one in boards
        ]
        agents = stack.enter_context(
            running_agents(
                *(link, things, downloads),
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


def default_cache_dir() -> Path:
    """Where downloads are kept unless told otherwise."""
    from platformdirs import user_cache_path  # noqa: PLC0415

    return user_cache_path("nrf91-bridge") / "images"


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

"""``nrf91-bridge run``: the agent; jobs from AWS IoT or the local cloud onto one board."""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.bench_options import BenchBoardOption, BenchFileOption, BenchGroupOption
from bridge.cli.flash import hex_address, make_route
from bridge.cli.image_store import open_store
from bridge.cli.journals import open_journal, place_of, port_for_us
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
from bridge.cli.output import console, emit_json, use_json
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
from bridge.cli.view import UpdateView
from bridge.errors import InterruptedUpdateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as ProgressBar

    from bridge.cloud import JobExecution
    from bridge.fota import UpdateEvent
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
    endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="NRF91_BRIDGE_ENDPOINT", help="Broker: HOST or HOST:PORT (8883, or 443 with ALPN)."
        ),
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(envvar="NRF91_BRIDGE_CERT", help="Client certificate (PEM).")
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option("--key", envvar="NRF91_BRIDGE_PRIVATE_KEY", help="Private key of --cert (PEM)."),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(envvar="NRF91_BRIDGE_CA", help="CA of the broker; default: the system's.")
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option(envvar="NRF91_BRIDGE_CLIENT_ID", help="MQTT client id; default: the thing name."),
    ] = None,
    download_ca: Annotated[
        Path | None,
        typer.Option(envvar="NRF91_BRIDGE_DOWNLOAD_CA", help="CA of the image server, if not public."),
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(envvar="NRF91_BRIDGE_CACHE_DIR", help="Where downloads are kept.")
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
    from bridge.cloud import Endpoint  # noqa: PLC0415
    from bridge.fetch import DownloadOptions  # noqa: PLC0415
    from bridge.fota import UpdateOptions  # noqa: PLC0415
    from bridge.fota.service import DownloadSettings, running_agent  # noqa: PLC0415

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
        work = BenchWork(options, make_admission(window), endpoint, journal, once=once, json=json)
        run_bench(bench, bench_board or (), group or (), downloads, work)
        return
    if thing is None or endpoint is None or cert is None or private_key is None:
        raise UsageError(
            "--thing, --endpoint, --cert and --key are needed",
            hint="A --config file can hold them; --bench takes a file that describes many boards.",
        )
    host, port_number = split_endpoint(endpoint)
    broker = Endpoint(
        host=host,
        port=port_number,
        ca_file=ca,
        cert_file=cert,
        key_file=private_key,
        client_id=client_id or thing,
    )
    open_route = make_route(
        port,
        serial_number,
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
    place, owner = place_of(port, serial_number, transport), f"nrf91-bridge run for {thing}"
    with (
        port_for_us(place, owner),
        open_journal(journal, f"thing {thing}", owner) as opened,
        JobView(json=json) as view,
        running_agent(
            *(broker, thing, open_route, downloads),
            options=options,
            on_event=view.show,
            admission=make_admission(window),
            journal=opened,
            place=place,
        ) as agent,
    ):
        result = _run_until_signal(agent, once=once, on_ready=lambda: view.ready(thing, endpoint))
    if once and result is None:
        raise InterruptedUpdateError("told to stop before there was a job")
    if result is not None and result.error is not None and (once or _was_stopped(result)):
        raise result.error


def _was_stopped(result: "JobResult") -> bool:
    from bridge.fota import Outcome  # noqa: PLC0415

    return result.finished.outcome is Outcome.INTERRUPTED


def split_endpoint(text: str) -> tuple[str, int]:
    """Split ``HOST`` or ``HOST:PORT``; the port is AWS IoT's 8883 if it is not given.

    Raises:
        UsageError: The port is no number.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, 8883
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"the endpoint {text} has no valid port", hint="Write HOST or HOST:PORT.")
    return host, int(port)


def default_cache_dir() -> Path:
    """Where downloads are kept unless told otherwise."""
    from platformdirs import user_cache_path  # noqa: PLC0415

    return user_cache_path("nrf91-bridge") / "images"


class JobView:
    """Shows the jobs that an agent works, one after the other.

    Args:
        json: As JSON events on stdout.
        context: Members to add to every event.
        label: Put before every line.
        bars: Where the bars of several boards are.
    """

    def __init__(
        self,
        *,
        json: bool,
        context: dict[str, object] | None = None,
        label: str = "",
        bars: "ProgressBar | None" = None,
    ) -> None:
        self._json = json
        self._context = context or {}
        self._label = label
        self._bars = bars
        self._job: tuple[str, int] | None = None
        self._view: UpdateView | None = None

    def __enter__(self) -> "JobView":
        """Nothing to show yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar of an unfinished job off the screen."""
        self._close()

    def ready(self, thing: str, endpoint: str) -> None:
        """Tell that the agent waits for jobs."""
        if self._json:
            emit_json({"event": "ready", "thing": thing, "endpoint": endpoint})
        else:
            console.print(f"working the jobs of [bold]{thing}[/bold] at {endpoint}; stop with Ctrl-C")

    def show(self, execution: "JobExecution", event: "UpdateEvent") -> None:
        """Show one event of one job."""
        job = (execution.job_id, execution.execution_number)
        if self._view is None or job != self._job:
            self._close()
            self._job = job
            context = {**self._context, "job": job[0], "execution": job[1]}
            self._view = UpdateView(json=self._json, context=context, label=self._label, bars=self._bars)
            self._view.__enter__()
            if not self._json:
                console.print(f"{self._label}job [bold]{job[0]}[/bold], execution {job[1]}")
        self._view.show(event)

    def _close(self) -> None:
        if self._view is not None:
            self._view.__exit__()
            self._view = None


def _run_until_signal(agent: "Agent", *, once: bool, on_ready: "Callable[[], None]") -> "JobResult | None":
    """Run the agent on a thread, so that Ctrl-C and SIGTERM can stop it where nothing is lost; a second one ends all."""
    with stopping(agent.stop):
        on_ready()
        with ThreadPoolExecutor(1, "agent") as executor:
            return executor.submit(agent.run, once=once).result()

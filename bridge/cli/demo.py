"""``nrf91-bridge demo``: one job from the broker to a confirmed image, without a board, an account or a SIM."""

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, use_json
from bridge.errors import VerificationError

if TYPE_CHECKING:
    from bridge.lab.demo import DemoResult, DemoScene


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    kind: Annotated[
        Literal["application", "modem-delta"], typer.Option("--type", help="What is updated.")
    ] = "application",
    baud: Annotated[int, typer.Option("--baud", help="Bit rate of the transfer.")] = 1_000_000,
    timing: Annotated[
        Literal["simulated", "real"],
        typer.Option(help="real: the line and the flash take the time that a board takes."),
    ] = "simulated",
    size: Annotated[int, typer.Option("--size", help="Size of the image in KiB.")] = 128,
    json: JsonOption = False,
) -> None:
    """Run one firmware job end to end on this machine, with a virtual nRF9151 DK and a local cloud."""
    use_json(json)
    from bridge.cli.view import UpdateView  # noqa: PLC0415
    from bridge.lab.demo import JOB_ID, DemoSetup, run_demo  # noqa: PLC0415
    from bridge.virtual.clock import Timing  # noqa: PLC0415

    setup = DemoSetup(kind, Timing(timing), baud, size * 1024)
    started_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="nrf91-bridge-demo-") as directory,
        UpdateView(json=json, context={"job": JOB_ID}) as view,
    ):
        result = run_demo(
            setup, Path(directory), on_scene=_json_scene if json else _show_scene, on_event=view.show
        )
    duration_s = time.monotonic() - started_s
    (_json_result if json else _show_result)(result, duration_s)
    if not result.good:
        raise VerificationError("the demo's job did not end in SUCCEEDED with the new image confirmed")


def _show_scene(scene: "DemoScene") -> None:
    console.print(f"broker  {scene.broker} (MQTT, mutual TLS)")
    console.print(f"image   {scene.image_url}", soft_wrap=True)
    console.print(f"board   virtual nRF9151 DK with Serial Modem on {scene.port}")


def _json_scene(scene: "DemoScene") -> None:
    emit_json({"event": "scene", "broker": scene.broker, "image_url": scene.image_url, "port": scene.port})


def _show_result(result: "DemoResult", duration_s: float) -> None:
    execution = result.execution
    console.print(
        Text.assemble(
            *("The Jobs service says ", (execution.status, "bold"), f" (version {execution.version_number}):")
        ),
        soft_wrap=True,
    )
    for key, value in execution.status_details.items():
        console.print(f"    {key:16} {value}", soft_wrap=True)
    state = "confirmed" if result.confirmed else "NOT confirmed"
    console.print(
        Text.assemble(
            "The board runs ",
            (str(result.running_version), "bold"),
            f", {state}. {duration_s:.1f} s in all.",
        )
    )


def _json_result(result: "DemoResult", duration_s: float) -> None:
    emit_json(
        {
            "event": "result",
            "status": result.execution.status,
            "status_details": dict(result.execution.status_details),
            "running_version": result.running_version,
            "confirmed": result.confirmed,
            "good": result.good,
            "duration_s": round(duration_s, 2),
        }
    )

"""Groups of options: what typer sees of them, and what the command gets."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli.option_groups import takes_groups


@dataclass(frozen=True)
class Where:
    port: Annotated[str, typer.Option("--port")]
    baud: Annotated[int, typer.Option("--baud")] = 9_600


@dataclass(frozen=True)
class Patient(Where):
    timeout: Annotated[float, typer.Option("--timeout")] = 1.0


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @takes_groups
    def show(
        name: Annotated[str, typer.Argument()] = "nobody", *, where: Patient, loud: bool = False
    ) -> None:
        """Show it."""
        typer.echo(f"{name} {where} {loud}")

    return app


def test_given_a_group_then_the_command_gets_it_made_of_its_options(app: typer.Typer) -> None:
    found = CliRunner().invoke(app, ["me", "--port", "COM1", "--timeout", "2.5", "--loud"])
    assert found.output == f"me {Patient('COM1', 9_600, 2.5)} True\n"


def test_given_a_field_without_a_default_then_its_option_is_needed(app: typer.Typer) -> None:
    found = CliRunner().invoke(app, ["me"])
    assert found.exit_code == 2
    assert "--port" in found.output


def test_the_options_stand_where_the_group_stands(app: typer.Typer) -> None:
    command = typer.main.get_command(app)
    names = [parameter.name for parameter in command.params]
    assert [name for name in names if "completion" not in str(name)] == [
        "name",
        "port",
        "baud",
        "timeout",
        "loud",
    ]
    assert command.help == "Show it."

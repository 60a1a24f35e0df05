"""The floors of the house hold: no room imports a higher one."""

from importlinter.application.use_cases import read_user_options
from importlinter.cli import lint_imports


def test_no_room_imports_from_a_higher_floor() -> None:
    assert read_user_options().contracts_options, "the contract is missing from pyproject.toml"
    assert lint_imports(no_cache=True) == 0

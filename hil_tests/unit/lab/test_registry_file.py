"""The registry's file: whole after every change, and once after several that belong together."""

from pathlib import Path

import pytest

from bridge.lab.registry import Registry

POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}'
)


def names(file: Path) -> list[str]:
    return [policy.name for policy in Registry(file, thing_exists=lambda _: True).policies]


def test_given_changes_that_belong_together_then_written_once_at_their_end(tmp_path: Path) -> None:
    file = tmp_path / "registry.json"
    registry = Registry(file, thing_exists=lambda _: True)
    registry.create_policy("one", POLICY)
    with registry.together():
        registry.create_policy("two", POLICY)
        with registry.together():
            registry.create_policy("three", POLICY)
        assert names(file) == ["one"]
    assert names(file) == ["one", "two", "three"]


def test_given_an_error_on_the_way_then_what_was_changed_before_is_written(tmp_path: Path) -> None:
    file = tmp_path / "registry.json"
    registry = Registry(file, thing_exists=lambda _: True)
    with pytest.raises(RuntimeError), registry.together():
        registry.create_policy("one", POLICY)
        raise RuntimeError
    assert names(file) == ["one"]

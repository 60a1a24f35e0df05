"""Zephyr twister's hardware map as a bench."""

from pathlib import Path

import pytest

from bridge.errors import UsageError
from bridge.pytest_plugin.hardware_map import read_hardware_map
from bridge.pytest_plugin.pool import lock_names

MAP = """
- connected: true
  id: "001051204267"
  platform: nrf9151dk/nrf9151/ns
  product: J-Link
  runner: nrfjprog
  serial: /dev/ttyACM0
  fixtures: [network]
- connected: true
  id: desk-2
  probe_id: "960012345"
  platform: [nrf9160dk_nrf9160_ns, nrf9160dk/nrf9160]
  product: J-Link
  runner: nrfjprog
  baud: 1000000
  notes: the one with the antenna
- connected: true
  id: "42"
  platform: thingy91x/nrf9151/ns
  product: Thingy
  runner: nrfutil
- connected: false
  id: "1"
  platform: nrf9151dk/nrf9151
  product: J-Link
  runner: nrfjprog
- connected: true
  id: "2"
  platform: nrf52840dk/nrf52840
  product: J-Link
  runner: nrfjprog
- connected: true
  available: false
  id: "3"
  platform: nrf9161dk/nrf9161
  product: J-Link
  runner: nrfjprog
"""


def test_connected_nrf91_boards_become_a_bench(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(MAP)
    bench = read_hardware_map(path)
    assert [board.name for board in bench.boards] == ["001051204267", "desk-2", "42"]
    first, second, third = bench.boards
    assert (first.port, first.serial_number, first.model, first.groups) == (
        "/dev/ttyACM0",
        "001051204267",
        "nrf9151dk",
        frozenset({"network"}),
    )
    assert (second.port, second.serial_number, second.model, second.baud) == (
        None,
        "960012345",
        "nrf9160dk",
        1_000_000,
    )
    assert second.notes == "the one with the antenna"
    assert (third.model, third.flow_control) == ("thingy91x", False)
    assert "usb-1051204267" in lock_names(first)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("just: a mapping", "no list"),
        ("- [1]", "no list"),
        ("{", "no YAML"),
        ("- {connected: true, id: '1'}", "has no platform"),
        ("- {connected: true, id: 001051204267, platform: nrf9151dk}", "quotes"),
        ("- {connected: true, id: '1', platform: nrf52840dk}", "no nRF91 board"),
        ("- {connected: true, id: '1', platform: nrf9151dk, serial_pty: x}", "serial_pty"),
        ("- {connected: true, id: '1', platform: nrf9151dk, baud: fast}", "baud"),
    ],
)
def test_what_is_no_hardware_map_is_told(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "map.yml"
    path.write_text(content)
    with pytest.raises(UsageError, match=complaint):
        read_hardware_map(path)
    with pytest.raises(UsageError, match="cannot read"):
        read_hardware_map(tmp_path / "none.yaml")


def test_a_suite_takes_a_hardware_map_for_its_bench(suite: pytest.Pytester) -> None:
    suite.path.joinpath("map.yaml").write_text(MAP)
    suite.makepyfile(
        """
        from bridge.pytest_plugin.keys import SESSION

        def test_it(request):
            assert len(request.config.stash[SESSION].bench.boards) == 3
        """
    )
    suite.runpytest("--nrf91-bench", "map.yaml").assert_outcomes(passed=1)

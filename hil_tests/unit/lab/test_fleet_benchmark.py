"""``bench fleet`` at a small size: every figure is there, and every job was done from one download."""

import json
import sys

import pytest

from bridge.cli.app import run


def test_small_fleet_gives_complete_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--boards", "3", "--size-kib", "8", "--baud", "1000000", "--json")
    monkeypatch.setattr(sys, "argv", ["nrf91-bridge", "bench", "fleet", *options])

    assert run() == 0

    one, three = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    for figures, boards in ((one, 1), (three, 3)):
        assert (figures["boards"], figures["succeeded"], figures["exit_code"]) == (boards, boards, 0)
        assert figures["downloads"] == 1
        assert all(
            figures[name] > 0 for name in ("seconds", "cpu_s", "rss_mib", "boards_cpu_s", "cloud_cpu_s")
        )
    assert three["to_one"] == pytest.approx(three["seconds"] / one["seconds"], abs=0.001)

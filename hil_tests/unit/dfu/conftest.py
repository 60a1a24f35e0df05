"""Peers in these tests start fresh, so the first answer is the first, and they answer at once."""

import pytest


@pytest.fixture(autouse=True)
def fresh_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.at_client._FIRST_QUIET_S", 0.0)
    monkeypatch.setattr("bridge.board.at_client._QUIET_S", 0.1)
    monkeypatch.setattr("bridge.board.rescue._PROBE_S", 0.05)
    monkeypatch.setattr("bridge.board.rescue._STEP_MARGIN_S", 0.05)
    monkeypatch.setattr("bridge.board.rescue._SYNCHRONISE_S", 0.5)

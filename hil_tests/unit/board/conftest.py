"""Peers in these tests start fresh, so the first answer is known to be the first."""

import pytest


@pytest.fixture(autouse=True)
def fresh_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.at_client._FIRST_QUIET_S", 0.0)
    monkeypatch.setattr("bridge.board.at_client._QUIET_S", 0.1)
    monkeypatch.setattr("bridge.board.board._NEW_BAUD_S", 0.3)

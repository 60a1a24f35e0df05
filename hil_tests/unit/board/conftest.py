"""Peers in these tests answer at once, so waiting for late answers need not take long."""

import pytest


@pytest.fixture(autouse=True)
def quick_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.at_client._QUIET_S", 0.02)
    monkeypatch.setattr("bridge.board.board._NEW_BAUD_S", 0.3)

"""Shorter names for this suite; the plugin itself only has prefixed ones."""

import pytest


@pytest.fixture
def board(nrf91_board):
    """The board under test."""
    return nrf91_board

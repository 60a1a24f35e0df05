"""Where this user's state is kept between commands."""

from pathlib import Path


def notes_file() -> Path:
    """Notes of uploads to MCUboot's recovery, by which one that was cut off goes on."""
    from platformdirs import user_state_path  # noqa: PLC0415 - not needed for --version

    return user_state_path("nrf91-bridge") / "uploads.json"

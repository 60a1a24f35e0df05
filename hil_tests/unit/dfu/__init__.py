"""Routes into the board's flash."""

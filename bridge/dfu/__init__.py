"""Routes into the board's flash, all behind one protocol."""

"""Many agents, each with a board of its own, on one local cloud."""

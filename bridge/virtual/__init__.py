"""The virtual nRF91: what the host tools cannot tell from a board."""

"""Fault campaigns in simulated time."""

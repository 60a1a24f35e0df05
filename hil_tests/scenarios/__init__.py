"""Whole jobs: local cloud, command line, board; runnable on any board that the bridge works with."""

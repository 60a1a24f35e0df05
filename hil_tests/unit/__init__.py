"""Rooms on their own."""

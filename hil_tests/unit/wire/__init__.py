"""Bytes on the serial line."""

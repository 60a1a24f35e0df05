"""Bytes on the serial line, sans-I/O, used by both ends."""

"""The update line."""

"""The pytest plugin, run inside pytest."""

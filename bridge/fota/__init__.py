"""The update line: stages, one update, the agent."""

"""The cloud room: job documents, Jobs messages, the Jobs client's rules, the connection's verdicts."""

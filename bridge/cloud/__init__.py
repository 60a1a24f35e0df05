"""AWS IoT: connection, Jobs client, job documents."""

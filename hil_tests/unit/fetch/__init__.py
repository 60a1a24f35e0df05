"""Downloads against a server that is told, byte by byte, how to fail."""

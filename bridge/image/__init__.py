"""What a firmware file is: identify, read, refuse."""

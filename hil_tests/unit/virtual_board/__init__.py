"""The upper half of the virtual board: line, AT host, modem, Serial Modem, doors."""

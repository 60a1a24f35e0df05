"""What firmware files are: formats, refusals, samples."""

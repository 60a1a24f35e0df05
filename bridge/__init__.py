"""nRF91 Bridge: firmware updates for nRF91 boards on a cable, with an honest job status."""

__version__ = "0.1.0"

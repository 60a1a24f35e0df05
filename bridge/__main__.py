"""``python -m bridge`` is ``nrf91-bridge``."""

from bridge.cli import main

main()

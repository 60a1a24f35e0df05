"""The command line; one module per command group. ``main`` is the entry point of ``nrf91-bridge``."""

import sys
import threading


def main() -> None:
    """Run the command line and leave with the exit code of what happened."""
    if sys.argv[1:] == ["--version"]:
        # Asked by scripts all the time: answered before the command tree and its libraries are imported.
        from bridge import __version__  # noqa: PLC0415

        sys.stdout.write(f"nrf91-bridge {__version__}\n")
        return
    from bridge.cli.app import run  # noqa: PLC0415
    from bridge.cli.output import report_thread_failure  # noqa: PLC0415

    threading.excepthook = report_thread_failure
    sys.exit(run())

"""Runs pynrfjprog's MCUBootDFUProbe in a process of its own: C libraries with threads, which end with their process.

Usage: ``python pynrfjprog_driver.py PORT FILE TIMEOUT_MS``; prints one JSON object with the steps that worked and the
error that ended them. libusb, which the libraries need though no probe is used, comes from the ``libusb-package`` wheel.
"""

import ctypes
import json
import sys
from pathlib import Path

import libusb_package


def main() -> None:
    port, file, timeout_ms = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    library = libusb_package.get_library_path()
    if library is not None:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    from pynrfjprog import HighLevel  # noqa: PLC0415 - looks for libusb when it is loaded

    done: list[str] = []
    error = None
    api = HighLevel.API(log=False)
    api.open()
    try:
        probe = HighLevel.MCUBootDFUProbe(api, port, 115_200, timeout_ms, log=False)
        done.append("open")
        probe.program(file)
        done.append("program")
        probe.verify(file)
        done.append("verify")
        probe.close()
        done.append("close")
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    api.close()
    sys.stdout.write(json.dumps({"done": done, "error": error}) + "\n")


if __name__ == "__main__":
    main()

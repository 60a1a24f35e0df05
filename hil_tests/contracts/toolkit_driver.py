"""Runs mcumgr-toolkit in a process of its own (it keeps Python's lock while it waits): calls in, answers out, as JSON lines.

Usage: ``python toolkit_driver.py PORT``; each line of standard input is ``[method, arguments, keyword arguments]``, with bytes
as ``{"hex": "..."}``; each answer is ``{"ok": value}`` or ``{"error": text}``.
"""

import json
import sys
from typing import Any

import mcumgr_toolkit

TIMEOUT_MS = 1000
_IMAGE = ("slot", "version", "hash", "bootable", "pending", "confirmed", "active", "permanent")


def decoded(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def encoded(value: Any) -> Any:
    if isinstance(value, list):
        return [encoded(each) for each in value]
    if isinstance(value, mcumgr_toolkit.ImageState):
        fields = {name: getattr(value, name) for name in _IMAGE}
        return fields | {"hash": value.hash.hex() if value.hash else None}
    if isinstance(value, mcumgr_toolkit.SlotInfoImage):
        return [[slot.slot, slot.size, slot.upload_image_id] for slot in value.slots]
    if isinstance(value, mcumgr_toolkit.MCUmgrParameters):
        return [value.buf_size, value.buf_count]
    return value if isinstance(value, str | int | dict | None) else str(value)


def main() -> None:
    client = mcumgr_toolkit.MCUmgrClient.serial(sys.argv[1], 115_200, TIMEOUT_MS)
    for line in sys.stdin:
        method, arguments, keywords = json.loads(line)
        try:
            result = getattr(client, method)(
                *map(decoded, arguments), **{name: decoded(value) for name, value in keywords.items()}
            )
            answer = {"ok": encoded(result)}
        except Exception as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

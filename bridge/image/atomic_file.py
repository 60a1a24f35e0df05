"""Writing a file so that its name only ever stands for all of its content."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place, and move it there when it is on the disk.

    Raises:
        OSError: It cannot be written; nothing is left behind, and a file that was there before is as it was.
    """
    draft = path.with_name(f".draft-{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise

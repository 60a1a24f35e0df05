"""What the host must remember of an upload to go on with it after its own end, where the board remembers too little.

MCUboot's serial recovery says how many bytes it has of an upload, but not of which image (source: MCUboot
``boot/boot_serial/src/boot_serial.c``). So the image's digest is noted here when an upload begins, one note a port.
"""

import json
import os
from pathlib import Path

from bridge.dfu.target import TransferImage


class UploadNotes:
    """Notes of unfinished uploads in a file.

    Args:
        file: Where they are kept; None for notes that end with the process.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._notes: dict[str, str] = {}

    def fits(self, port: str, image: TransferImage) -> bool:
        """Whether the unfinished upload on a port is one of this image."""
        return image.sha256 is not None and self._load().get(port) == _text(image)

    def begin(self, port: str, image: TransferImage) -> None:
        """Note that an upload begins; one of an image without a known digest cannot be taken up again."""
        notes = self._load()
        notes.pop(port, None)
        if image.sha256 is not None:
            notes[port] = _text(image)
        self._save(notes)

    def end(self, port: str) -> None:
        """Forget the upload on a port."""
        notes = self._load()
        if notes.pop(port, None) is not None:
            self._save(notes)

    def _load(self) -> dict[str, str]:
        if self._file is None:
            return dict(self._notes)
        try:
            notes = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # no notes only cost time
        return {str(key): str(value) for key, value in notes.items()} if isinstance(notes, dict) else {}

    def _save(self, notes: dict[str, str]) -> None:
        self._notes = notes
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        draft.write_text(json.dumps(notes, indent=1), encoding="utf-8")
        draft.replace(self._file)


def _text(image: TransferImage) -> str:
    return f"{image.sha256}/{image.size_bytes}/{image.image_index}"

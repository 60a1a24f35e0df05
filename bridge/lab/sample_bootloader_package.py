"""A ``dfu_mcuboot.zip`` as an nRF Connect SDK build with an immutable bootloader makes it, from sample images."""

import io
import json
import zipfile
from pathlib import Path

from bridge.lab.sample_bootloader import SLOT_ADDRESSES, bootloader_file_name
from bridge.lab.sample_images import SampleImages


def bootloader_package(
    samples: SampleImages,
    path: Path,
    version: int = 2,
    *,
    lists_slots: bool = True,
    b0_key: bytes | None = None,
) -> Path:
    """Build one with an image for each slot.

    Args:
        samples: Builds the images.
        path: Folder of the package.
        version: Counter of both images.
        lists_slots: The manifest tells the slots, as since NCS 3.1; else only the names do.
        b0_key: Key for the immutable bootloader, if not the development key.
    """
    content = {
        bootloader_file_name(slot): samples.mcuboot_bootloader(version, slot, b0_key=b0_key).read_bytes()
        for slot in (0, 1)
    }
    entries = [
        {
            "type": "mcuboot",
            "board": "nrf9151dk/nrf9151",
            "soc": "nrf9151",
            "load_address": SLOT_ADDRESSES[slot],
            "version_MCUBOOT": f"0.0.{version}",
            "version_B0": str(version),
            "size": len(image),
            "file": name,
            "modtime": 0,
            **({"slot": str(slot)} if lists_slots else {}),
        }
        for slot, (name, image) in enumerate(content.items())
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, image in content.items():
            archive.writestr(name, image)
        archive.writestr("manifest.json", json.dumps({"format-version": 1, "time": 0, "files": entries}))
    file = path / f"dfu_mcuboot-{version}{'' if lists_slots else '-older'}.zip"
    file.write_bytes(packed.getvalue())
    return file

"""Sample images, built on demand, the same bytes each time: applications, MCUboot itself, and modem look-alikes.

Application images fit the slots of Serial Modem's nRF9151 DK layout. Their payload is a vector table that
points nowhere useful, a behaviour block for the virtual board (see :mod:`bridge.image.sample`) and filler
that depends on the version; no real chip runs it.
"""

import hashlib
import io
import json
import struct
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bridge.errors import UsageError
from bridge.image.sample import encode_behaviour
from bridge.lab.sample_bootloader import bootloader_file_name, make_bootloader_image
from bridge.lab.sample_key import development_key_pem, development_public_key_pem, other_key_pem
from bridge.lab.sample_modem_images import SampleModemImages, filler
from bridge.lab.sample_signing import HEADER_BYTES, SLOT_BYTES, sign_image

DEFAULT_SIZE_BYTES: Final = 64 * 1024
BOARD: Final = "nrf9151dk/nrf9151/ns"
_PRIMARY_ADDRESS: Final = 0x20000
_VECTORS: Final = 64
_CHANGE_BYTES: Final = 256
_ZIP_TIME: Final = (2026, 1, 1, 0, 0, 0)


class SampleImages(SampleModemImages):
    """Builds images into a folder.

    Args:
        directory: Where the files go; made when it is missing.
    """

    @property
    def public_key_pem(self) -> bytes:
        """What a board must trust to boot these images."""
        return development_public_key_pem()

    def application(
        self,
        version: str = "2.0.0",
        *,
        size_bytes: int = DEFAULT_SIZE_BYTES,
        behaviour: Mapping[str, bool | int] | None = None,
        like: str | None = None,
        key: bytes | None = None,
        name: str | None = None,
        primary_address: int = _PRIMARY_ADDRESS,
        **signing: Any,
    ) -> Path:
        """Build a signed application image.

        Args:
            version: ``major.minor.revision`` or ``major.minor.revision+build``.
            size_bytes: Size of header and payload; the TLVs add about 150 bytes.
            behaviour: What the virtual board does with it beyond its personality; None leaves the block out.
            like: Version whose filler it shares but for a changed and an inserted part, as two builds of one program do;
                None for filler of its own.
            key: Private key in PEM form; the development key if None.
            name: File name; made up from the version and a digest of the rest if None.
            primary_address: Where the primary slot starts; MCUboot takes an image with a reset vector in its own slots for an
                update of itself.
            signing: More for :func:`bridge.lab.sample_signing.sign_image`.

        Raises:
            UsageError: imgtool is missing, or the image is too small or too large.
        """
        image = sign_image(
            _payload(version, size_bytes, behaviour, like, primary_address),
            version=version,
            key_pem=key or development_key_pem(),
            **signing,
        )
        return self._write(name or _name(version, image), image)

    def wrong_key(self, version: str = "2.0.0", *, size_bytes: int = DEFAULT_SIZE_BYTES) -> Path:
        """An image that is sound but signed with a key that no board trusts; the bootloader refuses it."""
        return self.application(
            version, size_bytes=size_bytes, key=other_key_pem(), name=f"app-{version}-wrong-key.bin"
        )

    def bad_signature(self, version: str = "2.0.0", *, size_bytes: int = DEFAULT_SIZE_BYTES) -> Path:
        """An image with a right digest and a wrong signature; the bootloader refuses it."""
        return self.application(
            version, size_bytes=size_bytes, name=f"app-{version}-bad-signature.bin", break_signature=True
        )

    def corrupted(self, version: str = "2.0.0", *, size_bytes: int = DEFAULT_SIZE_BYTES) -> Path:
        """An image with one payload bit flipped after signing; its digest shows it."""
        image = bytearray(self.application(version, size_bytes=size_bytes).read_bytes())
        image[size_bytes // 2] ^= 0x10
        return self._write(f"app-{version}-corrupted.bin", bytes(image))

    def oversize(self, version: str = "2.0.0") -> Path:
        """A sound image that is one page larger than a slot."""
        return self.application(
            version, size_bytes=SLOT_BYTES + 4096, name=f"app-{version}-oversize.bin", slot_size_bytes=0
        )

    def dfu_package(self, version: str = "2.0.0", *, size_bytes: int = DEFAULT_SIZE_BYTES) -> Path:
        """A ``dfu_application.zip`` as an nRF Connect SDK build makes it."""
        image = self.application(version, size_bytes=size_bytes).read_bytes()
        entry = {
            "type": "application",
            "board": BOARD,
            "soc": "nrf9151",
            "load_address": _PRIMARY_ADDRESS + HEADER_BYTES,
            "image_index": "0",
            "slot_index_primary": "1",
            "slot_index_secondary": "2",
            "version_MCUBOOT": version,
            "size": len(image),
            "file": "sample.signed.bin",
            "modtime": 0,
        }
        manifest = {"format-version": 1, "time": 0, "name": "nRF91 Bridge sample", "files": [entry]}
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo("sample.signed.bin", _ZIP_TIME), image)
            archive.writestr(zipfile.ZipInfo("manifest.json", _ZIP_TIME), json.dumps(manifest, indent=4))
        return self._write(f"dfu_application-{version}.zip", packed.getvalue())

    def mcuboot_bootloader(
        self, version: int = 2, slot: int = 1, *, key: bytes | None = None, b0_key: bytes | None = None
    ) -> Path:
        """Build an update of MCUboot itself for one of its two slots.

        Args:
            version: Its number for the immutable bootloader's monotonic counter.
            slot: 0 for s0, 1 for s1: the one that it is linked for.
            key: Private key (PEM) for MCUboot, which installs it; the development key if None.
            b0_key: Private key (PEM) for the immutable bootloader, which starts it; the development key if None.

        Raises:
            UsageError: imgtool is missing.
        """
        mcuboot_key, immutable_key = key or development_key_pem(), b0_key or development_key_pem()
        image = make_bootloader_image(version, slot, mcuboot_key=mcuboot_key, b0_key=immutable_key)
        digest = hashlib.sha256(image).hexdigest()[:8]
        return self._write(f"bootloader-{version}-{digest}/{bootloader_file_name(slot)}", image)

    def build_manifest(self, manifest: Path) -> list[Path]:
        """Build everything that a recipe lists (see ``firmware_images/manifest.toml``).

        Raises:
            UsageError: The recipe cannot be read.
        """
        builders: dict[str, Callable[..., Path]] = {
            "application": self.application,
            "wrong_key": self.wrong_key,
            "bad_signature": self.bad_signature,
            "corrupted": self.corrupted,
            "oversize": self.oversize,
            "dfu_package": self.dfu_package,
            "modem_delta": self.modem_delta,
            "modem_full": self.modem_full,
            "modem_package": self.modem_package,
            "mcuboot_bootloader": self.mcuboot_bootloader,
        }
        try:
            recipes = tomllib.loads(manifest.read_text(encoding="utf-8"))
            return [builders[kind](**recipe) for kind, entries in recipes.items() for recipe in entries]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{manifest} is no recipe for sample images: {error}", reason="bad-recipe"
            ) from error


def _name(version: str, image: bytes) -> str:
    return f"app-{version}-{hashlib.sha256(image).hexdigest()[:8]}.bin".replace("+", "_")


def _payload(
    version: str,
    size_bytes: int,
    behaviour: Mapping[str, bool | int] | None,
    like: str | None,
    primary_address: int,
) -> bytes:
    entry = primary_address + HEADER_BYTES + 4 * _VECTORS + 1
    vectors = struct.pack(f"<{_VECTORS}I", 0x2003_0000, *[entry] * (_VECTORS - 1))
    try:
        block = b"" if behaviour is None else encode_behaviour(behaviour)
        rest = filler(f"application {like or version}", size_bytes - HEADER_BYTES - len(vectors) - len(block))
    except ValueError as error:
        raise UsageError(f"no sample image can be made: {error}", reason="bad-recipe") from error
    return vectors + block + (rest if like is None else _edited(rest, version))


def _edited(rest: bytes, version: str) -> bytes:
    """The filler as another build would have it: something replaced, and something inserted that moves the rest."""
    change = filler(f"change in {version}", _CHANGE_BYTES)
    third = len(rest) // 3
    edited = rest[:third] + change + rest[third + _CHANGE_BYTES : 2 * third] + change + rest[2 * third :]
    return edited[: len(rest)]

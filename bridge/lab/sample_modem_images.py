"""Look-alikes of modem images as files: deltas, full firmware as one CBOR file, and the zip of a release.

No real modem accepts any of them.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from bridge.errors import UsageError
from bridge.image.sample import DELTA_HEADER_BYTES, encode_modem_delta
from bridge.lab.sample_modem import encode_modem_cbor, encode_modem_package, make_modem_image
from bridge.virtual.modem_nvm import firmware_uuid

DEFAULT_DELTA_SIZE_BYTES: Final = 24 * 1024


class SampleModemImages:
    """Builds modem images into a folder.

    Args:
        directory: Where the files go; made when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def modem_delta(
        self,
        base: str = "2.0.1",
        target: str = "2.0.2",
        *,
        size_bytes: int = DEFAULT_DELTA_SIZE_BYTES,
        family: str = "nrf91x1",
        result: int = 0,
        corrupt: bool = False,
    ) -> Path:
        """Build a look-alike of a modem delta; no real modem accepts it.

        Args:
            base: Modem firmware that it updates, such as ``2.0.1`` or ``2.0.1-FOTA-TEST``.
            target: Modem firmware that it brings.
            size_bytes: Size of the file.
            family: Part of its name, ``nrf91x1`` or ``nrf9160``.
            result: Result code that the virtual modem reports; 0 for success.
            corrupt: Flip a payload bit, which the virtual modem finds and a host cannot.

        Raises:
            UsageError: Too small, or a version that does not fit.
        """
        try:
            image = bytearray(
                encode_modem_delta(
                    base_uuid=firmware_uuid(f"{family}_{base}"),
                    target_uuid=firmware_uuid(f"{family}_{target}"),
                    base_version=base,
                    target_version=target,
                    payload=filler(f"delta {family} {base} {target}", size_bytes - DELTA_HEADER_BYTES),
                    result=result,
                )
            )
        except ValueError as error:
            raise UsageError(
                f"no modem delta look-alike can be made: {error}", reason="bad-recipe"
            ) from error
        if corrupt:
            image[-1] ^= 0x10
        folder = "corrupt" if corrupt else f"result-{result}" if result else "."
        return self._write(f"{folder}/mfw_{family}_update_from_{base}_to_{target}.bin", bytes(image))

    def modem_full(
        self,
        version: str = "2.0.3",
        *,
        family: str = "nrf91x1",
        corrupt: bool = False,
        dead: bool = False,
    ) -> Path:
        """Build a look-alike of full modem firmware, as one CBOR file; no real modem accepts it.

        Args:
            version: Modem firmware that it is.
            family: Part of its name, ``nrf91x1`` or ``nrf9160``.
            corrupt: Flip a bit behind the wrapper, which a host can find.
            dead: Damage the firmware before it is wrapped: no host finds it, and the modem does not start with it.
        """
        image = make_modem_image(version, family, dead=dead)
        content = bytearray(encode_modem_cbor(image))
        if corrupt:
            content[-1] ^= 0x10
        folder = "corrupt" if corrupt else "dead" if dead else "."
        return self._write(f"{folder}/{image.name}.cbor", bytes(content))

    def modem_package(
        self, version: str = "2.0.3", *, family: str = "nrf91x1", wrong_digests: bool = False
    ) -> Path:
        """Build a look-alike of a modem release's zip: Intel HEX for programmers, digests, and the CBOR form.

        Args:
            version: Modem firmware that is in it.
            family: Part of its name.
            wrong_digests: Its digests are not those of its segments.
        """
        image = make_modem_image(version, family)
        folder = "wrong-digests" if wrong_digests else "."
        return self._write(
            f"{folder}/{image.name}.zip", encode_modem_package(image, wrong_digests=wrong_digests)
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(draft).replace(path)  # another process may build the same file at the same time
        return path


def filler(seed: str, size_bytes: int) -> bytes:
    """Bytes that look random but depend on the seed alone."""
    if size_bytes < 0:
        raise ValueError("the size is too small")
    return hashlib.shake_256(f"nRF91 Bridge sample: {seed}".encode()).digest(size_bytes)

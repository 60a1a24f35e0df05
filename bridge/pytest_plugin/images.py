"""The firmware that tests are run with: the user's own from a directory, or samples that virtual boards run.

A test names what it needs by its part in an update (the baseline, something newer), not by a version. Files in a directory are
told apart by what is in them: the application with the lowest version is the baseline, the next ones are newer.
"""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from bridge.errors import BenchError, BridgeError
from bridge.fota.versions import full_version, modem_release
from bridge.image import FirmwareImage, ImageKind, inspect_file
from bridge.image.package_source import application_image, choose, unpack
from bridge.pytest_plugin import spoil

if TYPE_CHECKING:
    from bridge.lab.sample_images import SampleImages

BASELINE: Final = "1.0.0"
BASELINE_MODEM: Final = "2.0.2"


@dataclass(frozen=True)
class Firmware:
    """One firmware file.

    Attributes:
        path: Where it is.
        image: What it is; of a package, what it brings.
    """

    path: Path
    image: FirmwareImage

    @classmethod
    def read(cls, path: Path) -> Self:
        """Look into a file.

        Raises:
            ImageRefusedError: It is no firmware, or broken.
        """
        image = inspect_file(path)
        if zipfile.is_zipfile(path):
            image = choose(unpack(path.read_bytes(), path.name))[0].image
        return cls(path, image)

    @property
    def version(self) -> str:
        """The version that it brings."""
        return self.image.version or ""


class Images:
    """Firmware by the part that it plays.

    Args:
        directory: Where files are written that are made for a test.
        found: All files there are.
        samples: Builds more; None with the user's own firmware.
    """

    def __init__(self, directory: Path, found: list[Firmware], samples: "SampleImages | None" = None) -> None:
        self._directory = directory
        self._found = found
        self._samples = samples

    @property
    def build(self) -> "SampleImages":
        """Builds sample images with any version and behaviour.

        Raises:
            BenchError: These are the user's own images.
        """
        if self._samples is None:
            raise BenchError(
                "only sample images can be built to order", reason="no-image", hint="--nrf91-images sample"
            )
        return self._samples

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of firmware that there are, as markers name them."""
        return frozenset(str(one.image.kind) for one in self._found)

    def application(self, place: int) -> Path:
        """An application: 0 is the baseline, 1 the next newer one, and so on.

        Raises:
            BenchError: There are not so many.
        """
        by_version: dict[tuple[int, ...], Path] = {}
        for one in self._found:
            if one.image.kind is ImageKind.APPLICATION:  # of which a build leaves several files
                by_version.setdefault(full_version(one.version) or (0, 0, 0, 0), one.path)
        if place >= len(by_version):
            raise _missing(f"{place + 1} application images with different versions")
        return by_version[sorted(by_version)[place]]

    @property
    def baseline(self) -> Path:
        """What the board runs before and after each test."""
        return self.application(0)

    @property
    def newer(self) -> Path:
        """An application that is newer than the baseline."""
        return self.application(1)

    @property
    def newest(self) -> Path:
        """One that is newer still."""
        return self.application(2)

    def modem_delta(self, base: str | None) -> Path:
        """A modem delta that fits a modem version, such as ``mfw_nrf91x1_2.0.2``.

        Raises:
            BenchError: There is none.
        """
        release = modem_release(base)
        for one in self._found:
            if one.image.kind is ImageKind.MODEM_DELTA and modem_release(one.image.base_version) == release:
                return one.path
        raise _missing(f"a modem delta from {release}")

    def other_modem_delta(self, base: str | None) -> Path:
        """A modem delta that neither starts from a modem version nor leads to it.

        Raises:
            BenchError: There is none.
        """
        release = modem_release(base)
        for one in self._found:
            if one.image.kind is ImageKind.MODEM_DELTA and release not in _ends(one.image):
                return one.path
        raise _missing(f"a modem delta from another version than {release}")

    def modem_full(self, running: str | None) -> Path:
        """Full modem firmware of another version than the running one.

        Raises:
            BenchError: There is none.
        """
        release = modem_release(running)
        for one in self._found:
            if one.image.kind is ImageKind.MODEM_FULL and modem_release(one.version) != release:
                return one.path
        raise _missing(f"full modem firmware that is not {release}")

    @property
    def bootloader(self) -> Path:
        """An update of MCUboot itself, for either of its slots.

        Raises:
            BenchError: There is none.
        """
        for one in self._found:
            if one.image.kind is ImageKind.MCUBOOT_BOOTLOADER:
                return one.path
        raise _missing("an update of MCUboot")

    # --- bad firmware made of good --------------------------------------------------------------------------

    @property
    def corrupted(self) -> Path:
        """:func:`~bridge.pytest_plugin.spoil.corrupted`, of :attr:`newer`."""
        return self._spoiled("corrupted", spoil.corrupted)

    @property
    def bad_signature(self) -> Path:
        """:func:`~bridge.pytest_plugin.spoil.bad_signature`, of :attr:`newer`."""
        return self._spoiled("bad-signature", spoil.bad_signature)

    @property
    def wrong_key(self) -> Path:
        """:func:`~bridge.pytest_plugin.spoil.wrong_key`, of :attr:`newer`."""
        return self._spoiled("wrong-key", spoil.wrong_key)

    @property
    def unsigned(self) -> Path:
        """:func:`~bridge.pytest_plugin.spoil.unsigned`, of :attr:`newer`."""
        return self._spoiled("unsigned", spoil.unsigned)

    @property
    def oversize(self) -> Path:
        """Larger than the whole flash of an nRF91 could take twice."""
        return self._spoiled("oversize", lambda image: spoil.oversize(image, 0x8_0000))

    def truncated(self, size_bytes: int) -> Path:
        """The first bytes of :attr:`newer`."""
        return self._spoiled(f"truncated-{size_bytes}", lambda image: image[:size_bytes])

    def noise(self, size_bytes: int) -> Path:
        """A file of random bytes."""
        return self.write(f"noise-{size_bytes}.bin", spoil.noise(size_bytes))

    def package(self, image: Path) -> Path:
        """An application in a ``dfu_application.zip``, as an nRF Connect SDK build leaves it."""
        content = self._signed(image)
        entry = {"type": "application", "image_index": "0", "size": len(content), "file": "app.signed.bin"}
        manifest = {"format-version": 1, "time": 0, "name": image.stem, "files": [entry]}
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.signed.bin", content)
            archive.writestr("manifest.json", json.dumps(manifest))
        return self.write(f"{image.stem}.zip", packed.getvalue())

    def write(self, name: str, content: bytes) -> Path:
        """A file among the images."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / name
        path.write_bytes(content)
        return path

    def _spoiled(self, name: str, change: Callable[[bytes], bytes]) -> Path:
        good = self.newer
        return self.write(f"{good.stem}-{name}.bin", change(self._signed(good)))

    def _signed(self, path: Path) -> bytes:
        """The signed image in a file, taken out of its package if need be."""
        data = path.read_bytes()
        return application_image(data, path.name)[1] if zipfile.is_zipfile(path) else data


def _ends(delta: FirmwareImage) -> set[str | None]:
    return {modem_release(delta.base_version), modem_release(delta.version)}


def _missing(what: str) -> BenchError:
    return BenchError(
        f"the bench has no firmware for this test: {what}", reason="no-image", hint="See --nrf91-images."
    )


def sample_images(directory: Path) -> Images:
    """Samples that virtual boards run, signed with the development key."""
    from bridge.lab.sample_bootloader_package import bootloader_package  # noqa: PLC0415
    from bridge.lab.sample_images import SampleImages  # noqa: PLC0415

    samples = SampleImages(directory)
    files = [
        *(samples.application(version) for version in (BASELINE, "2.0.0", "3.0.0")),
        *(
            samples.modem_delta(*pair)
            for pair in ((BASELINE_MODEM, "2.0.3"), ("2.0.3", BASELINE_MODEM), ("2.0.1", "2.0.4"))
        ),
        *(samples.modem_package(version) for version in ("2.0.3", BASELINE_MODEM)),
        bootloader_package(samples, directory, 2),
    ]
    return Images(directory / "made", [Firmware.read(path) for path in files], samples)


def own_images(source: Path, made: Path) -> Images:
    """The firmware in a directory; files that are none are left alone.

    Raises:
        BenchError: There is no such directory, or no firmware in it.
    """
    found = []
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        try:
            found.append(Firmware.read(path))
        except BridgeError:
            continue
    if not found:
        raise BenchError(f"there is no firmware in {source}", reason="no-image", hint="See --nrf91-images.")
    return Images(made, found)

"""What a board must have before an image may go onto it: the order says, the board answers, and the older one loses.

A board that does not tell is refused as well: nobody would know.

Source of revisions: Nordic's nRF91 AT commands reference, ``%HWVERSION`` (device, package, build code), and the product
specifications' "IC marking": the build code begins with the hardware version, letters first, so codes compare as text.
"""

from bridge.board import BoardIdentity
from bridge.cloud.requirements import Requirements
from bridge.errors import ImageRefusedError
from bridge.fota.versions import modem_release, version_triple


def check_requirements(identity: BoardIdentity, required: Requirements) -> None:
    """Compare a board with what the order requires of it.

    Raises:
        ImageRefusedError: Something is older than required, other, or not told (``unmet-requirement``).
    """
    release = modem_release(identity.modem_version)
    _check_version("modem firmware", required.modem, release)
    _check_version("the application", required.application, identity.application_version)
    if required.bootloader is not None and (identity.bootloader_version or 0) < required.bootloader:
        raise _unmet(f"MCUboot with counter {required.bootloader}", identity.bootloader_version)
    if required.hardware is not None and not _is_revision(identity.hardware_version, required.hardware):
        raise _unmet(f"{required.hardware} or a later revision of it", identity.hardware_version)


def _check_version(what: str, required: str | None, found: str | None) -> None:
    wanted = version_triple(required)
    has = version_triple(found)
    if wanted is not None and (has is None or has < wanted):
        raise _unmet(f"{what} {required} or newer", found)


def _is_revision(found: str | None, least: str) -> bool:
    device, _, code = (found or "").rpartition(" ")
    wanted_device, _, wanted_code = least.rpartition(" ")
    return device.casefold() == wanted_device.casefold() and code >= wanted_code


def _unmet(needed: str, found: object) -> ImageRefusedError:
    return ImageRefusedError(
        f"the job document requires {needed}, and the board "
        + (f"has {found}" if found is not None else "does not tell what it has"),
        reason="unmet-requirement",
        hint="Bring the board there first, for example by an earlier job: jobs are worked in the order of the queue.",
    )

"""Which version may follow which: the same again, an older one, a delta on its base, and not the one that was ordered."""

from bridge.board import BoardIdentity
from bridge.errors import ImageRefusedError
from bridge.fota.versions import full_version, modem_release, same_version, version_triple
from bridge.image import FirmwareImage, ImageHead, ImageKind


def check_delta(head: ImageHead, identity: BoardIdentity, *, allow_downgrade: bool) -> None:
    """A modem delta must start from what the modem runs, and lead to something else.

    Raises:
        ImageRefusedError: ``same-version``, ``wrong-delta-base``, ``downgrade``.
    """
    running = modem_release(identity.modem_version)
    if running is None:
        return
    if head.version is not None and modem_release(head.version) == running:
        raise ImageRefusedError(
            f"the modem already runs {running}", reason="same-version", hint="Nothing needs to be done."
        )
    if head.base_version is not None and modem_release(head.base_version) != running:
        raise ImageRefusedError(
            f"the delta updates modem firmware {head.base_version}, but the modem runs {running}",
            reason="wrong-delta-base",
            hint=f"Take the delta that starts from {running}.",
        )
    _check_modem_downgrade(head, running, allow_downgrade=allow_downgrade)


def check_full_modem(
    head: ImageHead, identity: BoardIdentity, *, allow_same_version: bool, allow_downgrade: bool
) -> None:
    """Full modem firmware may replace anything but itself and what is newer.

    Raises:
        ImageRefusedError: ``same-version``, ``downgrade``.
    """
    running = modem_release(identity.modem_version)
    if running is None:
        return
    if head.version is not None and modem_release(head.version) == running and not allow_same_version:
        raise ImageRefusedError(
            f"the modem already runs {running}",
            reason="same-version",
            hint="Use --allow-same-version to write it again.",
        )
    _check_modem_downgrade(head, running, allow_downgrade=allow_downgrade)


def check_application(
    head: ImageHead, identity: BoardIdentity, *, allow_same_version: bool, allow_downgrade: bool
) -> None:
    """An application should be newer than the one that runs.

    Build numbers count only where the board tells them, which is where it tells digests too.

    Raises:
        ImageRefusedError: ``same-version``, ``downgrade``.
    """
    running = identity.application_version
    tells_build = identity.application_digest is not None
    read = full_version if tells_build else version_triple
    new, old = read(head.version), read(running)
    if new is None or old is None:
        return
    if new == old and not allow_same_version:
        raise ImageRefusedError(
            f"the board already runs version {head.version}",
            reason="same-version",
            hint=_same_version_hint(identity),
        )
    if new < old and not allow_downgrade:
        raise ImageRefusedError(
            f"the image has version {head.version}, older than the running {running}",
            reason="downgrade",
            hint="Use --allow-downgrade to try it; a bootloader with downgrade prevention will still refuse it.",
        )


def _same_version_hint(identity: BoardIdentity) -> str:
    if identity.firmware == "mcuboot-recovery":
        return "It waits in its bootloader's recovery: `nrf91-bridge smp reset` starts that version."
    if identity.on_trial:
        return "It runs on trial, and goes away with the next reset: `nrf91-bridge smp confirm` keeps it."
    return "Use --allow-same-version to install it again."


def check_same_image(image: FirmwareImage, identity: BoardIdentity, *, allow_same_version: bool) -> None:
    """Whatever its version says, the very image that runs is not installed again (reason ``same-image``)."""
    digest, running = image.mcuboot.digest if image.mcuboot else None, identity.application_digest
    if allow_same_version or digest is None or running is None or image.kind is not ImageKind.APPLICATION:
        return
    if digest.lower() == running.lower():
        raise ImageRefusedError(
            f"the board already runs this very image, digest {digest[:16]}…",
            reason="same-image",
            hint="Use --allow-same-version to install it again.",
        )


def check_ordered_version(head: ImageHead, ordered: str | None, *, strict: bool, is_modem: bool) -> list[str]:
    """Compare with the version that the order names.

    Returns:
        A remark if they differ.

    Raises:
        ImageRefusedError: They differ, and that is not tolerated (reason ``version-mismatch``).
    """
    if ordered is None or head.version is None:
        return []
    if is_modem:
        agrees = modem_release(ordered) == modem_release(head.version)
    elif head.kind is ImageKind.MCUBOOT_BOOTLOADER:
        header = head.mcuboot.version if head.mcuboot else None
        agrees = ordered == head.version or same_version(ordered, header)
    else:
        agrees = same_version(ordered, head.version)
    if agrees:
        return []
    text = f"version {ordered} was ordered, but the image says {head.version}"
    if strict:
        raise ImageRefusedError(
            text, reason="version-mismatch", hint="Correct fwversion in the job document."
        )
    return [text]


def _check_modem_downgrade(head: ImageHead, running: str, *, allow_downgrade: bool) -> None:
    new, old = version_triple(modem_release(head.version)), version_triple(running)
    if new is not None and old is not None and new < old and not allow_downgrade:
        raise ImageRefusedError(
            f"the image brings modem firmware {modem_release(head.version)}, older than the running {running}",
            reason="downgrade",
            hint="Use --allow-downgrade to install it all the same.",
        )

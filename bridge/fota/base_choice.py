"""Which stored image an application delta is rebuilt from: the one that its header names, if the board runs that one."""

import logging
from pathlib import Path

from bridge.board import BoardIdentity
from bridge.errors import BridgeError, ImageRefusedError, UsageError
from bridge.fota.image_store import ADD_COMMAND, KnownImageStore
from bridge.fota.rebuilt_source import RebuiltSource
from bridge.fota.versions import same_version
from bridge.image import FileSource, FirmwareImage, ImageHead, ImageKind, ImageSource
from bridge.image.app_delta_rebuild import wrong_base

_log = logging.getLogger(__name__)


def choose_base(
    head: ImageHead, running_digest: str | None, store: KnownImageStore, *, running_version: str | None = None
) -> Path:
    """Find the base image of an application delta.

    Args:
        head: Head of the delta.
        running_digest: Image digest (hex) of the slot that the board runs, as it says itself or as it is remembered from its
            last update; None if nobody knows. The delta is then taken at its word, but for the version: the base is needed
            here and not on the board, which gets the whole signed image.
        store: Images that are known.
        running_version: Version that the board runs, if it tells; only looked at when its digest is not known.

    Returns:
        File of the base image; its content was found to have the digest.

    Raises:
        ImageRefusedError: ``same-image`` (the board runs the target), ``wrong-base`` (it runs another one), ``missing-base``,
            ``damaged-base``, or ``wrong-kind`` (no application delta).
    """
    info = head.app_delta
    if info is None:
        raise ImageRefusedError(f"a file of kind {head.kind} needs no base image", reason="wrong-kind")
    running = running_digest.lower() if running_digest else None
    if running == info.target.digest:
        raise ImageRefusedError(
            f"the board already runs the image with digest {running}, version {info.target.version}",
            reason="same-image",
            hint="Nothing needs to be done.",
        )
    if running is not None and running != info.base.digest:
        raise wrong_base(info, running, "the image that the board runs")
    if (
        running is None
        and running_version is not None
        and not same_version(running_version, info.base.version)
    ):
        raise ImageRefusedError(
            f"the application delta starts from {info.base.version} with digest {info.base.digest}, but the board runs"
            f" {running_version}",
            reason="wrong-base",
            hint=f"Take the delta that starts from {running_version}, or the whole image.",
        )
    found = store.find(info.base.digest)
    if found is None:
        raise ImageRefusedError(
            f"the application delta needs its base {info.base.version} with image digest {info.base.digest}, which is not in"
            f" {store.directory}",
            reason="missing-base",
            hint=f"Add that image with: {ADD_COMMAND}",
        )
    return found.path


def open_rebuilt(
    delta: ImageSource, head: ImageHead, board: BoardIdentity, store: KnownImageStore | None
) -> RebuiltSource:
    """Open the target of an application delta as an image of its own; closing it closes the delta.

    Args:
        delta: The delta's file; may still be downloading.
        head: Its head.
        board: The board that gets the target.
        store: Images that are known.

    Raises:
        ImageRefusedError: See :func:`choose_base`.
        UsageError: There is no store (``no-image-store``).
    """
    if store is None:
        raise UsageError("an application delta needs an image store with its base", reason="no-image-store")
    version = (board.application_version or "").removeprefix("v") or None
    base = FileSource(choose_base(head, board.application_digest, store, running_version=version))
    assert head.app_delta is not None
    return RebuiltSource(delta, head.app_delta, base)


def remember_image(source: ImageSource, image: FirmwareImage, store: KnownImageStore | None) -> None:
    """Keep what a board runs now as the base of its next delta; only where deltas are used, so that a store exists.

    Args:
        source: The image's bytes.
        image: What they are.
        store: Where to keep them.
    """
    if store is None or image.kind is not ImageKind.APPLICATION or not store.directory.is_dir():
        return
    try:
        store.add_source(source)
    except BridgeError as error:
        _log.warning("the image is not kept for later deltas: %s", error.message)

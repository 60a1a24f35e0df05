"""``nrf91-bridge image store``: the images that boards are known to run, which application deltas start from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import ImageStoreOption, JsonOption
from bridge.cli.output import emit_json, out, use_json

if TYPE_CHECKING:
    from bridge.fota.image_store import KnownImage, KnownImageStore


def register(group: typer.Typer) -> None:
    """Add the commands to ``image``."""
    app = typer.Typer(no_args_is_help=True, help="Keep the images that application deltas start from.")
    app.command("add")(add)
    app.command("list")(list_images)
    app.command("remove")(remove)
    group.add_typer(app, name="store")


def open_store(directory: Path | None) -> "KnownImageStore":
    """The image store that an option names, or this user's."""
    from bridge.fota.image_store import KnownImageStore, default_store_directory  # noqa: PLC0415

    return KnownImageStore(directory or default_store_directory())


def add(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Signed applications (.bin) or dfu_application.zip."),
    ],
    store: ImageStoreOption = None,
    json: JsonOption = False,
) -> None:
    """Keep copies of signed applications, each under its image digest."""
    use_json(json)
    known = open_store(store)
    for file in files:
        _show(known.add(file), "image-stored", json=json)


def list_images(store: ImageStoreOption = None, json: JsonOption = False) -> None:
    """Show what is in the store, and what went bad in it."""
    use_json(json)
    known = open_store(store)
    images = known.images()
    for image in images:
        _show(image, "stored-image", json=json)
    if not images and not json:
        out.print(f"no images in {known.directory}", soft_wrap=True)


def remove(
    digest: Annotated[str, typer.Argument(help="Image digest, or enough of its first digits.")],
    store: ImageStoreOption = None,
    json: JsonOption = False,
) -> None:
    """Remove an image from the store."""
    use_json(json)
    _show(open_store(store).remove(digest), "image-removed", json=json)


def _show(image: "KnownImage", event: str, *, json: bool) -> None:
    if json:
        emit_json(
            {
                "event": event,
                "digest": image.digest,
                "version": image.version,
                "size_bytes": image.size_bytes,
                "path": image.path,
                "problem": image.problem,
            }
        )
        return
    what = (
        f"{image.version}  {image.size_bytes:,} bytes"
        if image.problem is None
        else f"damaged: {image.problem}"
    )
    verb = "removed  " if event == "image-removed" else ""
    out.print(f"{verb}{image.digest}  {what}", soft_wrap=True)

"""``nrf91-bridge image delta``: a patch from one signed application to the next."""

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption
from bridge.cli.output import emit_json, out, use_json
from bridge.errors import UsageError


def register(group: typer.Typer) -> None:
    """Add the command to ``image``."""
    group.command("delta")(delta)


def delta(
    old: Annotated[
        Path, typer.Argument(help="Signed application (.bin) or dfu_application.zip that boards run.")
    ],
    new: Annotated[Path, typer.Argument(help="The one that they shall get.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", dir_okay=False, help="File to write the delta to.")
    ],
    json: JsonOption = False,
) -> None:
    """Make a delta from OLD to NEW; who sends it needs OLD in the image store, and the board needs nothing special."""
    use_json(json)
    from bridge.image.app_delta import HEADER_BYTES, parse_header  # noqa: PLC0415
    from bridge.image.app_delta_create import create_app_delta  # noqa: PLC0415
    from bridge.image.application_file import read_application  # noqa: PLC0415

    base, target = read_application(old), read_application(new)
    if any(output.exists() and output.samefile(each) for each in (old, new)):
        raise UsageError(f"{output} is one of the images; it would be overwritten", reason="bad-output")
    made = create_app_delta(base, target)
    _write(output, made)
    info = parse_header(made[:HEADER_BYTES])
    percent = 100 * len(made) / len(target.data)
    if json:
        emit_json(
            {
                "event": "delta",
                "file": str(output),
                "size_bytes": len(made),
                "base_version": info.base.version,
                "base_digest": info.base.digest,
                "target_version": info.target.version,
                "target_digest": info.target.digest,
                "target_size_bytes": info.target.size_bytes,
            }
        )
        return
    out.print(
        f"{output}: {info.base.version} -> {info.target.version}, {len(made):,} bytes,"
        f" {percent:.1f} % of {len(target.data):,}",
        markup=False,
        soft_wrap=True,
    )
    if percent >= 100:
        out.print("The two images have next to nothing in common: send the whole image.", soft_wrap=True)
    out.print(f"Its base is the image with digest {info.base.digest}.", soft_wrap=True)
    out.print(f"On the host that will send it: nrf91-bridge image store add {old}", soft_wrap=True)


def _write(path: Path, content: bytes) -> None:
    from bridge.image.atomic_file import write_atomically  # noqa: PLC0415

    try:
        write_atomically(path, content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            reason="bad-output",
            hint="Choose another -o.",
        ) from error

"""The job document: what to install and where it is, in every shape of Nordic's "AWS FOTA" page.

Source: sdk-nrf ``doc/nrf/libraries/networking/aws_fota.rst`` (``operation``, ``fwversion``, ``size``,
``location``), its parser ``aws_fota_json.c`` (members it does not know are ignored, keys are
case-sensitive), and the AWS IoT limit of 32768 characters. ``sha256``, ``board``, ``image_index`` and
``requires`` are ours and optional.

Nordic's device library never reads ``operation``, so documents without it work there and are in the field.
They are accepted here too: the image itself tells what it is. An operation that is *there* and unknown is
refused, because its author wants something that we do not do. ``fwversion`` and ``size`` are accepted as
text or integer, since both are found in Nordic's own examples and in the field.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bridge.cloud.location import LocationError, location_url, mirror_urls
from bridge.cloud.requirements import NOTHING, RequirementError, Requirements, read_requirements
from bridge.errors import ImageRefusedError

Operation = Literal["app_fw_update", "modem_fw_update"]

OPERATIONS: Final = ("app_fw_update", "modem_fw_update")
MAX_DOCUMENT_CHARS: Final = 32768
"""Limit of AWS IoT on a job document (``JobDocument.max`` in botocore's service model)."""
MAX_VERSION_CHARS: Final = 128
MAX_BOARD_CHARS: Final = 128
MAX_IMAGE_INDEX: Final = 15
_MAX_SIZE_BYTES: Final = 2**32 - 1

_DECIMAL: Final = re.compile(r"[0-9]{1,10}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of surrogate pairs: JSON can write them, but no file or message can hold them."""


class DocumentError(ImageRefusedError):
    """The job document cannot be carried out.

    ``reason`` is ``bad-document`` (malformed), ``unknown-operation`` or ``dual-path-unsupported``. The
    message names the member and what is wrong with it, and never repeats a URL.
    """

    default_reason = "bad-document"


class JobDocument(BaseModel):
    """What a job wants installed.

    Attributes:
        operation: ``app_fw_update`` or ``modem_fw_update``; None when the document does not say.
        fw_version: Version that the image is said to have, without a leading ``v``.
        size_bytes: Size that the image is said to have.
        url: Where the image is; absolute, ``http`` or ``https``, query and port as in the document.
        mirrors: Where else it is, should the first server fail.
        sha256: Digest of the image file, 64 lower-case hexadecimal digits.
        board: Board or chip the image is for.
        image_index: Image number in MCUboot's sense.
        requires: What the board must have already.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    operation: Operation | None = None
    fw_version: str | None = None
    size_bytes: Annotated[int, Field(gt=0, le=_MAX_SIZE_BYTES)] | None = None
    url: Annotated[str, Field(repr=False)]
    mirrors: Annotated[tuple[str, ...], Field(repr=False)] = ()
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    board: str | None = None
    image_index: Annotated[int, Field(ge=0, le=MAX_IMAGE_INDEX)] = 0
    requires: Requirements = NOTHING

    def to_dict(self) -> dict[str, object]:
        """The document as JSON members, in the single-URL shape; :func:`parse_document` reads it back."""
        members: dict[str, object] = {
            "operation": self.operation,
            "fwversion": self.fw_version,
            "size": self.size_bytes,
            "location": {"url": self.url, **({"mirrors": list(self.mirrors)} if self.mirrors else {})},
            "sha256": self.sha256,
            "board": self.board,
            "image_index": self.image_index or None,
            "requires": self.requires.to_dict() or None,
        }
        return {name: value for name, value in members.items() if value is not None}


def parse_document(document: object) -> JobDocument:
    """Read a job document.

    Args:
        document: The ``jobDocument`` member as decoded JSON.

    Returns:
        The document, checked.

    Raises:
        DocumentError: It is malformed (``bad-document``), asks for an operation that does not exist
            (``unknown-operation``), or names a file for each bootloader slot (``dual-path-unsupported``).
    """
    if not isinstance(document, Mapping):
        raise DocumentError("the job document must be a JSON object")
    _check_length(document)
    try:
        url = location_url(document.get("location"))
        mirrors = mirror_urls(document.get("location"))
    except LocationError as error:
        # An operation nobody knows may well have no location: say the more telling thing first.
        _operation(document)
        raise DocumentError(f"job document: {error.member} {error}", reason=error.reason) from None
    sha256 = _sha256(document)
    if mirrors and sha256 is None:
        raise _refuse(
            "location.mirrors", "needs sha256, by which all servers are known to have the same image"
        )
    return JobDocument(
        operation=_operation(document),
        fw_version=_version(document),
        size_bytes=_size(document),
        url=url,
        mirrors=mirrors,
        sha256=sha256,
        board=_text(document, "board", MAX_BOARD_CHARS),
        image_index=_image_index(document),
        requires=_requires(document),
    )


def _check_length(document: Mapping[object, object]) -> None:
    try:
        length = len(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    except (TypeError, ValueError, RecursionError):
        raise DocumentError("the job document is no JSON, or is nested too deeply") from None
    if length > MAX_DOCUMENT_CHARS:
        raise DocumentError(f"the job document has {length} characters; {MAX_DOCUMENT_CHARS} are allowed")


def _refuse(member: str, what: str) -> DocumentError:
    return DocumentError(f"job document: {member} {what}")


def _text(document: Mapping[object, object], member: str, max_chars: int) -> str | None:
    value = document.get(member)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refuse(member, "must be text")
    text = value.strip(" ")
    if not text:
        raise _refuse(member, "is empty")
    if len(text) > max_chars:
        raise _refuse(member, f"has {len(text)} characters; {max_chars} are allowed")
    if _UNSEEN.search(text):
        raise _refuse(member, "holds control characters, or halves of characters")
    return text


def _operation(document: Mapping[object, object]) -> Operation | None:
    value = document.get("operation")
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refuse("operation", "must be text")
    if value not in OPERATIONS:
        raise DocumentError(
            f"job document: operation {_quoted(value)} is unknown; known are {' and '.join(OPERATIONS)}",
            reason="unknown-operation",
        )
    return cast("Operation", value)


def _quoted(value: str) -> str:
    """A foreign word for a message: printable and short."""
    return ascii(value if len(value) <= 40 else f"{value[:40]}...")


def _version(document: Mapping[object, object]) -> str | None:
    value = document.get("fwversion")
    if isinstance(value, float):
        raise _refuse("fwversion", "must be text; as a number 1.10 and 1.1 are the same")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(_bounded(value, "fwversion"))
    text = _text(document, "fwversion", MAX_VERSION_CHARS)
    return text[1:] if text is not None and re.match(r"[vV][0-9]", text) else text


def _size(document: Mapping[object, object]) -> int | None:
    value = document.get("size")
    if value is None:
        return None
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip(" ")):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refuse("size", "must be a number of bytes")
    if value == 0:
        raise _refuse("size", "must not be 0")
    return _bounded(value, "size")


def _bounded(value: int, member: str) -> int:
    if not 0 <= value <= _MAX_SIZE_BYTES:
        raise _refuse(member, f"must be between 0 and {_MAX_SIZE_BYTES}")
    return value


def _sha256(document: Mapping[object, object]) -> str | None:
    text = _text(document, "sha256", MAX_DOCUMENT_CHARS)
    if text is None:
        return None
    digest = text.lower()
    if not _SHA256.fullmatch(digest):
        raise _refuse("sha256", "must be 64 hexadecimal digits")
    return digest


def _requires(document: Mapping[object, object]) -> Requirements:
    try:
        return read_requirements(document.get("requires"))
    except RequirementError as error:
        raise DocumentError(f"job document: {error}") from None


def _image_index(document: Mapping[object, object]) -> int:
    value = document.get("image_index")
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_IMAGE_INDEX:
        raise _refuse("image_index", f"must be an integer between 0 and {MAX_IMAGE_INDEX}")
    return value

"""Judging a job document before a job is made of it: what the bridge would refuse, and what a person may have meant otherwise.

Source: the same as :mod:`bridge.cloud.document`; limits of Nordic's own library (``aws_fota.c``, Kconfig defaults of NCS 2.9)
for boards that work their jobs themselves.
"""

import json
import re
from dataclasses import dataclass
from typing import Final

from bridge.cloud.document import DocumentError, JobDocument, parse_document

MEMBERS: Final = ("operation", "fwversion", "size", "location", "sha256", "board", "image_index", "requires")
_LOCATION_MEMBERS: Final = ("url", "protocol", "host", "path")
_PLACEHOLDER: Final = re.compile(r"\$\{aws:iot:s3-presigned-url(?:-v2)?:([^}]*)\}")
_AWS_FOTA_URL_CHARS: Final = 253
_TYPICAL_SIGNATURE_CHARS: Final = 1200


@dataclass(frozen=True)
class DocumentVerdict:
    """What there is to say about a document that can be carried out.

    Attributes:
        document: As the bridge reads it, with the URL that a placeholder stands for.
        presigned: It holds a placeholder, so the job needs presigned URL settings.
        remarks: What a person should see.
    """

    document: JobDocument
    presigned: bool
    remarks: tuple[str, ...]


def check_document(text: str) -> DocumentVerdict:
    """Judge a document as it stands in a file.

    Raises:
        DocumentError: The bridge would reject the job; the message says why.
    """
    try:
        members = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"the job document is no JSON: {error}") from None
    presigned = _PLACEHOLDER.search(text) is not None
    document = parse_document(_without_placeholders(members))
    return DocumentVerdict(document, presigned, tuple(_remarks(members, document, presigned=presigned)))


def _without_placeholders(value: object) -> object:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: _object_url(match[1]), value)
    if isinstance(value, list):
        return [_without_placeholders(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_placeholders(each) for name, each in value.items()}
    return value


def _object_url(text: str) -> str:
    """Botocore's model still documents ``bucket/key``, without a scheme."""
    return text if text.startswith(("http://", "https://")) else f"https://s3.amazonaws.com/{text}"


def _remarks(members: dict[str, object], document: JobDocument, *, presigned: bool) -> list[str]:
    remarks = [
        f"{name} is not read by the bridge{_guess(name, MEMBERS)}" for name in members if name not in MEMBERS
    ]
    location = members.get("location")
    if isinstance(location, dict):
        remarks += [
            f"location.{name} is not read by the bridge{_guess(name, _LOCATION_MEMBERS)}"
            for name in location
            if name not in _LOCATION_MEMBERS
        ]
    if document.operation is None:
        remarks.append("operation is missing: the image decides what is updated")
    if document.sha256 is None:
        remarks.append("sha256 is missing: hosts with --require-sha256 refuse the job")
    if document.size_bytes is None:
        remarks.append("size is missing: a truncated upload is found by the image's own structure only")
    if document.url.startswith("http:"):
        remarks.append(
            "the image is fetched over http: hosts refuse that unless they are told to --allow-http"
        )
    chars = len(document.url.partition("://")[2].partition("/")[2]) + presigned * _TYPICAL_SIGNATURE_CHARS
    if chars > _AWS_FOTA_URL_CHARS:
        remarks.append(
            f"the path has {'about ' if presigned else ''}{chars} characters: a board that works its jobs itself with"
            " aws_fota needs a larger CONFIG_DOWNLOAD_CLIENT_MAX_FILENAME_SIZE and CONFIG_AWS_FOTA_PAYLOAD_SIZE"
        )
    return remarks


def _guess(name: str, known: tuple[str, ...]) -> str:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    close = next((each for each in known if re.sub(r"[^a-z0-9]", "", each) == plain), None)
    return f"; {close} is meant?" if close else ""

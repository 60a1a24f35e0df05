"""The body of an upload: unwrapped from ``aws-chunked`` if need be, and held against every digest that came with it.

Source: Amazon S3 User Guide, "Checking object integrity", and S3 API Reference, "Signature calculations: trailing headers"
(chunks with a trailer). botocore sends a stream so by default, with a CRC-32 in the trailer.
"""

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from bridge.lab.s3_errors import S3Error
from bridge.lab.s3_signature import UNSIGNED_PAYLOAD

MAX_OBJECT_BYTES: Final = 64 * 1024 * 1024
"""Far beyond any firmware for an nRF91; S3 takes 5 GB in one piece."""
MAX_BODY_BYTES: Final = MAX_OBJECT_BYTES + MAX_OBJECT_BYTES // 16
"""With room for what wraps an object in chunks."""
_STREAM: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}
_PREFIX: Final = "x-amz-checksum-"
_NO_DIGEST: Final = frozenset({"algorithm", "mode", "type"})


def read_upload(body: bytes, headers: Mapping[str, str], claimed_sha256: str) -> tuple[bytes, dict[str, str]]:
    """Give the object's content, and its checksums as header fields.

    Args:
        body: The request's body.
        headers: Its header fields, names in lower case.
        claimed_sha256: What the signature says about the body.

    Raises:
        S3Error: The body is not what was announced or signed (``BadDigest``, ``XAmzContentSHA256Mismatch``,
            ``IncompleteBody``), or is larger than this store takes.
    """
    trailers: dict[str, str] = {}
    if claimed_sha256 == _STREAM:
        body, trailers = _unchunk(body)
        if headers.get("x-amz-decoded-content-length", str(len(body))) != str(len(body)):
            raise S3Error("IncompleteBody", "The request body is not as long as x-amz-decoded-content-length")
    elif claimed_sha256.startswith("STREAMING-"):
        raise S3Error("NotImplemented", f"the local cloud does not know payloads of kind {claimed_sha256}")
    elif claimed_sha256 != UNSIGNED_PAYLOAD and not hmac.compare_digest(
        hashlib.sha256(body).hexdigest().encode(), claimed_sha256.lower().encode()
    ):
        raise S3Error(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ClientComputedContentSHA256=claimed_sha256,
        )
    if len(body) > MAX_OBJECT_BYTES:
        raise S3Error("EntityTooLarge", f"the local cloud keeps objects of up to {MAX_OBJECT_BYTES} bytes")
    return body, _check_digests(body, {**headers, **trailers})


def _check_digests(body: bytes, fields: Mapping[str, str]) -> dict[str, str]:
    if "content-md5" in fields:
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        if md5 != fields["content-md5"]:
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
    kept = {}
    for name, value in fields.items():
        algorithm = name.removeprefix(_PREFIX)
        if algorithm == name or algorithm in _NO_DIGEST:
            continue
        if algorithm not in _DIGESTS:
            raise S3Error("NotImplemented", f"the local cloud does not know checksums of kind {algorithm}")
        if base64.b64encode(_DIGESTS[algorithm](body)).decode() != value:
            raise S3Error(
                "BadDigest", f"The {algorithm.upper()} you specified did not match the calculated checksum."
            )
        kept[name] = value
    return kept


def _unchunk(body: bytes) -> tuple[bytes, dict[str, str]]:
    content, at = bytearray(), 0
    while True:
        end = body.find(b"\r\n", at)
        size = _chunk_size(body[at:end] if end >= 0 else b"")
        at = end + 2
        if size == 0:
            break
        content += body[at : at + size]
        if body[at + size : at + size + 2] != b"\r\n":
            raise S3Error("IncompleteBody", "The request body ended within a chunk")
        at += size + 2
    lines = [line.partition(b":") for line in body[at:].split(b"\r\n") if b":" in line]
    return bytes(content), {
        name.strip().lower().decode("latin-1"): value.strip().decode("latin-1") for name, _, value in lines
    }


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise S3Error(
            "IncompleteBody", "The request body holds no valid chunk where one must begin"
        ) from None

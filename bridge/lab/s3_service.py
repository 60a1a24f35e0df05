"""The part of Amazon S3 that firmware rollouts use, behind the local cloud's HTTPS port.

Buckets (create, head, list, delete) and objects (put, get with ranges, head, delete), path style and virtual-host style.
Everything must be signed, in a header or by a presigned URL; there are no public objects. Source: S3 API Reference.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from bridge.lab.faulty_answers import FaultyBody, NotedResponse, instead_of_image
from bridge.lab.image_faults import ImageFaults
from bridge.lab.presign import REGION, Presigner, signed_request
from bridge.lab.s3_answers import list_response, object_response, xml_response
from bridge.lab.s3_body import MAX_BODY_BYTES, read_upload
from bridge.lab.s3_errors import S3Error, error_response
from bridge.lab.s3_signature import SignedRequest, signed_service
from bridge.lab.s3_store import BucketStore

_KEPT: Final = re.compile(r"content-(?:type|disposition|language)|cache-control|expires|x-amz-meta-.+")
_SUBRESOURCES: Final = frozenset(
    {
        "acl",
        "cors",
        "delete",
        "lifecycle",
        "policy",
        "tagging",
        "uploadId",
        "uploads",
        "versioning",
        "versions",
    }
)
_NoteObject = Callable[[str, str, str | None, int], None]


@dataclass(frozen=True)
class Place:
    """What a request is about.

    Attributes:
        bucket: Empty for the service itself.
        key: Empty for the bucket itself.
    """

    bucket: str
    key: str

    @property
    def name(self) -> str:
        """``bucket/key``."""
        return f"{self.bucket}/{self.key}"


class S3Service:
    """Answers the requests of S3 clients.

    Args:
        store: The buckets.
        presigner: Checks signatures.
        faults: What goes wrong on purpose with GET and HEAD of ``bucket/key``.
        note: Told of each answer about an object: method, ``bucket/key``, range, status.
        hosts: Names that the server goes by; ``BUCKET.name`` is then virtual-host style.
    """

    def __init__(
        self,
        store: BucketStore,
        presigner: Presigner,
        *,
        faults: ImageFaults | None = None,
        note: _NoteObject | None = None,
        hosts: Iterable[str] = ("localhost",),
    ) -> None:
        self._store = store
        self._presigner = presigner
        self._faults = faults or ImageFaults()
        self._note = note or (lambda *_: None)
        self._hosts = tuple(f".{host}" for host in hosts)

    @property
    def signed_route(self) -> BaseRoute:
        """Takes what is signed for S3 or goes to a bucket's own host name; other services' routes may follow."""
        return _S3Route(self, only_ours=True)

    @property
    def rest_route(self) -> BaseRoute:
        """Takes everything, to be the last route: a stranger at S3's door."""
        return _S3Route(self, only_ours=False)

    def is_ours(self, request: SignedRequest) -> bool:
        """Whether a request can only be for S3."""
        return signed_service(request) == "s3" or self._virtual_bucket(request) is not None

    async def answer(self, request: Request) -> Response:
        """Answer one request; never raises :class:`S3Error`."""
        signed = signed_request(request)
        place = self._place(signed)
        try:
            # First of all: botocore goes on using a connection whose "Expect: 100-continue" was answered with an error.
            body = await _read_body(request)
            payload = self._presigner.check(signed)
            return self._choose(signed, place, body, payload)
        except S3Error as error:
            if place.key:
                self._note(signed.method, place.name, signed.headers.get("range"), error.status)
            return error_response(error, f"/{place.name}" if place.bucket else "/")

    def _choose(self, signed: SignedRequest, place: Place, body: bytes, payload: str) -> Response:
        if wanted := _SUBRESOURCES & dict(signed.parameters).keys():
            raise S3Error("NotImplemented", f"the local cloud has no ?{min(wanted)}")
        if not place.bucket:
            return self._service(signed)
        if not place.key:
            return self._bucket(signed, place.bucket)
        return self._object(signed, place, body, payload)

    def _service(self, signed: SignedRequest) -> Response:
        if signed.method != "GET":
            raise _wrong_method()
        buckets = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in self._store.names)
        return xml_response(f"<ListAllMyBucketsResult><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>")

    def _bucket(self, signed: SignedRequest, bucket: str) -> Response:
        parameters = dict(signed.parameters)
        match signed.method:
            case "PUT":
                # In us-east-1, the local cloud's region, S3 answers 200 when it is one's own already.
                self._store.create(bucket)
                return Response(headers={"location": f"/{bucket}"})
            case "HEAD":
                self._store.list(bucket)
                return Response(headers={"x-amz-bucket-region": REGION})
            case "GET" if "location" in parameters:
                self._store.list(bucket)
                return xml_response('<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')
            case "GET" if parameters.get("list-type") == "2":
                prefix, token = parameters.get("prefix", ""), parameters.get("continuation-token", "")
                found = self._store.list(bucket, prefix, token or parameters.get("start-after", ""))
                return list_response(bucket, found, prefix, _max_keys(parameters.get("max-keys")), token)
            case "DELETE":
                self._store.drop(bucket)
                return Response(status_code=204)
        raise _wrong_method()

    def _object(self, signed: SignedRequest, place: Place, body: bytes, payload: str) -> Response:
        match signed.method:
            case "GET" | "HEAD":
                return self._read(signed, place)
            case "PUT":
                return self._put(signed, place, body, payload)
            case "DELETE":
                self._store.delete(place.bucket, place.key)
                return Response(status_code=204)
        raise _wrong_method()

    def _read(self, signed: SignedRequest, place: Place) -> Response:
        stored = self._store.get(place.bucket, place.key)
        path = self._store.path(stored)
        fault = self._faults.take(place.name)
        response = None if fault is None else instead_of_image(fault, path, f'"{stored.etag}"')
        if response is None:
            response = object_response(stored, path, signed.headers)
            response = response if fault is None else FaultyBody(response, fault)
        asked = signed.headers.get("range")
        return NotedResponse(response, lambda status: self._note(signed.method, place.name, asked, status))

    def _put(self, signed: SignedRequest, place: Place, body: bytes, payload: str) -> Response:
        headers = signed.headers
        if "x-amz-copy-source" in headers:
            raise S3Error("NotImplemented", "the local cloud does not copy objects")
        self._store.list(place.bucket)
        content, checksums = read_upload(body, headers, payload)
        if headers.get("if-none-match") == "*":
            self._refuse_existing(place)
        kept = {name: value for name, value in headers.items() if _KEPT.fullmatch(name)}
        stored = self._store.put(place.bucket, place.key, content, {**kept, **checksums})
        return Response(headers={"etag": f'"{stored.etag}"', **checksums})

    def _refuse_existing(self, place: Place) -> None:
        try:
            self._store.get(place.bucket, place.key)
        except S3Error:
            return
        raise S3Error(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            Condition="If-None-Match",
        )

    def _place(self, signed: SignedRequest) -> Place:
        path = unquote(signed.path).removeprefix("/")
        bucket = self._virtual_bucket(signed)
        if bucket is not None:
            return Place(bucket, path)
        bucket, _, key = path.partition("/")
        return Place(bucket, key)

    def _virtual_bucket(self, signed: SignedRequest) -> str | None:
        host = signed.headers.get("host", "").partition(":")[0].lower()
        return next((host.removesuffix(end) for end in self._hosts if host.endswith(end)), None)


class _S3Route(BaseRoute):
    """Hands requests to the service, whatever their path."""

    def __init__(self, service: S3Service, *, only_ours: bool) -> None:
        self._service = service
        self._only_ours = only_ours

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        if self._only_ours and not self._service.is_ours(signed_request(Request(scope))):
            return Match.NONE, {}
        return Match.FULL, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._service.answer(Request(scope, receive))
        await response(scope, receive, send)


async def _read_body(request: Request) -> bytes:
    """The body, as far as it can be an object's: nobody has proved who he is yet."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    return bytes(body)


def _max_keys(text: str | None) -> int:
    if text is not None and not re.fullmatch(r"[0-9]{1,9}", text):
        raise S3Error("InvalidArgument", "max-keys must be an integer between 0 and 2147483647")
    return min(1000, int(text or 1000))


def _wrong_method() -> S3Error:
    return S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.")

"""S3's errors: a code, a status, and an XML body that tells both.

Source: Amazon S3 API Reference, "Error responses" (codes, statuses, the shape of the XML).
"""

import secrets
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

from starlette.responses import Response

_STATUSES: Final = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "EntityTooLarge": 400,
    "IncompleteBody": 400,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "KeyTooLongError": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}


class S3Error(Exception):
    """S3 refuses a request.

    Args:
        code: S3's name of the error.
        message: A sentence.
        **members: More members of the XML body.
    """

    def __init__(self, code: str, message: str, **members: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = members

    @property
    def status(self) -> int:
        """HTTP status."""
        return _STATUSES[self.code]


def error_response(error: S3Error, resource: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that an S3 client turns into an exception of the right name."""
    request_id = secrets.token_hex(8).upper()
    members = {"Code": error.code, "Message": error.message, **error.members, "Resource": resource}
    body = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in members.items())
    return Response(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{body}<RequestId>{request_id}</RequestId></Error>',
        status_code=error.status,
        media_type="application/xml",
        headers={"x-amz-request-id": request_id, **(headers or {})},
    )

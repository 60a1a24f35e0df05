"""Signatures of S3 requests, AWS Signature Version 4: in a header, or in the query of a presigned URL. No I/O.

Source: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)": canonical request, string to sign,
signing key, the parameters of a presigned URL and their limits. botocore is the judge in the tests.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from bridge.lab.s3_errors import S3Error

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
MAX_EXPIRES_S: Final = 604800
"""A presigned URL lives seven days at most."""
MAX_SKEW_S: Final = 900.0
_DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_HEADER: Final = re.compile(
    rf"{ALGORITHM} +Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{{64}})"
)
_QUERY_MEMBERS: Final = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")


@dataclass(frozen=True)
class AccessKey:
    """Who signs."""

    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class SignedRequest:
    """What of a request is signed.

    Attributes:
        method: HTTP method.
        path: Path as it was sent, in percent form.
        query: Query as it was sent, without the question mark.
        headers: Header fields, names in lower case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's parameters, decoded."""
        return parse_qsl(self.query, keep_blank_values=True)


@dataclass(frozen=True)
class _Claim:
    """What a request says about its signature."""

    credential: str
    signed_headers: Sequence[str]
    signature: str
    date: str
    payload: str

    @property
    def scope(self) -> str:
        return self.credential.partition("/")[2]


def presign(  # noqa: PLR0917 - what a presigned URL consists of
    method: str, url: str, key: AccessKey, region: str, now_s: float, expires_s: int
) -> str:
    """Sign a URL, so that it opens what is behind it for a time.

    Args:
        method: The only method it works with.
        url: Absolute URL without a query.
        key: Who signs.
        region: Region of the credential scope.
        now_s: Epoch seconds.
        expires_s: Seconds that it shall live.
    """
    split = urlsplit(url)
    date = datetime.fromtimestamp(now_s, UTC).strftime(_DATE_FORMAT)
    credential = f"{key.key_id}/{date[:8]}/{region}/s3/aws4_request"
    query = _encode(
        {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": credential,
            "X-Amz-Date": date,
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": "host",
        }.items()
    )
    request = SignedRequest(method, split.path, query, {"host": split.netloc})
    claim = _Claim(credential, ["host"], "", date, UNSIGNED_PAYLOAD)
    return f"{url}?{query}&X-Amz-Signature={_sign(request, claim, key)}"


def signed_service(request: SignedRequest) -> str | None:
    """Service in the credential scope that a request names, whether it is genuine or not; None for an unsigned one."""
    match = _HEADER.match(request.headers.get("authorization", ""))
    credential = match[1] if match else dict(request.parameters).get("X-Amz-Credential")
    if credential is None:
        return None
    parts = credential.split("/")
    return parts[-2] if len(parts) >= 5 else None


def check_signature(request: SignedRequest, keys: Iterable[AccessKey], region: str, now_s: float) -> str:
    """Check that a request was signed by someone whom we know, in time, and was not changed since.

    Returns:
        The payload's claimed SHA-256 in hex, or one of S3's words such as ``UNSIGNED-PAYLOAD``.

    Raises:
        S3Error: With the code that S3 gives.
    """
    parameters = dict(request.parameters)
    if "X-Amz-Signature" in parameters or "X-Amz-Algorithm" in parameters:
        claim = _claim_of_query(parameters, now_s)
    elif "authorization" in request.headers:
        claim = _claim_of_header(request, now_s)
    elif "Signature" in parameters and "AWSAccessKeyId" in parameters:
        raise S3Error(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    else:
        raise S3Error("AccessDenied", "Access Denied")
    in_query = "authorization" not in request.headers
    _check_scope(claim, region, in_query=in_query)
    if unsigned := [
        name for name in request.headers if name.startswith("x-amz-") and name not in claim.signed_headers
    ]:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(unsigned),
        )
    key_id = claim.credential.partition("/")[0]
    key = next((each for each in keys if each.key_id == key_id), None)
    if key is None:
        raise S3Error(
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
            AWSAccessKeyId=key_id,
        )
    if not hmac.compare_digest(_sign(request, claim, key), claim.signature):
        raise S3Error(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            AWSAccessKeyId=key_id,
        )
    return claim.payload


def _claim_of_query(parameters: Mapping[str, str], now_s: float) -> _Claim:
    if missing := [name for name in _QUERY_MEMBERS if f"X-Amz-{name}" not in parameters]:
        raise _bad_query(f"Query-string authentication needs the X-Amz-{missing[0]} parameter")
    algorithm, credential, date, expires, signed, signature = (
        parameters[f"X-Amz-{name}"] for name in _QUERY_MEMBERS
    )
    if algorithm != ALGORITHM:
        raise _bad_query(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    signed_at_s = _time_of(date)
    if signed_at_s is None:
        raise _bad_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if not re.fullmatch(r"-?[0-9]{1,18}", expires):
        raise _bad_query("X-Amz-Expires should be a number")
    if int(expires) < 0:
        raise _bad_query("X-Amz-Expires must be non-negative")
    if int(expires) > MAX_EXPIRES_S:
        raise _bad_query("X-Amz-Expires must be less than a week (in seconds); that is, 604800")
    if now_s < signed_at_s - MAX_SKEW_S:
        raise S3Error("AccessDenied", "Request is not yet valid")
    if now_s >= signed_at_s + int(expires):
        raise S3Error(
            "AccessDenied",
            "Request has expired",
            **{"X-Amz-Expires": expires},
            Expires=_iso(signed_at_s + int(expires)),
            ServerTime=_iso(now_s),
        )
    payload = parameters.get("X-Amz-Content-Sha256") or UNSIGNED_PAYLOAD
    return _Claim(credential, signed.split(";"), signature, date, payload)


def _claim_of_header(request: SignedRequest, now_s: float) -> _Claim:
    match = _HEADER.fullmatch(request.headers["authorization"].strip())
    if match is None:
        raise S3Error("AuthorizationHeaderMalformed", "The authorization header is malformed")
    date = request.headers.get("x-amz-date", "")
    signed_at_s = _time_of(date)
    if signed_at_s is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    if abs(now_s - signed_at_s) > MAX_SKEW_S:
        raise S3Error(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            RequestTime=date,
            ServerTime=_iso(now_s),
            MaxAllowedSkewMilliseconds=str(int(MAX_SKEW_S * 1000)),
        )
    payload = request.headers.get("x-amz-content-sha256")
    if payload is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return _Claim(match[1], match[2].split(";"), match[3], date, payload)


def _check_scope(claim: _Claim, region: str, *, in_query: bool) -> None:
    code = "AuthorizationQueryParametersError" if in_query else "AuthorizationHeaderMalformed"
    parts = claim.scope.split("/")
    if len(parts) != 4 or parts[2:] != ["s3", "aws4_request"] or parts[0] != claim.date[:8]:
        raise S3Error(code, "The credential must be KEY/YYYYMMDD/REGION/s3/aws4_request")
    if parts[1] != region:
        raise S3Error(code, f"The region '{parts[1]}' is wrong; expecting '{region}'", Region=region)
    if "host" not in claim.signed_headers:
        raise S3Error(code, "The host header must be signed")


def _sign(request: SignedRequest, claim: _Claim, key: AccessKey) -> str:
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in claim.signed_headers
    )
    query = _encode(pair for pair in request.parameters if pair[0] != "X-Amz-Signature")
    canonical = "\n".join(
        (
            request.method,
            quote(unquote(request.path), safe="/~"),
            query,
            headers,
            ";".join(claim.signed_headers),
            claim.payload,
        )
    )
    text = "\n".join((ALGORITHM, claim.date, claim.scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signing_key = f"AWS4{key.secret}".encode()
    for part in claim.scope.split("/"):
        signing_key = _hmac(signing_key, part)
    return _hmac(signing_key, text).hex()


def _encode(parameters: Iterable[tuple[str, str]]) -> str:
    return "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in parameters))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _time_of(date: str) -> float | None:
    try:
        return datetime.strptime(date, _DATE_FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bad_query(message: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", message)

"""The operator's side of AWS IoT: one session for AWS or for a local cloud, and its errors as ours.

Everything in ``bridge.cloud.deploy_*`` goes through this. boto3 is loaded when it is needed only (extra ``aws``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from bridge.cloud.local_state import LocalCloudState
from bridge.errors import CloudError, UsageError
from bridge.extras import missing_extra

_CONNECT_TIMEOUT_S: Final = 10
_READ_TIMEOUT_S: Final = 30
_ATTEMPTS: Final = 8
"""Throttled and unanswered requests are repeated by botocore, with growing pauses."""

_LOCAL_ATTEMPTS: Final = 3
"""A local cloud that does not answer is not there."""

NOT_FOUND_REASON: Final = "not-found"
EXISTS_REASON: Final = "already-exists"
_REASONS: Final = {
    "ResourceNotFoundException": NOT_FOUND_REASON,
    "NoSuchBucket": NOT_FOUND_REASON,
    "NoSuchKey": NOT_FOUND_REASON,
    "404": NOT_FOUND_REASON,
    "ResourceAlreadyExistsException": EXISTS_REASON,
    "BucketAlreadyExists": EXISTS_REASON,
    "InvalidRequestException": "invalid-request",
    "InvalidStateTransitionException": "invalid-state-transition",
    "VersionConflictException": "version-conflict",
    "LimitExceededException": "limit-exceeded",
    "DeleteConflictException": "in-use",
    "AccessDenied": "not-authorized",
    "AccessDeniedException": "not-authorized",
    "UnauthorizedException": "not-authorized",
    "403": "not-authorized",
    "UnrecognizedClientException": "bad-credentials",
    "InvalidClientTokenId": "bad-credentials",
    "InvalidAccessKeyId": "bad-credentials",
    "SignatureDoesNotMatch": "bad-credentials",
    "ExpiredToken": "bad-credentials",
    "ExpiredTokenException": "bad-credentials",
    "InvalidSignatureException": "bad-credentials",
    "ThrottlingException": "throttled",
    "TooManyRequestsException": "throttled",
    "SlowDown": "throttled",
}
_HINTS: Final = {
    NOT_FOUND_REASON: "Check the name, and that it is the right account and region (or --cloud-state).",
    "not-authorized": "Allow the action in the IAM policy of these credentials.",
    "bad-credentials": "Check the profile, or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
    "throttled": "Wait a minute; AWS IoT limits how often its API may be asked.",
}


@dataclass(frozen=True)
class CloudAccess:
    """Which cloud, and as whom.

    Attributes:
        endpoint_url: API of a local cloud; None for AWS.
        ca_file: Authority of its certificate (PEM); None for the system's.
        profile: Profile of the AWS configuration.
        region: AWS region; None for the profile's or the environment's.
        access_key: Key id and secret; None for what boto3 finds.
        mqtt_endpoint: ``host:port`` of the broker, if it is known already.
        bucket: Bucket to use if nobody names one.
    """

    endpoint_url: str | None = None
    ca_file: Path | None = None
    profile: str | None = None
    region: str | None = None
    access_key: tuple[str, str] | None = field(default=None, repr=False)
    mqtt_endpoint: str | None = None
    bucket: str | None = None

    @classmethod
    def of_local_cloud(cls, directory: Path) -> Self:
        """Of the local cloud with this state directory.

        Raises:
            UsageError: There is none.
        """
        state = LocalCloudState.read(directory)
        return cls(
            endpoint_url=state.endpoint_url,
            ca_file=state.ca_file,
            region=state.region,
            access_key=(state.access_key_id, state.secret_access_key),
            mqtt_endpoint=state.mqtt_endpoint,
            bucket=state.bucket,
        )


class ControlPlane:
    """Clients of AWS's services, as a context manager.

    Args:
        access: Which cloud, and as whom.

    Attributes:
        access: The same.

    Raises:
        UsageError: boto3 is not installed (``missing-extra``), there are no credentials or no region, or a file is missing.
    """

    def __init__(self, access: CloudAccess) -> None:
        self.access = access
        boto3 = _boto3()
        if access.ca_file is not None and not access.ca_file.is_file():
            raise UsageError(
                f"the authority's certificate {access.ca_file} cannot be read", reason="bad-certificate"
            )
        key_id, secret = access.access_key or (None, None)
        with translated("open an AWS session"):
            self._session: Any = boto3.Session(
                profile_name=access.profile,
                region_name=access.region,
                aws_access_key_id=key_id,
                aws_secret_access_key=secret,
            )
            if self._session.get_credentials() is None:
                raise _no_credentials()
        if self._session.region_name is None:
            raise UsageError(
                "no AWS region is set", reason="no-region", hint="Give --region, or set AWS_DEFAULT_REGION."
            )
        self._clients: list[Any] = []

    def __enter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()

    @property
    def region(self) -> str:
        """AWS region."""
        return str(self._session.region_name)

    @cached_property
    def iot(self) -> Any:
        """Client of AWS IoT's control plane."""
        return self._client("iot")

    @cached_property
    def s3(self) -> Any:
        """Client of S3."""
        return self._client("s3")

    def describe_endpoint(self) -> str:
        """``host`` or ``host:port`` of the broker.

        Raises:
            CloudError: The cloud does not answer, or refuses.
        """
        with translated("ask for the broker's address"):
            return str(self.iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])

    def _client(self, service: str) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        local = self.access.endpoint_url is not None
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _LOCAL_ATTEMPTS if local else _ATTEMPTS},
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            signature_version="s3v4" if service == "s3" else None,
            s3={"addressing_style": "path"} if local else None,
            proxies={} if local else None,
        )
        verify = None if self.access.ca_file is None else str(self.access.ca_file)
        with translated(f"open a session with {service}"):
            client = self._session.client(
                service, endpoint_url=self.access.endpoint_url, verify=verify, config=config
            )
        self._clients.append(client)
        return client


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what boto3 raises into our errors.

    Args:
        what: What was being done, for the message: "cannot ...".

    Raises:
        UsageError: Credentials, region or profile are missing, or a value is not possible.
        CloudError: The service refuses, or cannot be reached.
    """
    _boto3()
    from botocore import exceptions  # noqa: PLC0415

    try:
        yield
    except exceptions.ClientError as error:
        raise refusal(what, error.response) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise _no_credentials() from error
    except (
        exceptions.ProfileNotFound,
        exceptions.NoRegionError,
        exceptions.InvalidRegionError,
        exceptions.ParamValidationError,
        ValueError,
    ) as error:
        raise UsageError(f"cannot {what}: {error}", reason="bad-aws-options") from error
    except exceptions.SSLError as error:
        raise CloudError(
            f"cannot {what}: the server's certificate cannot be trusted ({_cause(error)})",
            reason="tls",
            hint="For a local cloud give its --ca file, or --cloud-state.",
        ) from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise CloudError(
            f"cannot {what}: {_cause(error)}",
            reason="api-unreachable",
            hint="Check network, region and --endpoint-url; for a local cloud, that it runs.",
        ) from error
    except exceptions.BotoCoreError as error:
        raise CloudError(f"cannot {what}: {error}", reason="aws") from error


def refusal(what: str, answer: Any) -> CloudError:
    """The error for an answer of a service that is one."""
    code = str(answer.get("Error", {}).get("Code", "unknown"))
    message = str(answer.get("Error", {}).get("Message") or answer.get("message") or "no message")
    reason = _REASONS.get(code, "refused-by-cloud")
    return CloudError(
        f"cannot {what}: {message.rstrip('.')} ({code})", reason=reason, hint=_HINTS.get(reason)
    )


def _cause(error: Any) -> str:
    return str(error).strip().rstrip(".")


def _no_credentials() -> UsageError:
    return UsageError(
        "there are no AWS credentials",
        reason="no-credentials",
        hint="Give --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a local cloud give --cloud-state.",
    )


def _boto3() -> Any:
    try:
        import boto3  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("AWS commands need", error, "aws") from error
    return boto3

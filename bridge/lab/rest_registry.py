"""AWS IoT's control plane for certificates and policies over HTTP, as much as provisioning tools need.

Source: botocore's ``iot`` model (paths, members, where they go). Lists come on one page.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from cryptography import x509
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bridge.lab.jobs_model import JobsRejectedError
from bridge.lab.pki import LabPki
from bridge.lab.registry import Registry
from bridge.lab.registry_model import Certificate, Policy, RegistryRefusedError, check_status
from bridge.lab.rest_errors import error_response
from bridge.lab.rest_values import query_flag, read_object

Handler = Callable[[Request], Awaitable[Response]]


def registry_routes(registry: Registry, pki: LabPki) -> list[BaseRoute]:
    """Give starlette routes.

    Args:
        registry: The store.
        pki: Issues the certificates.
    """
    rest = RegistryRest(registry, pki)
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/keys-and-certificate", rest.create_keys_and_certificate),
        ("POST", "/certificates", rest.create_certificate_from_csr),
        ("GET", "/certificates", rest.list_certificates),
        ("POST", "/certificate/register-no-ca", rest.register_certificate),
        ("GET", "/certificates/{certificate}", rest.describe_certificate),
        ("PUT", "/certificates/{certificate}", rest.update_certificate),
        ("DELETE", "/certificates/{certificate}", rest.delete_certificate),
        ("GET", "/things/{thing}/principals", rest.list_thing_principals),
        ("PUT", "/things/{thing}/principals", rest.attach_thing_principal),
        ("DELETE", "/things/{thing}/principals", rest.detach_thing_principal),
        ("GET", "/principals/things", rest.list_principal_things),
        ("GET", "/policies", rest.list_policies),
        ("POST", "/policies/{policy}", rest.create_policy),
        ("GET", "/policies/{policy}", rest.get_policy),
        ("DELETE", "/policies/{policy}", rest.delete_policy),
        ("POST", "/policies/{policy}/version", rest.create_policy_version),
        ("GET", "/policies/{policy}/version", rest.list_policy_versions),
        ("DELETE", "/policies/{policy}/version/{version}", rest.delete_policy_version),
        ("PUT", "/target-policies/{policy}", rest.attach_policy),
        ("POST", "/target-policies/{policy}", rest.detach_policy),
        ("POST", "/attached-policies/{target:path}", rest.list_attached_policies),
        ("POST", "/policy-targets/{policy}", rest.list_targets),
    ]
    return [Route(path, _translating(handler), methods=[method]) for method, path, handler in table]


class RegistryRest:
    """HTTP handlers over a registry.

    Args:
        registry: The store.
        pki: Issues the certificates.
    """

    def __init__(self, registry: Registry, pki: LabPki) -> None:
        self._registry = registry
        self._pki = pki

    async def create_keys_and_certificate(self, request: Request) -> Response:
        """CreateKeysAndCertificate: a pair of RSA keys, as from AWS."""
        cert_pem, key_pem, public_pem = self._pki.issue_with_key()
        certificate = self._registry.register(cert_pem, active=query_flag(request, "setAsActive"))
        return JSONResponse(
            {**_new(certificate), "keyPair": {"PublicKey": public_pem, "PrivateKey": key_pem}}
        )

    async def create_certificate_from_csr(self, request: Request) -> Response:
        """CreateCertificateFromCsr: the key stays where it was made."""
        body = await read_object(request)
        try:
            cert_pem = self._pki.sign_request(_text(body, "certificateSigningRequest"))
        except ValueError as error:
            raise RegistryRefusedError(
                "InvalidRequestException", f"the certificate signing request is none: {error}"
            ) from None
        return JSONResponse(
            _new(self._registry.register(cert_pem, active=query_flag(request, "setAsActive")))
        )

    async def register_certificate(self, request: Request) -> Response:
        """RegisterCertificateWithoutCA: any certificate, whoever signed it."""
        body = await read_object(request)
        status = check_status(body.get("status", "INACTIVE"))
        certificate = self._registry.register(_text(body, "certificatePem"), active=status == "ACTIVE")
        return JSONResponse(_reference(certificate))

    async def list_certificates(self, _request: Request) -> Response:
        """ListCertificates."""
        return JSONResponse({"certificates": [_summary(each) for each in self._registry.certificates]})

    async def describe_certificate(self, request: Request) -> Response:
        """DescribeCertificate."""
        certificate = self._registry.certificate(request.path_params["certificate"])
        parsed = x509.load_pem_x509_certificate(certificate.pem.encode())
        return JSONResponse(
            {
                "certificateDescription": {
                    **_summary(certificate),
                    "certificatePem": certificate.pem,
                    "lastModifiedDate": certificate.modified_at,
                    "certificateMode": "DEFAULT",
                    "validity": {
                        "notBefore": parsed.not_valid_before_utc.timestamp(),
                        "notAfter": parsed.not_valid_after_utc.timestamp(),
                    },
                }
            }
        )

    async def update_certificate(self, request: Request) -> Response:
        """UpdateCertificate: its status."""
        status = check_status(request.query_params.get("newStatus"))
        self._registry.set_status(request.path_params["certificate"], status)
        return JSONResponse({})

    async def delete_certificate(self, request: Request) -> Response:
        """DeleteCertificate."""
        self._registry.delete_certificate(
            request.path_params["certificate"], force=query_flag(request, "forceDelete")
        )
        return JSONResponse({})

    async def list_thing_principals(self, request: Request) -> Response:
        """ListThingPrincipals."""
        return JSONResponse({"principals": self._registry.principals_of(request.path_params["thing"])})

    async def attach_thing_principal(self, request: Request) -> Response:
        """AttachThingPrincipal."""
        self._registry.attach_thing(request.path_params["thing"], _principal(request))
        return JSONResponse({})

    async def detach_thing_principal(self, request: Request) -> Response:
        """DetachThingPrincipal."""
        self._registry.detach_thing(request.path_params["thing"], _principal(request))
        return JSONResponse({})

    async def list_principal_things(self, request: Request) -> Response:
        """ListPrincipalThings."""
        return JSONResponse({"things": self._registry.by_arn(_principal(request)).things})

    async def list_policies(self, _request: Request) -> Response:
        """ListPolicies."""
        return JSONResponse({"policies": [_named(each) for each in self._registry.policies]})

    async def create_policy(self, request: Request) -> Response:
        """CreatePolicy."""
        body = await read_object(request)
        policy = self._registry.create_policy(request.path_params["policy"], _text(body, "policyDocument"))
        return JSONResponse(
            {**_named(policy), "policyDocument": policy.default.text, "policyVersionId": policy.default_id}
        )

    async def get_policy(self, request: Request) -> Response:
        """GetPolicy."""
        policy = self._registry.policy(request.path_params["policy"])
        return JSONResponse(
            {
                **_named(policy),
                "policyDocument": policy.default.text,
                "defaultVersionId": policy.default_id,
                "creationDate": policy.versions[0].created_at,
                "lastModifiedDate": policy.versions[-1].created_at,
                "generationId": str(policy.last_number),
            }
        )

    async def delete_policy(self, request: Request) -> Response:
        """DeletePolicy."""
        self._registry.delete_policy(request.path_params["policy"])
        return JSONResponse({})

    async def create_policy_version(self, request: Request) -> Response:
        """CreatePolicyVersion."""
        body, name = await read_object(request), request.path_params["policy"]
        default = query_flag(request, "setAsDefault")
        version = self._registry.create_policy_version(
            name, _text(body, "policyDocument"), make_default=default
        )
        return JSONResponse(
            {
                "policyArn": self._registry.policy(name).arn,
                "policyDocument": version.text,
                "policyVersionId": version.version_id,
                "isDefaultVersion": default,
            }
        )

    async def list_policy_versions(self, request: Request) -> Response:
        """ListPolicyVersions."""
        policy = self._registry.policy(request.path_params["policy"])
        versions = [
            {
                "versionId": each.version_id,
                "isDefaultVersion": each.version_id == policy.default_id,
                "createDate": each.created_at,
            }
            for each in policy.versions
        ]
        return JSONResponse({"policyVersions": versions})

    async def delete_policy_version(self, request: Request) -> Response:
        """DeletePolicyVersion."""
        self._registry.delete_policy_version(request.path_params["policy"], request.path_params["version"])
        return JSONResponse({})

    async def attach_policy(self, request: Request) -> Response:
        """AttachPolicy."""
        body = await read_object(request)
        self._registry.attach_policy(request.path_params["policy"], _text(body, "target"))
        return JSONResponse({})

    async def detach_policy(self, request: Request) -> Response:
        """DetachPolicy."""
        body = await read_object(request)
        self._registry.detach_policy(request.path_params["policy"], _text(body, "target"))
        return JSONResponse({})

    async def list_attached_policies(self, request: Request) -> Response:
        """ListAttachedPolicies."""
        certificate = self._registry.by_arn(request.path_params["target"])
        names = [_named(self._registry.policy(name)) for name in certificate.policies]
        return JSONResponse({"policies": names})

    async def list_targets(self, request: Request) -> Response:
        """ListTargetsForPolicy."""
        policy = self._registry.policy(request.path_params["policy"])
        return JSONResponse({"targets": self._registry.targets_of(policy.name)})


def _text(body: dict[str, Any], member: str) -> str:
    value = body.get(member)
    if not isinstance(value, str) or not value:
        raise RegistryRefusedError("InvalidRequestException", f"{member} is missing")
    return value


def _principal(request: Request) -> str:
    return request.headers.get("x-amzn-principal", "")


def _reference(certificate: Certificate) -> dict[str, object]:
    return {"certificateArn": certificate.arn, "certificateId": certificate.certificate_id}


def _new(certificate: Certificate) -> dict[str, object]:
    return {**_reference(certificate), "certificatePem": certificate.pem}


def _summary(certificate: Certificate) -> dict[str, object]:
    return {
        **_reference(certificate),
        "status": certificate.status,
        "creationDate": certificate.created_at,
    }


def _named(policy: Policy) -> dict[str, object]:
    return {"policyName": policy.name, "policyArn": policy.arn}


def _translating(handler: Handler) -> Handler:
    async def translated(request: Request) -> Response:
        try:
            return await handler(request)
        except RegistryRefusedError as refusal:
            return JSONResponse(
                {"message": refusal.message},
                status_code=refusal.status,
                headers={"x-amzn-ErrorType": refusal.name},
            )
        except JobsRejectedError as rejection:  # the request is no JSON
            return error_response(rejection)

    return translated

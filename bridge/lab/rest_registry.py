"""AWS IoT's control plane for certificates and policies, as much as provisioning tools need.

Source: botocore's ``iot`` model, to which requests are held before they come here (:mod:`bridge.lab.rest`). Certificates are
listed in pages as AWS does, by markers; what else is listed is short.
"""

from collections.abc import Mapping
from typing import Any

from cryptography import x509

from bridge.lab.pki import LabPki
from bridge.lab.registry import Registry
from bridge.lab.registry_model import Certificate, Policy, RegistryRefusedError, check_status

Members = Mapping[str, Any]


class RegistryRest:
    """Handlers over a registry, by the operation's name.

    Args:
        registry: The store.
        pki: Issues the certificates.
    """

    def __init__(self, registry: Registry, pki: LabPki) -> None:
        self._registry = registry
        self._pki = pki
        self.handlers = {
            "CreateKeysAndCertificate": self.create_keys_and_certificate,
            "CreateCertificateFromCsr": self.create_certificate_from_csr,
            "RegisterCertificateWithoutCA": self.register_certificate,
            "ListCertificates": self.list_certificates,
            "DescribeCertificate": self.describe_certificate,
            "UpdateCertificate": self.update_certificate,
            "DeleteCertificate": self.delete_certificate,
            "ListThingPrincipals": self.list_thing_principals,
            "AttachThingPrincipal": self.attach_thing_principal,
            "DetachThingPrincipal": self.detach_thing_principal,
            "ListPrincipalThings": self.list_principal_things,
            "ListPolicies": self.list_policies,
            "CreatePolicy": self.create_policy,
            "GetPolicy": self.get_policy,
            "DeletePolicy": self.delete_policy,
            "CreatePolicyVersion": self.create_policy_version,
            "ListPolicyVersions": self.list_policy_versions,
            "GetPolicyVersion": self.get_policy_version,
            "SetDefaultPolicyVersion": self.set_default_policy_version,
            "DeletePolicyVersion": self.delete_policy_version,
            "AttachPolicy": self.attach_policy,
            "DetachPolicy": self.detach_policy,
            "ListAttachedPolicies": self.list_attached_policies,
            "ListTargetsForPolicy": self.list_targets,
        }

    def create_keys_and_certificate(self, members: Members) -> Members:
        """A pair of RSA keys, as from AWS."""
        cert_pem, key_pem, public_pem = self._pki.issue_with_key()
        certificate = self._registry.register(cert_pem, active=members.get("setAsActive", False))
        return {**_new(certificate), "keyPair": {"PublicKey": public_pem, "PrivateKey": key_pem}}

    def create_certificate_from_csr(self, members: Members) -> Members:
        """The key stays where it was made."""
        try:
            cert_pem = self._pki.sign_request(members["certificateSigningRequest"])
        except ValueError as error:
            raise RegistryRefusedError(
                "InvalidRequestException", f"the certificate signing request is none: {error}"
            ) from None
        return _new(self._registry.register(cert_pem, active=members.get("setAsActive", False)))

    def register_certificate(self, members: Members) -> Members:
        """Any certificate, whoever signed it."""
        status = check_status(members.get("status", "INACTIVE"))
        return _reference(self._registry.register(members["certificatePem"], active=status == "ACTIVE"))

    def list_certificates(self, members: Members) -> Members:
        """By time of creation, in pages."""
        found = self._registry.certificates
        if not members.get("ascendingOrder", False):
            found = found[::-1]
        names = [each.certificate_id for each in found]
        start = names.index(members["marker"]) + 1 if members.get("marker") in names else 0
        end = start + members.get("pageSize", 25)
        more = {"nextMarker": names[end - 1]} if end < len(found) else {}
        return {"certificates": [_summary(each) for each in found[start:end]], **more}

    def describe_certificate(self, members: Members) -> Members:
        """One certificate."""
        certificate = self._registry.certificate(members["certificateId"])
        parsed = x509.load_pem_x509_certificate(certificate.pem.encode())
        return {
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

    def update_certificate(self, members: Members) -> Members:
        """Its status."""
        self._registry.set_status(members["certificateId"], check_status(members["newStatus"]))
        return {}

    def delete_certificate(self, members: Members) -> Members:
        """One that is not active."""
        self._registry.delete_certificate(members["certificateId"], force=members.get("forceDelete", False))
        return {}

    def list_thing_principals(self, members: Members) -> Members:
        """Certificates of a thing."""
        return {"principals": self._registry.principals_of(members["thingName"])}

    def attach_thing_principal(self, members: Members) -> Members:
        """A certificate to a thing."""
        self._registry.attach_thing(members["thingName"], members["principal"])
        return {}

    def detach_thing_principal(self, members: Members) -> Members:
        """A certificate from a thing."""
        self._registry.detach_thing(members["thingName"], members["principal"])
        return {}

    def list_principal_things(self, members: Members) -> Members:
        """Things of a certificate."""
        return {"things": self._registry.by_arn(members["principal"]).things}

    def list_policies(self, _members: Members) -> Members:
        """All policies."""
        return {"policies": [_named(each) for each in self._registry.policy_book.every]}

    def create_policy(self, members: Members) -> Members:
        """With its first version."""
        policy = self._registry.policy_book.create(members["policyName"], members["policyDocument"])
        return {**_named(policy), "policyDocument": policy.default.text, "policyVersionId": policy.default_id}

    def get_policy(self, members: Members) -> Members:
        """The version in force."""
        policy = self._registry.policy_book.get(members["policyName"])
        return {
            **_named(policy),
            "policyDocument": policy.default.text,
            "defaultVersionId": policy.default_id,
            "creationDate": policy.versions[0].created_at,
            "lastModifiedDate": policy.versions[-1].created_at,
            "generationId": str(policy.last_number),
        }

    def delete_policy(self, members: Members) -> Members:
        """One that is not attached."""
        self._registry.policy_book.delete(members["policyName"])
        return {}

    def create_policy_version(self, members: Members) -> Members:
        """One more version."""
        name, default = members["policyName"], members.get("setAsDefault", False)
        version = self._registry.policy_book.create_version(
            name, members["policyDocument"], make_default=default
        )
        return {
            "policyArn": self._registry.policy_book.get(name).arn,
            "policyDocument": version.text,
            "policyVersionId": version.version_id,
            "isDefaultVersion": default,
        }

    def list_policy_versions(self, members: Members) -> Members:
        """All versions."""
        policy = self._registry.policy_book.get(members["policyName"])
        versions = [
            {
                "versionId": each.version_id,
                "isDefaultVersion": each.version_id == policy.default_id,
                "createDate": each.created_at,
            }
            for each in policy.versions
        ]
        return {"policyVersions": versions}

    def get_policy_version(self, members: Members) -> Members:
        """One version."""
        policy = self._registry.policy_book.get(members["policyName"])
        version = policy.version(members["policyVersionId"])
        return {
            **_named(policy),
            "policyDocument": version.text,
            "policyVersionId": version.version_id,
            "isDefaultVersion": version.version_id == policy.default_id,
            "creationDate": version.created_at,
            "lastModifiedDate": version.created_at,
            "generationId": version.version_id,
        }

    def set_default_policy_version(self, members: Members) -> Members:
        """Put another version in force."""
        self._registry.policy_book.set_default_version(members["policyName"], members["policyVersionId"])
        return {}

    def delete_policy_version(self, members: Members) -> Members:
        """One that is not in force."""
        self._registry.policy_book.delete_version(members["policyName"], members["policyVersionId"])
        return {}

    def attach_policy(self, members: Members) -> Members:
        """To a certificate."""
        self._registry.attach_policy(members["policyName"], members["target"])
        return {}

    def detach_policy(self, members: Members) -> Members:
        """From a certificate."""
        self._registry.detach_policy(members["policyName"], members["target"])
        return {}

    def list_attached_policies(self, members: Members) -> Members:
        """Policies of a certificate."""
        certificate = self._registry.by_arn(members["target"])
        return {"policies": [_named(self._registry.policy_book.get(name)) for name in certificate.policies]}

    def list_targets(self, members: Members) -> Members:
        """Certificates with a policy."""
        policy = self._registry.policy_book.get(members["policyName"])
        return {"targets": self._registry.targets_of(policy.name)}


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

"""boto3 as provisioning tools use it, against the local registry: certificates, policies, what is attached to what."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.cloud.thing_policy import policy_for
from bridge.lab.pki import LabPki
from bridge.lab.registry import Registry
from bridge.lab.rest import routes_of
from bridge.lab.rest_registry import RegistryRest
from hil_tests.lab_rig import Certificates, https_server

pytestmark = pytest.mark.contract

THING_ARN = "arn:aws:iot:us-east-1:000000000000:thing/thing-a"
POLICY = policy_for(THING_ARN)


@dataclass
class Office:
    """A registry behind boto3."""

    iot: Any
    registry: Registry
    pki: LabPki
    file: Path

    def certificate(self, *, active: bool = True) -> dict[str, Any]:
        answer: dict[str, Any] = self.iot.create_certificate_from_csr(
            certificateSigningRequest=request_pem(ec.generate_private_key(ec.SECP256R1())), setAsActive=active
        )
        return answer


def request_pem(key: ec.EllipticCurvePrivateKey, name: str = "thing-a") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Registry], Any, LabPki]]:
    """One HTTPS server and client for the module; each test has a registry of its own."""
    directory = tmp_path_factory.mktemp("registry")
    certificates, pki = Certificates(directory), LabPki(directory / "pki")
    current: list[Registry] = []
    rest = RegistryRest(_Current(current), pki)  # type: ignore[arg-type]
    with https_server(certificates, routes_of({"iot": rest.handlers})) as url:
        iot: Any = boto3.client(
            "iot",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="anything",
            aws_secret_access_key="goes",
            verify=str(certificates.ca_file),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        yield current, iot, pki
        iot.close()


class _Current:
    """Stands for the registry of the running test."""

    def __init__(self, current: list[Registry]) -> None:
        self._current = current

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current[-1], name)


@pytest.fixture
def office(server: tuple[list[Registry], Any, LabPki], tmp_path: Path) -> Office:
    current, iot, pki = server
    file = tmp_path / "registry.json"
    current.append(Registry(file, thing_exists=lambda name: name == "thing-a"))
    return Office(iot, current[-1], pki, file)


def refused(call: Any, **arguments: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_request_becomes_a_certificate_of_the_lab_authority(office: Office) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made = office.iot.create_certificate_from_csr(
        certificateSigningRequest=request_pem(key), setAsActive=True
    )
    certificate = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    authority = x509.load_pem_x509_certificate(office.pki.ca_file.read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert certificate.public_key() == key.public_key()
    assert certificate.fingerprint(hashes.SHA256()).hex() == made["certificateId"]
    described = office.iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
    assert (described["status"], described["certificateArn"]) == ("ACTIVE", made["certificateArn"])
    assert described["validity"]["notAfter"].year == 2049
    other = office.certificate()["certificateId"]
    pages = office.iot.get_paginator("list_certificates").paginate(PaginationConfig={"PageSize": 1})
    names = [each["certificateId"] for page in pages for each in page["certificates"]]
    assert names == [other, made["certificateId"]]


def test_keys_and_certificate_go_together(office: Office, tmp_path: Path) -> None:
    made = office.iot.create_keys_and_certificate(setAsActive=False)
    (tmp_path / "cert.pem").write_text(made["certificatePem"])
    (tmp_path / "key.pem").write_text(made["keyPair"]["PrivateKey"])
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    description = office.iot.describe_certificate(certificateId=made["certificateId"])
    assert description["certificateDescription"]["status"] == "INACTIVE"


def test_a_foreign_certificate_can_be_registered_once(office: Office, tmp_path: Path) -> None:
    pem = LabPki(tmp_path / "other").issue_client("thing-a")[0].read_text()
    made = office.iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
    again = refused(office.iot.register_certificate_without_ca, certificatePem=pem)
    assert again == ("ResourceAlreadyExistsException", 409)
    assert office.iot.describe_certificate(certificateId=made["certificateId"])
    broken = refused(office.iot.register_certificate_without_ca, certificatePem="-----BEGIN X-----")
    assert broken == ("CertificateValidationException", 400)


def test_what_is_attached_to_what(office: Office) -> None:
    arn = office.certificate()["certificateArn"]
    office.iot.attach_thing_principal(thingName="thing-a", principal=arn)
    office.iot.attach_thing_principal(thingName="thing-a", principal=arn)
    assert office.iot.list_thing_principals(thingName="thing-a")["principals"] == [arn]
    assert office.iot.list_principal_things(principal=arn)["things"] == ["thing-a"]
    office.iot.create_policy(policyName="p", policyDocument=POLICY)
    office.iot.attach_policy(policyName="p", target=arn)
    office.iot.attach_policy(policyName="p", target=arn)
    attached = office.iot.list_attached_policies(target=arn)["policies"]
    assert [each["policyName"] for each in attached] == ["p"]
    assert office.iot.list_targets_for_policy(policyName="p")["targets"] == [arn]
    office.iot.detach_policy(policyName="p", target=arn)
    office.iot.detach_thing_principal(thingName="thing-a", principal=arn)
    assert office.iot.list_thing_principals(thingName="thing-a")["principals"] == []
    assert office.iot.list_attached_policies(target=arn)["policies"] == []


def test_policies_have_versions(office: Office) -> None:
    made = office.iot.create_policy(policyName="p", policyDocument=POLICY)
    assert (made["policyVersionId"], made["policyDocument"]) == ("1", POLICY)
    assert refused(office.iot.create_policy, policyName="p", policyDocument=POLICY) == (
        "ResourceAlreadyExistsException",
        409,
    )
    other = POLICY.replace("thing-a", "thing-b")
    second = office.iot.create_policy_version(policyName="p", policyDocument=other, setAsDefault=True)
    assert (second["policyVersionId"], second["isDefaultVersion"]) == ("2", True)
    got = office.iot.get_policy(policyName="p")
    assert (got["defaultVersionId"], got["policyDocument"]) == ("2", other)
    for _ in range(3):
        office.iot.create_policy_version(policyName="p", policyDocument=other)
    full = refused(office.iot.create_policy_version, policyName="p", policyDocument=other)
    assert full == ("VersionsLimitExceededException", 409)
    in_force = refused(office.iot.delete_policy_version, policyName="p", policyVersionId="2")
    assert in_force == ("DeleteConflictException", 409)
    assert refused(office.iot.delete_policy, policyName="p") == ("DeleteConflictException", 409)
    for version in ("1", "3", "4", "5"):
        office.iot.delete_policy_version(policyName="p", policyVersionId=version)
    office.iot.create_policy_version(policyName="p", policyDocument=POLICY)
    office.iot.set_default_policy_version(policyName="p", policyVersionId="6")
    assert office.iot.get_policy(policyName="p")["policyDocument"] == POLICY
    assert office.iot.get_policy_version(policyName="p", policyVersionId="2")["policyDocument"] == other
    office.iot.set_default_policy_version(policyName="p", policyVersionId="2")
    office.iot.delete_policy_version(policyName="p", policyVersionId="6")
    versions = office.iot.list_policy_versions(policyName="p")["policyVersions"]
    assert [(each["versionId"], each["isDefaultVersion"]) for each in versions] == [("2", True)]
    assert [each["policyName"] for each in office.iot.list_policies()["policies"]] == ["p"]
    office.iot.delete_policy(policyName="p")
    assert refused(office.iot.get_policy, policyName="p") == ("ResourceNotFoundException", 404)


def test_what_is_in_use_is_not_deleted(office: Office) -> None:
    made = office.certificate()
    name, arn = made["certificateId"], made["certificateArn"]
    office.iot.create_policy(policyName="p", policyDocument=POLICY)
    office.iot.attach_policy(policyName="p", target=arn)
    office.iot.attach_thing_principal(thingName="thing-a", principal=arn)
    assert refused(office.iot.delete_policy, policyName="p") == ("DeleteConflictException", 409)
    delete = office.iot.delete_certificate
    assert refused(delete, certificateId=name) == ("CertificateStateException", 406)
    office.iot.update_certificate(certificateId=name, newStatus="INACTIVE")
    assert refused(delete, certificateId=name, forceDelete=True) == ("DeleteConflictException", 409)
    office.iot.detach_thing_principal(thingName="thing-a", principal=arn)
    assert refused(delete, certificateId=name) == ("DeleteConflictException", 409)
    delete(certificateId=name, forceDelete=True)
    assert refused(office.iot.describe_certificate, certificateId=name) == ("ResourceNotFoundException", 404)


def test_what_is_not_there_or_makes_no_sense_is_refused(office: Office) -> None:
    arn = office.certificate()["certificateArn"]
    unknown = f"{arn[:-64]}{'0' * 64}"
    not_found = ("ResourceNotFoundException", 404)
    iot = office.iot
    assert refused(iot.attach_thing_principal, thingName="thing-b", principal=arn) == not_found
    assert refused(iot.attach_thing_principal, thingName="thing-a", principal=unknown) == not_found
    assert refused(iot.attach_policy, policyName="none", target=arn) == not_found
    group = "arn:aws:iot:us-east-1:000000000000:thinggroup/g"
    iot.create_policy(policyName="p", policyDocument=POLICY)
    assert refused(iot.attach_policy, policyName="p", target=group) == ("InvalidRequestException", 400)
    malformed = refused(iot.create_policy, policyName="q", policyDocument='{"Version": "1"}')
    assert malformed == ("MalformedPolicyException", 400)
    assert refused(iot.create_certificate_from_csr, certificateSigningRequest="no request") == (
        "InvalidRequestException",
        400,
    )
    for number in range(10):
        iot.create_policy(policyName=f"p{number}", policyDocument=POLICY)
        iot.attach_policy(policyName=f"p{number}", target=arn)
    assert refused(iot.attach_policy, policyName="p", target=arn) == ("LimitExceededException", 410)


def test_the_broker_is_told_who_presents_a_certificate_and_only_while_it_is_active(office: Office) -> None:
    made = office.certificate()
    name, arn = made["certificateId"], made["certificateArn"]
    der = ssl.PEM_cert_to_DER_cert(made["certificatePem"])
    office.iot.create_policy(policyName="p", policyDocument=POLICY)
    office.iot.attach_policy(policyName="p", target=arn)
    office.iot.attach_thing_principal(thingName="thing-a", principal=arn)
    found = office.registry.principal(der)
    assert found is not None
    assert (found.certificate_id, found.things, len(found.policies)) == (name, frozenset({"thing-a"}), 1)
    reopened = Registry(office.file)
    assert reopened.principal(der) == found
    for status in ("INACTIVE", "REVOKED"):
        office.iot.update_certificate(certificateId=name, newStatus=status)
        assert office.registry.principal(der) is None
    assert office.registry.principal(b"another") is None

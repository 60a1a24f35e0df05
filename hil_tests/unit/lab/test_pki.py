"""The throw-away certificate authority."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from bridge.errors import UsageError
from bridge.lab.pki import LabPki


def test_a_thing_certificate_carries_the_thing_name(tmp_path: Path) -> None:
    cert_file, _ = LabPki(tmp_path / "pki").issue_client("thing:a_1")
    certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["thing:a_1"]


def test_server_and_client_trust_each_other(tmp_path: Path) -> None:
    pki = LabPki(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*pki.issue_server("bench.example"))
    client = ssl.create_default_context(cafile=str(pki.ca_file))
    client.load_cert_chain(*pki.issue_client("thing-a"))
    certificate = x509.load_pem_x509_certificate(pki.issue_server()[0].read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "bench.example"}


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    _, key_file = LabPki(tmp_path / "pki").issue_client("thing-a")
    keys = [key_file, *(tmp_path / "pki").glob("*.key")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_a_second_run_finds_the_same_ca_and_certificates(tmp_path: Path) -> None:
    first = LabPki(tmp_path)
    contents = [path.read_bytes() for path in (first.ca_file, *first.issue_client("thing-a"))]
    second = LabPki(tmp_path)
    assert [path.read_bytes() for path in (second.ca_file, *second.issue_client("thing-a"))] == contents


@pytest.mark.parametrize("name", ["", "../thing", "a/b", "a b", "x" * 129])
def test_a_name_that_is_no_thing_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="thing name"):
        LabPki(tmp_path).issue_client(name)


def test_half_a_ca_is_refused_rather_than_replaced(tmp_path: Path) -> None:
    LabPki(tmp_path)
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(UsageError, match="cannot use"):
        LabPki(tmp_path)

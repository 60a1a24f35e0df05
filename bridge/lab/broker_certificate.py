"""Read the certificate of a TLS connection into what policies ask about.

Source: AWS IoT Developer Guide, "X.509 certificate policy variables", for the names.
"""

import asyncio
from typing import Any, Final

from bridge.lab.broker_policy import ClientCertificate

_ATTRIBUTES: Final = {
    "dnQualifier": "DistinguishedNameQualifier",
    "countryName": "Country",
    "organizationName": "Organization",
    "organizationalUnitName": "OrganizationalUnit",
    "stateOrProvinceName": "State",
    "commonName": "CommonName",
    "serialNumber": "SerialNumber",
    "title": "Title",
    "surname": "Surname",
    "givenName": "GivenName",
    "initials": "Initials",
    "pseudonym": "Pseudonym",
    "generationQualifier": "GenerationQualifier",
}
_MAX_VALUES: Final = 5


def read_certificate(transport: asyncio.BaseTransport) -> ClientCertificate:
    """What the peer of a finished handshake proved."""
    parsed: dict[str, Any] = transport.get_extra_info("peercert") or {}
    tls = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    names: dict[str, tuple[str, ...]] = {}
    for party in ("subject", "issuer"):
        for name_part in parsed.get(party, ()):
            for key, value in name_part:
                if (attribute := _ATTRIBUTES.get(key)) is not None:
                    variable = f"iot:Certificate.{party.capitalize()}.{attribute}"
                    names[variable] = (*names.get(variable, ()), str(value))[:_MAX_VALUES]
    if "serialNumber" in parsed:
        names["iot:Certificate.SerialNumber"] = (str(parsed["serialNumber"]),)
    common_names = names.get("iot:Certificate.Subject.CommonName", ("",))
    return ClientCertificate(common_names[0], der or b"", names)

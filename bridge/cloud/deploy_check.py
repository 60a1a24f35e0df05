"""Checking a thing: everything that the agent needs, tried in the order in which it can fail, and the first that fails named.

The broker says little: a certificate that is not active, a policy without iot:Connect and an unknown client id all look like a
connection that drops. So each step is tried by itself, and who has the operator's rights is told what the registry says.
Source: AWS IoT Developer Guide, "Diagnosing connectivity issues", "Jobs device MQTT API"; TLS errors as OpenSSL names them.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from bridge.cloud.deploy import ControlPlane, translated
from bridge.cloud.deploy_things import certificate_id, describe_certificate, load_certificate
from bridge.cloud.deploy_trial import Trial
from bridge.cloud.endpoint import Endpoint, make_tls_context
from bridge.cloud.job_messages import JobTopics
from bridge.errors import BridgeError, CloudError

_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name: ``files``, ``registry``, ``address``, ``tls``, ``connect``, ``subscribe``, ``publish``, ``jobs``.
        text: What was seen, one sentence.
        reason: Code of what is wrong; None if nothing is.
        hint: What to do about it.
    """

    check: str
    text: str
    reason: str | None = None
    hint: str | None = None

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.reason is None


class ThingCheck:
    """Checks one thing as the agent would use it.

    Args:
        endpoint: Broker, files and client id, as for the agent.
        thing_name: The thing.
        plane: The operator's side, to say exactly what is missing; None without such rights.
        timeout_s: How long to wait for each answer.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        thing_name: str,
        *,
        plane: ControlPlane | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._endpoint = endpoint
        self._topics = JobTopics(thing_name)
        self._plane = plane
        self._timeout_s = timeout_s

    def run(self) -> Iterator[Finding]:
        """Check everything; ends with the first finding that stands in the way of all others."""
        steps: list[Callable[[], Iterator[Finding]]] = [self._files]
        steps += [self._registry] if self._plane is not None else []
        steps += [self._address, self._tls, self._broker]
        for step in steps:
            for finding in step():
                yield finding
                if (
                    not finding.good and step.__name__ != "_registry"
                ):  # the broker shall show what comes of it
                    return

    def _files(self) -> Iterator[Finding]:
        endpoint = self._endpoint
        assert endpoint.cert_file is not None
        try:
            make_tls_context(endpoint, lambda _: None)
            certificate = load_certificate(endpoint.cert_file)
        except BridgeError as error:
            yield Finding("files", error.message, error.reason, error.hint)
            return
        now = datetime.now(UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            yield Finding(
                "files",
                f"the certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d}"
                f" to {certificate.not_valid_after_utc:%Y-%m-%d}, and this computer says {now:%Y-%m-%d}",
                reason="certificate-expired",
                hint="Check this computer's clock, or make a new certificate.",
            )
            return
        yield Finding(
            "files", f"certificate {certificate_id(certificate)[:16]}... and its key belong together"
        )

    def _registry(self) -> Iterator[Finding]:
        assert self._plane is not None
        assert self._endpoint.cert_file is not None
        thing = self._topics.thing_name
        name = certificate_id(load_certificate(self._endpoint.cert_file))
        found = describe_certificate(self._plane, name)
        if found is None:
            yield Finding(
                "registry",
                f"this account and region do not know the certificate {name[:16]}...",
                reason="certificate-unknown",
                hint=f"Make one with: nrf91-bridge thing create {thing}",
            )
            return
        if found["status"] != "ACTIVE":
            yield Finding(
                "registry",
                f"the certificate is {found['status']}",
                reason="certificate-inactive",
                hint=f"aws iot update-certificate --certificate-id {name} --new-status ACTIVE",
            )
        arn = str(found["certificateArn"])
        with translated(f"see what is attached to the certificate of {thing}"):
            policies = self._plane.iot.list_attached_policies(target=arn)["policies"]
            things = self._plane.iot.list_principal_things(principal=arn)["things"]
        if not policies:
            yield Finding(
                "registry",
                "no policy is attached to the certificate, so it may do nothing",
                reason="policy-missing",
                hint=f"Attach one with: nrf91-bridge thing create {thing} (it keeps key and certificate)",
            )
        if thing not in things:
            yield Finding(
                "registry",
                f"the certificate is not attached to the thing {thing}"
                + (f", but to {', '.join(things)}" if things else ""),
                reason="thing-not-attached",
                hint="Policies with ${iot:Connection.Thing...} variables allow nothing then."
                f" nrf91-bridge thing create {thing} attaches it.",
            )
        told = self._plane.access.mqtt_endpoint or self._plane.describe_endpoint()
        if told.partition(":")[0].lower() != self._endpoint.host.lower():
            yield Finding(
                "registry",
                f"the broker of this account and region is {told}, not {self._endpoint.host}",
                reason="wrong-endpoint",
                hint=f"Give --endpoint {told}",
            )
        names = ", ".join(each["policyName"] for each in policies) or "none"
        yield Finding("registry", f"certificate {found['status']}, policies: {names}")

    def _address(self) -> Iterator[Finding]:
        host, port = self._endpoint.host, self._endpoint.port
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            yield Finding(
                "address",
                f"there is no host {host}: {error.strerror or error}",
                reason="endpoint-unknown",
                hint="Copy the name from: aws iot describe-endpoint --endpoint-type iot:Data-ATS",
            )
            return
        try:
            socket.create_connection((host, port), self._timeout_s).close()
        except OSError as error:
            yield Finding(
                "address",
                f"nothing answers at {host}:{port}: {error.strerror or error}",
                reason="broker-unreachable",
                hint="A firewall may block the port; AWS IoT also takes MQTT on 443 (--endpoint HOST:443).",
            )
            return
        yield Finding("address", f"{host}:{port} answers")

    def _tls(self) -> Iterator[Finding]:
        """Without our certificate's judgement: with TLS 1.3 that comes later."""
        context = make_tls_context(self._endpoint, lambda _: None)
        try:
            with (
                socket.create_connection(
                    (self._endpoint.host, self._endpoint.port), self._timeout_s
                ) as plain,
                context.wrap_socket(plain, server_hostname=self._endpoint.host) as secure,
            ):
                version = secure.version()
        except ssl.SSLCertVerificationError as error:
            yield self._untrusted(error)
        except OSError as error:
            why = getattr(error, "reason", None) or error.strerror or error
            yield Finding(
                "tls",
                f"the TLS handshake fails: {why}",
                reason="tls",
                hint="Check host and port; a broker that refuses the certificate can look like this too.",
            )
        else:
            yield Finding("tls", f"{version}, the broker's certificate is for {self._endpoint.host}")

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> Finding:
        host = self._endpoint.host
        if "mismatch" in error.verify_message or "doesn't match" in error.verify_message:
            hint = f"The certificate is for another name than {host}: check --endpoint."
        elif host.endswith(".amazonaws.com") and "-ats.iot." not in host:
            hint = (
                "Use the endpoint with -ats in its name; the old one has a certificate that no system trusts."
            )
        else:
            hint = (
                "Give the authority's certificate with --ca: AmazonRootCA1.pem, or ca.pem of a local cloud."
            )
        return Finding(
            "tls",
            f"the broker's certificate cannot be trusted: {error.verify_message}",
            reason="tls",
            hint=hint,
        )

    def _broker(self) -> Iterator[Finding]:
        client_id = self._endpoint.client_id
        endpoint = replace(self._endpoint)
        with Trial(endpoint, self._timeout_s) as trial:
            if (problem := trial.connect()) is not None:
                yield Finding(
                    "connect",
                    f"the broker does not let client id {client_id!r} in: {problem}",
                    reason="connection-refused-by-broker",
                    hint=f"The certificate must be active, and its policy must allow iot:Connect on client/{client_id}.",
                )
                return
            yield Finding("connect", f"the broker lets client id {client_id!r} in")
            refused = trial.subscribe(self._topics.filters)
            if refused:
                yield Finding(
                    "subscribe",
                    f"the broker refuses the subscription to {refused[0]}",
                    reason="subscription-refused",
                    hint=f"The policy must allow iot:Subscribe on topicfilter/{self._topics.prefix}*",
                )
                return
            yield Finding("subscribe", f"subscribed to {self._topics.prefix}...")
            yield from self._requests(trial)

    def _requests(self, trial: Trial) -> Iterator[Finding]:
        prefix = self._topics.prefix
        for check, request in (("publish", trial.ask_next), ("jobs", trial.ask_update)):
            try:
                answer = request(self._topics)
            except CloudError as error:
                hint = _PUBLISH_HINTS.get(error.reason, "Try again.").format(prefix)
                yield Finding(check, error.message, reason=error.reason, hint=hint)
                return
            if answer.refusal is not None:
                yield Finding(
                    check,
                    f"the Jobs service refuses ({answer.refusal}): {answer.text}",
                    reason="jobs-refused",
                    hint=f"Is there a thing {self._topics.thing_name} in this account and region?",
                )
                return
            yield Finding(check, answer.text)


_PUBLISH_HINTS: Final = {
    "publish-refused": "The policy must allow iot:Publish on topic/{}*",
    "no-answer": "The policy must allow iot:Receive on topic/{}*",
}

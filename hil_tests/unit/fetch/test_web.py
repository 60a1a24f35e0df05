"""Redirects, TLS, client certificates, environment, secrets."""

import logging
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3.exceptions
from requests import exceptions as requests_errors

from bridge.errors import BridgeError, CloudError, UsageError
from bridge.fetch import Download, DownloadOptions, HostRules, redact_url
from bridge.fetch.failure import RetryableError, translate
from bridge.fetch.http_client import redirected
from bridge.fetch.redact import hide_queries_in_logs, redact_text
from bridge.lab.https_server import HttpsServer
from bridge.lab.image_faults import ImageFault
from bridge.lab.image_server import ImageServer
from bridge.lab.pki import LabPki
from hil_tests.unit.fetch.conftest import CONTENT, FakeClock, Fetch, everything
from hil_tests.unit.fetch.origin import Origin, Reply, Request, Script, cut, status

SECRET = "X-Amz-Signature=PLANTED0SECRET"
MARK = "PLANTED0SECRET"


def to(location: str, code: int = 302) -> Script:
    return status(code, Location=location)


def error_of(download: Download) -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        download.wait_complete()
    return caught.value


# Redirects.


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["/there.bin?x=1", "there.bin?x=1", "?x=1", "//{host}/there.bin?x=1", "http://{host}/a"]
)
def test_redirects_are_followed(origin: Origin, fetch: Fetch, code: int, location: str) -> None:
    origin.script(to(location.format(host=origin.host), code))
    assert everything(fetch(origin.url("/here/app.bin"))) == CONTENT
    assert origin.requests[1].target != origin.requests[0].target


def test_the_query_of_the_first_url_does_not_reach_another_host(origin: Origin, fetch: Fetch) -> None:
    with Origin(CONTENT) as other:
        origin.always = to(other.url("/x", query=""))
        url = origin.url(query=f"?{SECRET}").replace("http://", "http://user:password@")
        assert everything(fetch(url)) == CONTENT
        assert other.requests
        for request in other.requests:
            assert MARK not in str(request)
            assert not request.headers.keys() & {"referer", "authorization", "cookie"}
        assert origin.requests[0].headers["authorization"].startswith("Basic ")


def test_ten_redirects_are_enough(origin: Origin, fetch: Fetch) -> None:
    origin.script(*[to("/again")] * 10)
    assert everything(fetch()) == CONTENT
    origin.always = to("/again")
    origin.requests.clear()
    assert error_of(fetch(origin.url("/b"))).reason == "too-many-redirects"
    assert len(origin.requests) == 11


@pytest.mark.parametrize(
    "location", ["ftp://x/y", "file:///etc/passwd", "http://", "http://[::1/", "mailto:a@b"]
)
def test_redirects_to_what_is_no_web_address(location: str) -> None:
    with pytest.raises(CloudError) as caught:
        redirected("https://a/b", location)
    assert caught.value.reason == "bad-redirect"


def test_never_from_https_to_http() -> None:
    assert redirected("http://a/b", "https://c/d") == "https://c/d"
    with pytest.raises(CloudError) as caught:
        redirected("https://a/b", f"http://c/d?{SECRET}")
    assert caught.value.reason == "insecure-redirect"
    assert MARK not in str(caught.value)


# TLS.


@dataclass
class Secure:
    """An HTTPS image server."""

    pki: LabPki
    images: ImageServer
    cache_dir: Path


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Secure]:
    pki = LabPki(tmp_path / "pki")
    cert_file, key_file = pki.issue_server()
    ports: list[int] = []
    images = ImageServer(lambda: f"https://127.0.0.1:{ports[0]}")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "/etc/ssl/certs/ca-certificates.crt")
    with HttpsServer(images.routes, cert_file=cert_file, key_file=key_file) as server:
        ports.append(server.port)
        yield Secure(pki, images, tmp_path / "cache")
    images.close()


def test_a_custom_ca_wins_over_the_environment(secure: Secure, fetch: Fetch) -> None:
    url = secure.images.publish(CONTENT, "app.bin")
    assert everything(fetch(url, ca_file=secure.pki.ca_file)) == CONTENT


def test_an_unknown_ca_is_final(secure: Secure, fetch: Fetch, clock: FakeClock) -> None:
    url = secure.images.publish(CONTENT, "app.bin")
    error = error_of(fetch(url))
    assert (error.exit_code, error.reason) == (8, "tls")
    assert clock.waits == []


def test_a_redirect_to_http_is_not_followed(secure: Secure, origin: Origin, fetch: Fetch) -> None:
    url = secure.images.publish(CONTENT, "app.bin")
    secure.images.faults.add("app.bin", ImageFault(redirect_to=origin.url()))
    assert error_of(fetch(url, ca_file=secure.pki.ca_file)).reason == "insecure-redirect"
    assert origin.requests == []


def test_a_port_that_speaks_no_tls_is_final(fetch: Fetch, clock: FakeClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_in_clear_text() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(10_000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer_in_clear_text)
        thread.start()
        error = error_of(fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/x"))
        thread.join()
    assert error.reason == "tls"
    assert clock.waits == []


def test_presigned_urls_that_expire_are_replaced(secure: Secure, fetch: Fetch) -> None:
    secure.images.publish(CONTENT, "app.bin", presigned_only=True)
    expired = secure.images.presigned_url("app.bin", 60, age_s=61)
    fresh = secure.images.presigned_url("app.bin")
    assert error_of(fetch(expired, ca_file=secure.pki.ca_file)).reason == "http-403"
    assert everything(fetch(expired, ca_file=secure.pki.ca_file, refresh_url=lambda: fresh)) == CONTENT
    assert {request.method for request in secure.images.requests} == {"GET"}


def test_close_ends_a_silence_within_tls(secure: Secure, fetch: Fetch) -> None:
    url = secure.images.publish(CONTENT, "app.bin")
    secure.images.faults.add("app.bin", ImageFault(stall_after_bytes=10_000))
    download = fetch(url, ca_file=secure.pki.ca_file, options=DownloadOptions(read_timeout_s=100.0))
    assert download.read(0, 10_000) == CONTENT[:10_000]
    download.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "download"]


def test_close_ends_a_tls_handshake_that_never_ends(fetch: Fetch, secure: Secure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/x"
        download = fetch(url, ca_file=secure.pki.ca_file, options=DownloadOptions(connect_timeout_s=100.0))
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(1)  # the ClientHello, which nobody answers
            download.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "download"]


def test_files_that_are_no_certificates_are_named(fetch: Fetch, tmp_path: Path, secure: Secure) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for ca_file in (bad, tmp_path / "missing.pem"):
        error = error_of(fetch("https://127.0.0.1/x", ca_file=ca_file))
        assert isinstance(error, UsageError)
        assert str(ca_file) in error.message
    one, other = secure.pki.issue_client("one"), secure.pki.issue_client("other")
    for pair in ((one[0], other[1]), (bad, one[1]), (one[0], tmp_path / "missing.key")):
        assert error_of(fetch("https://127.0.0.1/x", client_cert=pair)).reason == "bad-client-certificate"


# Errors of libraries.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests_errors.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")), "tls"),
        (requests_errors.ConnectionError(ConnectionResetError()), "connection-lost"),
        (requests_errors.ReadTimeout(urllib3.exceptions.ReadTimeoutError(None, "/x?secret", "")), "stalled"),  # type: ignore[arg-type]
        (urllib3.exceptions.ProtocolError("x", urllib3.exceptions.IncompleteRead(1, 2)), "truncated"),
        (urllib3.exceptions.ProxyError("x", OSError()), "proxy"),
        (TimeoutError(), "stalled"),
        (ValueError("?"), "connection-lost"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, reason: str) -> None:
    failure = translate(error)
    assert isinstance(failure, RetryableError)
    assert failure.reason == reason


def test_what_stays_is_final() -> None:
    refused = ssl.SSLError(1, "x")
    refused.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    for error, reason in (
        (requests_errors.SSLError(ssl.SSLCertVerificationError(1, "x")), "tls"),
        (requests_errors.ConnectionError(urllib3.exceptions.ProtocolError("x", refused)), "tls"),
        (requests_errors.InvalidURL("x"), "bad-url"),
        (requests_errors.InvalidProxyURL("x"), "bad-proxy"),
    ):
        failure = translate(error)
        assert isinstance(failure, BridgeError)
        assert failure.reason == reason


def test_exceptions_that_hold_each_other_do_not_hang() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert isinstance(translate(first), RetryableError)


# Secrets.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host:8443/a/b.bin?X=1#f", "https://host:8443/a/b.bin"),
        ("https://host/a", "https://host/a"),
        ("http://[::1]:80/a?b", "http://[::1]:80/a"),
        ("http://[::1/a?b", "(unreadable URL)"),
        ("secret", "(URL without a host)"),
    ],
)
def test_a_redacted_url(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_a_redacted_text() -> None:
    assert (
        redact_text("GET /a?k=v HTTP/1.1 of 'http://u:p@h/x?y=z'")
        == "GET /a?... HTTP/1.1 of 'http://h/x?...'"
    )


def test_the_filter_can_be_put_twice() -> None:
    hide_queries_in_logs()
    hide_queries_in_logs()
    filters = logging.getLogger("urllib3.connectionpool").filters
    assert len(filters) == len(set(filters))


def broken_headers(_origin: Origin, _request: Request) -> Reply:
    return Reply(200, {"Content-Length": "x\r\nno colon here"}, b"")


@pytest.mark.parametrize(
    "scripts",
    [
        [status(404)],
        [status(403)],
        [status(503)] * 3,
        [cut(0)] * 3,
        [cut(0, "reset")] * 3,
        [cut(5, "stall")] * 3,
        [to(f"/loop?{SECRET}")] * 11,
        [to(f"ftp://x/y?{SECRET}")],
        [broken_headers] * 3,
        [],
    ],
    ids=["404", "403", "503", "cut", "reset", "stall", "loop", "bad-redirect", "headers", "fine"],
)
def test_no_query_in_any_error_or_log_record(
    origin: Origin, fetch: Fetch, caplog: pytest.LogCaptureFixture, scripts: list[Script]
) -> None:
    caplog.set_level(logging.DEBUG)
    origin.script(*scripts)
    download = fetch(origin.url(query=f"?{SECRET}"), options=DownloadOptions(retries=2, read_timeout_s=0.1))
    seen = ""
    try:
        download.wait_complete()
    except BridgeError as error:
        seen = repr(vars(error)) + "".join(traceback.format_exception(error))
        seen += repr((error.__context__, error.__cause__))
    seen += "".join(f"{record.getMessage()} {record.args} {record.exc_info}" for record in caplog.records)
    seen += caplog.text
    assert "app.bin" in seen  # the log is there, without the query
    assert MARK not in seen


def test_no_query_when_nobody_listens(fetch: Fetch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Origin(b"") as gone:
        url = gone.url(query=f"?{SECRET}")
    error = error_of(fetch(url, options=DownloadOptions(retries=1)))
    assert MARK not in "".join(traceback.format_exception(error)) + caplog.text


def test_netrc_passwords_stay_at_home(
    origin: Origin, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    everything(fetch())
    assert not any("authorization" in request.headers for request in origin.requests)


def test_cookies_are_not_kept(origin: Origin, fetch: Fetch) -> None:
    origin.script(lambda o, r: o.honest(r).changed(Set_Cookie="a=b"))
    everything(fetch())
    assert not any("cookie" in request.headers for request in origin.requests)


def test_a_proxy_of_the_environment_is_used(
    origin: Origin, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", origin.url(""))
    monkeypatch.setenv("no_proxy", "")
    assert everything(fetch("http://images.invalid/app.bin", rules=HostRules(http=True))) == CONTENT
    assert origin.requests[0].target == "http://images.invalid/app.bin"

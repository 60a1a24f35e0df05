"""The HTTPS server: starts, says why it cannot, and stops at once although a client keeps its connection."""

import http.client
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bridge.errors import CloudError
from bridge.lab.https_server import HttpsServer
from hil_tests.lab_rig import HOST, Certificates


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


def test_given_an_idle_client_when_closed_then_it_stops_and_frees_the_port(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    cert_file, key_file = certificates.server
    with HttpsServer([Route("/", hello)], cert_file=cert_file, key_file=key_file) as server:
        client = http.client.HTTPSConnection(HOST, server.port, context=certificates.client_context(None))
        client.request("GET", "/")
        assert client.getresponse().read() == b"hello"
    client.close()
    again = HttpsServer([], cert_file=cert_file, key_file=key_file, port=server.port)
    with again, pytest.raises(CloudError) as caught:
        HttpsServer([], cert_file=cert_file, key_file=key_file, port=server.port).start()
    assert caught.value.reason == "port-in-use"


def test_given_no_certificate_then_it_says_so_instead_of_hanging(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(CloudError) as caught:
        HttpsServer([], cert_file=missing, key_file=missing).start()
    assert caught.value.reason == "https-server"

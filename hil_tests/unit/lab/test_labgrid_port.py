"""labgrid's ports as URLs, and who is at fault when one is lost; without labgrid."""

import socket
from types import SimpleNamespace

import pytest

from bridge.errors import BenchError, BoardNotFoundError, BridgeError, LinkError, UsageError
from bridge.lab.labgrid.network_port import blame, port_url


def _network(port: int | None = 4000, protocol: str = "rfc2217") -> SimpleNamespace:
    return SimpleNamespace(host="bench", port=port, protocol=protocol)


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        (SimpleNamespace(port="/dev/ttyACM0"), "/dev/ttyACM0"),
        (_network(), "rfc2217://bench:4000?ign_set_control&timeout=3"),
        (_network(protocol="raw"), "socket://bench:4000"),
    ],
)
def test_ports_of_labgrid_become_urls(resource: SimpleNamespace, url: str) -> None:
    assert port_url(resource) == url


def test_port_is_reached_through_a_proxy_where_there_is_one() -> None:
    assert port_url(_network(), "localhost", 5000) == "rfc2217://localhost:5000?ign_set_control&timeout=3"


def test_port_that_cannot_be_opened_is_refused() -> None:
    with pytest.raises(UsageError, match="speaks telnet"):
        port_url(_network(protocol="telnet"))
    with pytest.raises(BenchError) as caught:
        port_url(_network(port=None))
    assert caught.value.reason == "exporter-lost"


LOST = LinkError("lost", reason="link-lost", stage="transfer", offset=7)


def test_lost_link_is_the_boards_while_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rfc2217://127.0.0.1:{server.getsockname()[1]}?ign_set_control"
        assert blame(LOST, url) is LOST


@pytest.mark.parametrize("error", [LOST, BoardNotFoundError("gone", reason="port-unusable")])
def test_lost_link_is_the_benchs_when_nobody_listens_any_more(error: BridgeError) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    blamed = blame(error, f"rfc2217://127.0.0.1:{port}?ign_set_control")

    assert isinstance(blamed, BenchError)
    assert (blamed.reason, blamed.stage, blamed.offset) == ("exporter-lost", error.stage, error.offset)


@pytest.mark.parametrize(
    ("error", "url"),
    [
        (LOST, "/dev/ttyACM0"),
        (BoardNotFoundError("silent", reason="board-silent"), "rfc2217://127.0.0.1:1"),
    ],
)
def test_other_failures_stay_what_they_are(error: BridgeError, url: str) -> None:
    assert blame(error, url) is error

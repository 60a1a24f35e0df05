"""nginx, which many image servers are, serves downloads over TLS: ranges, resume, restarts, client certificates.

Its access log says what was asked, independently of us.
"""

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from bridge.errors import CloudError
from bridge.fetch import THIS_HOST, Download, DownloadOptions
from bridge.lab.pki import LabPki

pytestmark = pytest.mark.contract

CONTENT = random.Random(9151).randbytes(400_000)
OPTIONS = DownloadOptions(fragment_bytes=128 * 1024)

CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
events {{ }}
http {{
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp;
    scgi_temp_path temp;
    log_format asked '$connection|$status|$request_method $uri|$http_range|$http_if_range|$http_if_match';
    access_log access.log asked;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    gzip on; gzip_types *; gzip_min_length 1;
    root files;
    server {{
        listen 127.0.0.1:{port} ssl;
        location /slow/ {{ alias files/; limit_rate 200k; }}
        location /whole/ {{ alias files/; max_ranges 0; }}
        location /moved/ {{ return 307 /app.bin; }}
        location /insecure/ {{ return 302 http://127.0.0.1:{port}/app.bin; }}
        location /busy/ {{ add_header Retry-After 0 always; return 503; }}
    }}
    server {{
        listen 127.0.0.1:{port_for_clients} ssl;
        ssl_client_certificate {ca};
        ssl_verify_client on;
    }}
}}
"""


class Nginx:
    """nginx in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pki = LabPki(directory / "pki")
        self.port, self.port_for_clients = _free_port(), _free_port()
        self._process: subprocess.Popen[str] | None = None
        (directory / "files").mkdir()
        self.publish(CONTENT)
        cert_file, key_file = self.pki.issue_server()
        (directory / "nginx.conf").write_text(
            CONFIGURATION.format(
                cert=cert_file,
                key=key_file,
                ca=self.pki.ca_file,
                port=self.port,
                port_for_clients=self.port_for_clients,
            )
        )

    def publish(self, content: bytes) -> None:
        path = self.directory / "files" / "app.bin"
        beside = path.with_suffix(".new")
        beside.write_bytes(content)
        beside.replace(path)

    def start(self) -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
        assert program is not None, "nginx is not installed (Debian: nginx-light)"
        arguments = [
            "-e",
            "stderr",
            "-p",
            str(self.directory),
            "-c",
            "nginx.conf",
            "-g",
            "error_log stderr notice;",
        ]
        self._process = subprocess.Popen([program, *arguments], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:  # it listens before it chooses how to wait
            if "event method" in line:
                return
            assert "emerg" not in line, line
        raise AssertionError("nginx ended")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def asked(self) -> list[list[str]]:
        """What was asked: connection, status, request, Range, If-Range, If-Match."""
        return [line.split("|") for line in (self.directory / "access.log").read_text().splitlines()]

    def url(self, path: str = "/app.bin") -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def download(self, path: str = "/app.bin", url: str | None = None, **wanted: object) -> Download:
        settings = {
            "cache_dir": self.directory / "cache",
            "ca_file": self.pki.ca_file,
            "rules": THIS_HOST,
            "options": OPTIONS,
        }
        return Download(url or self.url(path), **(settings | wanted))  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    with Nginx(tmp_path) as server:
        yield server


def everything(download: Download) -> bytes:
    with download:
        download.wait_complete()
        return download.read(0, 2 * len(CONTENT))


def test_fragments_come_over_one_tls_connection_and_are_pinned(nginx: Nginx) -> None:
    assert everything(nginx.download()) == CONTENT
    nginx.stop()
    connections, statuses, requests, ranges, _, matches = zip(*nginx.asked(), strict=True)
    assert len(set(connections)) == 1
    assert set(statuses) == {"206"}
    assert set(requests) == {"GET /app.bin"}
    assert ranges == tuple(f"bytes={at}-{at + 131071}" for at in range(0, 400_000, 131_072))
    assert matches[0] == "-"
    assert len(set(matches[1:])) == 1
    assert matches[1].startswith("\\x22")  # nginx's log writes a quote so: a strong tag, though gzip is on


@pytest.mark.parametrize("path", ["/whole/app.bin", "/moved/app.bin"])
def test_whole_answers_and_redirects(nginx: Nginx, path: str) -> None:
    assert everything(nginx.download(path)) == CONTENT


def test_another_process_continues_where_one_stopped(nginx: Nginx) -> None:
    with nginx.download("/slow/app.bin") as first:
        assert first.read(0, 1000) == CONTENT[:1000]
    received = first.progress.received_bytes
    assert 0 < received < len(CONTENT)
    assert everything(nginx.download("/slow/app.bin?Signature=new", options=DownloadOptions())) == CONTENT
    nginx.stop()
    _, status, _, asked, if_range, _ = nginx.asked()[1]
    assert status == "206"
    assert asked.startswith(f"bytes={received}-")
    assert if_range != "-"


def test_a_file_that_was_replaced_meanwhile_comes_whole(nginx: Nginx) -> None:
    with nginx.download("/slow/app.bin") as first:
        first.read(0, 1000)
    nginx.publish(CONTENT[::-1] + b"longer")
    second = nginx.download("/slow/app.bin", options=DownloadOptions())
    assert everything(second) == CONTENT[::-1] + b"longer"
    assert second.generation == 0
    nginx.stop()
    assert [entry[1] for entry in nginx.asked()][1] == "200"


def test_a_restart_of_the_server_is_survived(nginx: Nginx) -> None:
    with nginx.download("/slow/app.bin") as download:
        assert download.read(0, 1000) == CONTENT[:1000]
        nginx.stop()
        nginx.start()
        download.wait_complete()
        assert download.read(0, 400_000) == CONTENT
        assert download.progress.retries > 0


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/none.bin", "http-404"), ("/insecure/app.bin", "insecure-redirect"), ("/busy/app.bin", "http-503")],
)
def test_refusals(nginx: Nginx, path: str, reason: str) -> None:
    options = DownloadOptions(retries=1, first_backoff_s=0.01)
    with nginx.download(path, options=options) as download, pytest.raises(CloudError) as caught:
        download.wait_complete()
    assert caught.value.reason == reason


def test_a_client_certificate_opens_what_is_closed_without(nginx: Nginx) -> None:
    url = f"https://localhost:{nginx.port_for_clients}/app.bin"
    with nginx.download(url=url) as download, pytest.raises(CloudError) as caught:
        download.wait_complete()
    assert caught.value.reason == "http-400"
    assert everything(nginx.download(url=url, client_cert=nginx.pki.issue_client("thing-a"))) == CONTENT

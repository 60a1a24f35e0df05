"""Judging job documents before a job is made of them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.app import run
from bridge.cloud.document import DocumentError
from bridge.cloud.document_check import check_document

GOOD: dict[str, Any] = {
    "operation": "app_fw_update",
    "fwversion": "v2.0.0",
    "size": 1000,
    "location": {"url": "https://bucket.s3.eu-west-1.amazonaws.com/app_update.bin"},
    "sha256": "0" * 64,
}


def verdict_of(**changes: object) -> tuple[bool, str]:
    members = {name: value for name, value in (GOOD | changes).items() if value is not None}
    verdict = check_document(json.dumps(members))
    return verdict.presigned, " | ".join(verdict.remarks)


def test_a_good_document_needs_no_remarks() -> None:
    assert verdict_of() == (False, "")


@pytest.mark.parametrize("form", ["s3-presigned-url", "s3-presigned-url-v2"])
@pytest.mark.parametrize("what", ["https://s3.eu-west-1.amazonaws.com/bucket/app.bin", "bucket/app.bin"])
def test_placeholders_stand_for_urls(form: str, what: str) -> None:
    presigned, remarks = verdict_of(location={"url": f"${{aws:iot:{form}:{what}}}"})
    assert presigned
    assert "CONFIG_AWS_FOTA_PAYLOAD_SIZE" in remarks


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"fwVersion": "2"}, "fwVersion is not read by the bridge; fwversion is meant?"),
        ({"SHA-256": "2"}, "SHA-256 is not read by the bridge; sha256 is meant?"),
        ({"comment": "hello"}, "comment is not read by the bridge"),
        (
            {"location": {"url": "https://h/x", "Path": "y"}},
            "location.Path is not read by the bridge; path is meant?",
        ),
        ({"operation": None}, "operation is missing"),
        ({"sha256": None}, "--require-sha256"),
        ({"size": None}, "size is missing"),
        ({"location": {"url": "http://h/x"}}, "--allow-http"),
        ({"location": {"url": "https://h/" + "x" * 254}}, "254 characters"),
    ],
)
def test_what_may_have_been_meant_otherwise_is_said(changes: dict[str, object], remark: str) -> None:
    assert remark in verdict_of(**changes)[1]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"location": {}}', '{"operation": "x", "location": {"url": "https://h/x"}}']
)
def test_what_the_bridge_would_reject_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        check_document(text)


def test_the_command_judges_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def validate(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["nrf91-bridge", "job", "document", *arguments])
        return run()

    file = tmp_path / "document.json"
    file.write_text(json.dumps(GOOD | {"fwVersion": "2"}))
    assert validate("validate", str(file), "--json") == 0
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["document"]["fwversion"], len(event["remarks"])) == (
        "document-valid",
        "2.0.0",
        1,
    )
    assert validate("validate", str(file)) == 0
    assert "note: fwVersion" in capsys.readouterr().err
    file.write_text('{"operation": "erase"}')
    assert validate("validate", str(file)) == 5
    assert validate("validate", str(tmp_path / "none.json")) == 2
    assert validate("job-1", str(file)) == 2
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert validate("validate", str(tmp_path / "binary")) == 2


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"board": "esp32"}, 5, "wrong-board"),
        ({"board": "thingy91x"}, 0, ""),
        ({"location": {"url": "https://127.0.0.1/x"}}, 0, "--allow-network loopback"),
        ({"location": {"url": "http://10.1.2.3/x"}}, 0, "--allow-network private"),
        (
            {"location": {"url": "https://h.example/x", "mirrors": ["https://169.254.169.254/x"]}},
            0,
            "--allow-network link-local",
        ),
    ],
)
def test_the_command_says_what_hosts_would_refuse(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    code: int,
    told: str,
) -> None:
    file = tmp_path / "document.json"
    file.write_text(json.dumps(GOOD | changes))
    monkeypatch.setattr(sys, "argv", ["nrf91-bridge", "job", "document", "validate", str(file), "--json"])
    assert run() == code
    event = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told in (event["reason"] if code else " ".join(event["remarks"]))

"""The HTML report in a real browser, without a screen."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bridge.pytest_plugin.run_report import write_run_report
from hil_tests.unit.hil_plugin.reported import result

pytestmark = pytest.mark.contract

SIZE = (1160, 900)


def chromium(*arguments: str, profile: Path) -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program is not None, "scripts/test installs chromium"
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    )
    done = subprocess.run(
        [program, *options, *arguments], check=True, capture_output=True, text=True, timeout=90
    )
    return done.stdout


@pytest.fixture
def page(tmp_path: Path) -> Path:
    for name, outcome in (("good", "passed"), ("bad", "failed")):
        directory = tmp_path / "artifacts" / name
        directory.mkdir(parents=True)
        (directory / "result.json").write_text(json.dumps(result(f"test_{name}", outcome)))
    return write_run_report(tmp_path / "artifacts", 0.0, {"port": "virtual"})


def test_the_script_runs_and_a_linked_test_is_open(page: Path, tmp_path: Path) -> None:
    shown = chromium("--dump-dom", f"{page.as_uri()}#good", profile=tmp_path / "profile")
    opened = re.findall(r'<details id="(\w+)" data-outcome="\w+" open', shown)
    assert sorted(opened) == ["bad", "good"]
    assert shown.count("<svg") == 4


def test_the_page_can_be_looked_at(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    chromium(
        f"--screenshot={picture}",
        f"--window-size={SIZE[0]},{SIZE[1]}",
        page.as_uri(),
        profile=tmp_path / "profile",
    )
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == SIZE
    assert picture.stat().st_size > 20_000, "an empty page is smaller"

"""The page and the table of a run."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bridge.pytest_plugin.report_page import ReportedTest, render_page
from bridge.pytest_plugin.report_svg import standalone, throughput, timeline
from bridge.pytest_plugin.run_report import COLUMNS, write_run_report
from hil_tests.unit.hil_plugin.reported import UPDATE, result

_VOID = {"meta", "br", "wbr", "link"}


class Page(HTMLParser):
    """Reads a page and notices tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.rows: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        assert "src" not in facts, "the page must need nothing else"
        if tag == "a":
            self.links.append(facts["href"] or "")
        if tag == "details":
            self.rows.append(facts["data-outcome"])
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_of_each_test_and_the_worst_comes_first() -> None:
    error = {"message": "bytes were lost", "reason": "bytes-lost", "hint": "Use --flow-control."}
    tests = [
        ReportedTest(result("test_good"), "good", ("at.log",), "AT -> OK"),
        ReportedTest(result("test_held", "bench-error", updates=[]), "held"),
        ReportedTest(result("test_bad", "failed", error=error, failure="assert 1 == 2"), "bad"),
    ]
    page = Page(render_page(tests, {"port": "/dev/ttyACM0"}))
    assert page.open == []
    assert page.rows == ["failed", "bench-error", "passed"]
    assert page.links == ["good/at.log"]
    for said in (
        "bytes were lost. Use --flow-control.",
        "assert 1 == 2",
        "1.0.0 → 1.1.0",
        "24.5 kB/s",
        "AT -> OK",
    ):
        assert said in page.text
    assert UPDATE["digest"] in page.text


def test_nothing_in_a_test_can_break_out_of_the_page() -> None:
    evil = '<script>alert("x")</script>$title & </pre>'
    tests = [ReportedTest(result(evil, "failed", failure=evil, notes=[evil]), "x", (), evil)]
    text = render_page(tests, {"port": evil}, title=evil)
    page = Page(text)
    assert page.open == []
    assert text.count("<script>") == 1
    assert page.text.count('<script>alert("x")</script>$title & </pre>') >= 4


def test_pictures_are_whole_files_too() -> None:
    for svg in (timeline(UPDATE["stages_s"]), throughput([(0.0, 0), (2.0, 4096)], 8192)):
        root = ET.fromstring(standalone(svg))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert timeline({}) == ""
    assert throughput([(0.0, 0)]) == ""


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    for number, outcome in enumerate(["passed", "failed"]):
        directory = tmp_path / f"test-{number}"
        directory.mkdir()
        (directory / "result.json").write_text(json.dumps(result(f"test_{number}", outcome)))
        (directory / "at.log").write_text("the last line\n")
    return tmp_path


def test_a_run_leaves_a_page_and_a_table_that_grows(artifacts: Path) -> None:
    began_at = 1_799_999_999.0
    page = write_run_report(artifacts, began_at, {"port": "virtual"})
    assert "the last line" in Page(page.read_text()).text
    write_run_report(artifacts, began_at, {})
    with (artifacts / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["outcome"] for row in rows] == ["passed", "failed"] * 2
    assert (rows[0]["transfer_s"], rows[0]["rate_bytes_per_s"], rows[0]["attempts"]) == ("8.4", "24522", "1")


def test_tests_of_an_earlier_run_are_left_out(artifacts: Path) -> None:
    page = write_run_report(artifacts, 1_800_000_001.0, {})
    assert Page(page.read_text()).rows == []

"""The conformance tables: up to date, every test that they name is there, and nonsense is noticed."""

from pathlib import Path

import pytest

from hil_tests import conformance

RULE = """
[[rule]]
id = "one"
rule = "A rule with a | in it."
source = "somewhere"
status = "{status}"
tests = [{tests}]
"""
THIS = "hil_tests/unit/test_conformance.py"


def rules_of(directory: Path, text: str) -> list[conformance.Rule]:
    (directory / "area.toml").write_text(text)
    return conformance.load(directory)


def test_given_the_rules_of_the_local_cloud_then_the_page_is_up_to_date() -> None:
    text = conformance.PAGE.read_text()
    assert conformance.page(conformance.load(), text) == text, "run scripts/conformance"


def test_given_a_rule_then_the_page_links_its_tests(tmp_path: Path) -> None:
    name = "test_given_a_rule_then_the_page_links_its_tests"
    rules = rules_of(tmp_path, RULE.format(status="kept", tests=f'"{THIS}::{name}"'))
    page = conformance.page(rules, f"before\n{conformance.BEGIN}\nold\n{conformance.END}\nafter\n")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    assert "### Area\n\n1 rules: 1 kept, 0 simplified, 0 not emulated." in page
    link = f"[given a rule then the page links its tests](../{THIS})"
    assert f"| A rule with a \\| in it. | somewhere | kept | {link} |" in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RULE.format(status="kept", tests=""), "no test"),
        (RULE.format(status="done", tests=""), "done"),
        (RULE.format(status="kept", tests='"hil_tests/missing.py::test_x"'), "missing.py"),
        (RULE.format(status="kept", tests=f'"{THIS}::test_that_is_not_there"'), "test_that_is_not_there"),
        (RULE.format(status="kept", tests=f'"{THIS}::rules_of"'), "rules_of"),
        (RULE.format(status="not-emulated", tests="") * 2, "twice"),
        (RULE.format(status="not-emulated", tests="") + 'extra = "x"', "extra"),
        (RULE.replace("A rule with a | in it.", " ").format(status="kept", tests=""), "rule is missing"),
    ],
)
def test_given_a_rule_that_cannot_be_then_the_message_names_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules_of(tmp_path, text)


def test_given_a_page_without_a_place_then_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks"):
        conformance.page([], "nothing here")

"""One HTML page about a run: what each test has shown, how long its stages took, and the last that was said on the line.

The page needs nothing but itself: styles, script and pictures are in it; artefacts are linked beside it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from bridge.pytest_plugin.report_svg import throughput, timeline

_OUTCOMES: Final = ("passed", "failed", "bench-error", "skipped")
_WORST_FIRST: Final = ("failed", "bench-error", "passed", "skipped")


@dataclass(frozen=True)
class ReportedTest:
    """A test with what it left behind.

    Attributes:
        result: Its ``result.json``.
        directory: Name of its directory beside the page.
        artifacts: Names of the files in it.
        log_tail: Last lines of its log.
    """

    result: Mapping[str, Any]
    directory: str
    artifacts: tuple[str, ...] = ()
    log_tail: str = ""


def render_page(
    tests: Sequence[ReportedTest], facts: Mapping[str, str], title: str = "nRF91 test report"
) -> str:
    """The page.

    Args:
        tests: What was run.
        facts: What is said about the run as a whole.
        title: Its heading.
    """
    counts = Counter(str(test.result["outcome"]) for test in tests)
    template = Template(files(__package__).joinpath("report_template.html").read_text(encoding="utf-8"))
    worst_first = sorted(tests, key=lambda test: _WORST_FIRST.index(str(test.result["outcome"])))
    return template.substitute(
        title=escape(title),
        facts="".join(f"<span>{escape(name)} {escape(value)}</span>" for name, value in facts.items()),
        filters=_filters(len(tests), counts),
        rows="\n".join(map(_row, worst_first)),
    )


def _filters(total: int, counts: Mapping[str, int]) -> str:
    buttons = [f'<button data-outcome="" aria-pressed="true"><b>{total}</b> tests</button>']
    buttons += [
        f'<button data-outcome="{outcome}" aria-pressed="false"><b>{counts[outcome]}</b> {_said(outcome)}</button>'
        for outcome in _OUTCOMES
        if counts.get(outcome)
    ]
    return "".join(buttons)


def _row(test: ReportedTest) -> str:
    result = test.result
    outcome, update = str(result["outcome"]), _last_update(result)
    path, _, name = str(result["test"]).partition("::")
    cells = (
        f'<span class="outcome {outcome}">{_said(outcome)}</span>',
        f'<span class="name">{_breakable(name or path)}<span class="file">{escape(path)}</span></span>',
        f"<span>{escape(str(result['board']['name'] or '-'))}</span>",
        f"<span>{escape(_versions(update))}</span>",
        f'<span class="number">{_rate(update)}</span>',
        f'<span class="number">{update.get("attempts") or "-"}</span>',
        f'<span class="number">{result["duration_s"]:.2f} s</span>',
    )
    opened = " open" if outcome in {"failed", "bench-error"} else ""
    return (
        f'<details id="{escape(test.directory)}" data-outcome="{outcome}"{opened}><summary>{"".join(cells)}</summary>'
        f'<div class="body">{"".join(_body(test))}</div></details>'
    )


def _body(test: ReportedTest) -> Iterable[str]:
    result = test.result
    if (error := result.get("error")) is not None:
        hint = f" {error['hint']}" if error.get("hint") else ""
        text, code = escape(f"{error['message']}.{hint}"), escape(str(error["reason"]))
        yield f'<p class="error">{text} <code>[{code}]</code></p>'
    if failure := result.get("failure"):
        yield f"<pre>{escape(str(failure))}</pre>"
    for update in result.get("updates", ()):
        yield from _update(update)
    for note in result.get("notes", ()):
        yield f"<p>{escape(str(note))}</p>"
    if test.log_tail:
        yield f"<h3>Last lines</h3><pre>{escape(test.log_tail)}</pre>"
    links = (
        f'<a href="{escape(test.directory)}/{escape(name)}">{escape(name)}</a>' for name in test.artifacts
    )
    yield f"<p>{' &nbsp; '.join(links)}</p>"


def _update(update: Mapping[str, Any]) -> Iterable[str]:
    ended = update.get("outcome") or "not finished"
    job = f", job {update['job']}: {update['status']}" if update.get("job") else ""
    yield f"<h3>{escape(str(update['image']))}: {escape(str(ended))}{escape(job)}</h3>"
    facts = {
        "message": update.get("message"),
        "code": update.get("reason"),
        "version before / image / running": " / ".join(
            str(update.get(key) or "-") for key in ("from_version", "to_version", "running_version")
        ),
        "image digest": update.get("digest") or update.get("sha256"),
        "written": f"{update['bytes']} bytes at {_rate(update)}" if update.get("bytes") else None,
    }
    yield "<dl>"
    for name, value in facts.items():
        if value:
            yield f"<dt>{name}</dt><dd>{escape(str(value))}</dd>"
    yield "</dl>"
    yield timeline(update.get("stages_s") or {})
    yield throughput(
        [(float(t), int(done)) for t, done in update.get("progress") or ()], update.get("size_bytes")
    )


def _last_update(result: Mapping[str, Any]) -> Mapping[str, Any]:
    updates: Sequence[Mapping[str, Any]] = result.get("updates") or ({},)
    return updates[-1]


def _versions(update: Mapping[str, Any]) -> str:
    if not update.get("outcome"):
        return "-"
    return f"{update.get('from_version') or '?'} → {update.get('running_version') or '?'}"


def _rate(update: Mapping[str, Any]) -> str:
    rate = update.get("rate_bytes_per_s")
    return f"{rate / 1000:.1f} kB/s" if rate else "-"


def _breakable(name: str) -> str:
    return escape(name).replace("_", "_<wbr>")


def _said(outcome: str) -> str:
    return outcome.replace("-", " ")

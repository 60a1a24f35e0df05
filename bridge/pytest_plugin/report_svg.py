"""The report's pictures as SVG text: stages of an update as a bar, bytes over time as a line."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

_WIDTH: Final = 640
_BAR_HEIGHT: Final = 26
_PLOT_HEIGHT: Final = 150
_LEFT: Final = 56
_BOTTOM: Final = 22
_TOP: Final = 8
_LABELLED_PX: Final = 58
_STAGES: Final = ("fetch", "check", "transfer", "schedule", "reboot", "verify", "confirm", "done")

Sample = tuple[float, int]
"""Seconds since the update began, and bytes that the board has taken."""


def timeline(stages_s: Mapping[str, float]) -> str:
    """One bar whose parts are the stages, as long as they took; short ones are named in their tooltips only.

    Args:
        stages_s: Seconds of each stage, in their order.
    """
    total_s = sum(stages_s.values())
    if total_s <= 0:
        return ""
    parts, x = [], 0.0
    for stage, seconds in stages_s.items():
        width = _WIDTH * seconds / total_s
        number = _STAGES.index(stage) if stage in _STAGES else 0
        label = f"{stage} {_seconds(seconds)}"
        parts.append(
            f'<g class="stage stage-{number}"><title>{escape(label)}</title>'
            f'<rect x="{x:.1f}" y="0" width="{max(width - 1, 0.5):.1f}" height="{_BAR_HEIGHT}" rx="3"/>'
        )
        if width >= _LABELLED_PX:
            parts.append(f'<text x="{x + 6:.1f}" y="17">{escape(stage if width < 110 else label)}</text>')
        parts.append("</g>")
        x += width
    described = ", ".join(f"{stage} {_seconds(seconds)}" for stage, seconds in stages_s.items())
    return (
        f'<svg class="timeline" viewBox="0 0 {_WIDTH} {_BAR_HEIGHT}" role="img" aria-label="Stages: {escape(described)}">'
        f"{''.join(parts)}</svg>"
    )


def throughput(samples: Sequence[Sample], size_bytes: int | None = None) -> str:
    """Bytes in the board over time; the steeper, the faster.

    Args:
        samples: At least two of them, in their order.
        size_bytes: Size of the image, for the scale.
    """
    if len(samples) < 2:
        return ""
    begin_s, end_s = samples[0][0], samples[-1][0]
    most = max(size_bytes or 0, *(done for _, done in samples), 1)
    span_s = max(end_s - begin_s, 1e-6)
    width, height = _WIDTH - _LEFT - 8, _PLOT_HEIGHT - _TOP - _BOTTOM

    def point(sample: Sample) -> str:
        x = _LEFT + width * (sample[0] - begin_s) / span_s
        y = _TOP + height * (1 - sample[1] / most)
        return f"{x:.1f},{y:.1f}"

    rules = "".join(
        f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{_TOP + height * (1 - part):.1f}" y2="{_TOP + height * (1 - part):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{_TOP + height * (1 - part) + 4:.1f}" text-anchor="end">{_size(most * part)}</text>'
        for part in (0.0, 0.5, 1.0)
    )
    marks = (
        f'<text x="{_LEFT}" y="{_PLOT_HEIGHT - 6}">{_seconds(begin_s)}</text>'
        f'<text x="{_LEFT + width}" y="{_PLOT_HEIGHT - 6}" text-anchor="end">{_seconds(end_s)}</text>'
    )
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_PLOT_HEIGHT}" role="img" aria-label="Bytes written over time">'
        f'<g class="rules">{rules}{marks}</g><polyline points="{" ".join(map(point, samples))}"/></svg>'
    )


def standalone(svg: str) -> str:
    """The same picture as a file of its own, with the few styles that it needs."""
    style = (
        "<style>text{font:11px sans-serif;fill:#555}.rules line{stroke:#ddd}polyline{fill:none;stroke:#0a7ea4;"
        "stroke-width:2}rect{fill:#7fb8cc}</style>"
    )
    head, rest = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


def _seconds(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds >= 10
        else f"{seconds:.2g} s"
        if seconds >= 0.1
        else f"{seconds * 1000:.1f} ms"
    )


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1024:.0f} KiB" if size_bytes else "0"

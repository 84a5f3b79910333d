"""Sources and targets as points and arrows on two traits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from transferlens.report.charts import WIDTH
from transferlens.report.summary_traits import TraitView
from transferlens.report.svg import Chart, Table, canvas, label, number, tag

__all__ = ["biplot"]

Point = tuple[str, float, float]

_MIDDLE = WIDTH / 2
_HALF = _MIDDLE - 40
_CROWDED = 30
"""More sources than this have no names in the drawing."""


def biplot(first: TraitView, second: TraitView, *, title: str, words: str) -> Chart:
    """Draw sources by their scores and targets as arrows by their loadings."""
    across, up = dict(first.scores), dict(second.scores)
    scores = [(name, across[name], up[name]) for name in across]
    other = {one.target: one.value for one in second.loadings}
    loadings = [(one.target, one.value, other[one.target]) for one in first.loadings]
    parts = [
        _tip(),
        tag("line", x1=8, x2=WIDTH - 8, y1=_MIDDLE, y2=_MIDDLE, class_="grid"),
        tag("line", x1=_MIDDLE, x2=_MIDDLE, y1=8, y2=WIDTH - 8, class_="grid"),
        label(WIDTH - 8, _MIDDLE - 6, first.label, room=150, anchor="end", class_="soft"),
        label(_MIDDLE + 6, 16, second.label, room=150, class_="soft"),
        *_arrows(loadings, few=len(scores) <= _CROWDED),
        *_points(scores),
    ]
    table = Table(
        head=("name", "kind", first.label, second.label),
        rows=(
            *((name, "source, score", number(x), number(y)) for name, x, y in scores),
            *((name, "target, loading", number(x), number(y)) for name, x, y in loadings),
        ),
    )
    return Chart(svg=canvas(WIDTH, WIDTH, title, parts), title=title, words=words, table=table)


def _arrows(loadings: Sequence[Point], *, few: bool) -> Iterator[Markup]:
    longest = max((math.hypot(x, y) for _, x, y in loadings), default=0.0) or 1.0
    taken: list[tuple[float, float]] = []
    for name, x, y in sorted(loadings, key=lambda one: -math.hypot(one[1], one[2])):
        if not few and math.hypot(x, y) < 0.6 * longest:
            continue
        ex, ey = _MIDDLE + _HALF * x / longest, _MIDDLE - _HALF * y / longest
        yield tag(
            "line", tag("title", name), x1=_MIDDLE, y1=_MIDDLE, x2=ex, y2=ey, class_="arrow",
            marker_end="url(#tip)",
        )  # fmt: skip
        # A name that would lie on another one is left to the table.
        if all(abs(ey - b) > 11 or abs(ex - a) > 70 for a, b in taken):
            taken.append((ex, ey))
            right = ex >= _MIDDLE
            yield label(
                ex + (4 if right else -4), ey, name,
                room=90, anchor="start" if right else "end", class_="arrow-name",
            )  # fmt: skip


def _points(scores: Sequence[Point]) -> Iterator[Markup]:
    reach = max((abs(v) for _, x, y in scores for v in (x, y)), default=0.0) or 1.0
    for name, x, y in scores:
        cx, cy = _MIDDLE + _HALF * x / reach, _MIDDLE - _HALF * y / reach
        yield tag("circle", tag("title", name), cx=cx, cy=cy, r=3.5, class_="dot source")
        if len(scores) <= _CROWDED:
            yield label(cx + 5, cy - 5, name, room=90)


def _tip() -> Markup:
    head = tag("path", d="M0,0 L8,4 L0,8 z", class_="tip")
    marker = tag(
        "marker", head, id="tip", viewBox="0 0 8 8", refX=7, refY=4, markerWidth=7, markerHeight=7,
        orient="auto-start-reverse",
    )  # fmt: skip
    return tag("defs", marker)

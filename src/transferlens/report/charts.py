"""Values with their intervals, as points or bars: attribution, loadings, odds, roles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from transferlens.report.svg import Chart, Scale, Table, canvas, label, number, tag, ticks

__all__ = ["LEFT", "WIDTH", "Row", "axis", "forest"]

WIDTH = 400.0
LEFT = 128.0
_LINE = 18.0


class Row(NamedTuple):
    """One line of a chart of intervals."""

    name: str
    value: float
    low: float
    high: float
    sure: bool
    """Whether the interval excludes no effect."""


def forest(
    rows: Sequence[Row],
    *,
    title: str,
    words: str,
    measure: str,
    log: bool = False,
    bars: bool = False,
) -> Chart:
    """Draw values with their intervals; filled marks (or bars) have a sign and a star.

    Parameters
    ----------
    rows
        From top to bottom; an interval of NaN is not drawn.
    measure
        What is measured, with its unit.
    log
        Draw ratios, whose neutral value is 1.
    bars
        Draw a bar from the neutral value instead of a point.
    """
    neutral = 1.0 if log else 0.0
    values = [v for row in rows for v in (row.value, row.low, row.high)]
    scale = Scale.over([*values, neutral], LEFT, WIDTH - 12, log=log)
    height = 14 + _LINE * len(rows) + 34
    bottom = 14 + _LINE * len(rows)
    parts = [*axis(scale, bottom, measure), _rule(scale(neutral), 8, bottom)]
    for at, row in enumerate(rows):
        parts += _line(row, 14 + _LINE * (at + 0.5), scale, neutral, bars=bars)
    table = Table(
        head=("", measure, "from", "to", "excludes no effect"),
        rows=tuple(
            (r.name, number(r.value), number(r.low), number(r.high), "yes" if r.sure else "no")
            for r in rows
        ),
    )
    return Chart(svg=canvas(WIDTH, height, title, parts), title=title, words=words, table=table)


def _line(row: Row, y: float, scale: Scale, neutral: float, *, bars: bool) -> Iterator[Markup]:
    yield label(LEFT - 8, y + 4, row.name, room=LEFT - 10, anchor="end")
    if math.isnan(row.value):
        return
    kind = "none" if not row.sure else "up" if row.value > neutral else "down"
    x, zero = scale(row.value), scale(neutral)
    if bars:
        yield tag(
            "rect", x=min(x, zero), y=y - 6, width=abs(x - zero), height=12, class_=f"bar {kind}"
        )
    if math.isfinite(row.low) and math.isfinite(row.high):
        yield tag("line", x1=scale(row.low), x2=scale(row.high), y1=y, y2=y, class_="whisker")
    if not bars:
        yield tag("circle", cx=x, cy=y, r=4, class_=f"dot {kind}")
    if row.sure:
        ends = [scale(v) for v in (row.value, row.low, row.high) if math.isfinite(v)]
        # On the side away from the neutral value, where a bar does not hide it.
        x, anchor = (max(ends) + 3, "start") if kind == "up" else (min(ends) - 3, "end")
        yield tag("text", "*", x=min(x, WIDTH - 8), y=y + 6, text_anchor=anchor, class_="star")


def axis(scale: Scale, bottom: float, title: str) -> Iterator[Markup]:
    """Draw a horizontal axis with its grid, from the top of a drawing."""
    for value in ticks(scale):
        x = scale(value)
        yield tag("line", x1=x, x2=x, y1=8, y2=bottom, class_="grid")
        yield tag(
            "text", number(value), x=x, y=bottom + 13, text_anchor="middle",
            class_="soft",
        )  # fmt: skip
    middle = (scale.start + scale.end) / 2
    yield label(middle, bottom + 28, title, room=WIDTH - 20, anchor="middle", class_="soft")


def _rule(x: float, top: float, bottom: float) -> Markup:
    return tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="rule")

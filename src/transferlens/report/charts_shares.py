"""Shares: of the variance, of labels, of lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from transferlens.explain.panels import LabelMixes, LengthHistogram
from transferlens.report.charts import LEFT, WIDTH, axis
from transferlens.report.summary_traits import Scree
from transferlens.report.svg import Chart, Scale, Table, canvas, label, number, tag, ticks

__all__ = ["label_shares", "lengths", "scree"]

Series = tuple[str, tuple[float, ...]]

_TOP, _BOTTOM, _START, _END = 26.0, 176.0, 40.0, WIDTH - 10
_BAR = 9.0


def scree(found: Scree, *, title: str, words: str) -> Chart:
    """Draw the variance of each component beside what chance makes."""
    n = len(found.explained)
    across = Scale(low=0.5, high=n + 0.5, start=_START, end=_END)
    up = _upwards([*found.explained, *found.threshold])
    chance = [(across(at + 1), up(v)) for at, v in enumerate(found.threshold)]
    band = [(chance[0][0], _BOTTOM), *chance, (chance[-1][0], _BOTTOM)]
    seen = [(across(at + 1), up(v)) for at, v in enumerate(found.explained)]
    parts = [
        *_shares_axis(up),
        tag("polygon", points=_joined(band), class_="band"),
        tag("polyline", points=_joined(seen), class_="series adapter"),
        _below("component"),
    ]
    for at, (x, y) in enumerate(seen):
        above = found.explained[at] > found.threshold[at]
        parts.append(tag("circle", cx=x, cy=y, r=4, class_=f"dot {'up' if above else 'none'}"))
        parts.append(_tick(x, str(at + 1)))
    table = Table(
        head=("component", "share of variance", "what chance reaches"),
        rows=tuple(
            (str(at + 1), f"{share:.1%}", f"{limit:.1%}")
            for at, (share, limit) in enumerate(zip(found.explained, found.threshold, strict=True))
        ),
    )
    return Chart(
        svg=canvas(WIDTH, _BOTTOM + 38, title, parts), title=title, words=words, table=table
    )


def lengths(found: LengthHistogram, *, title: str, words: str) -> Chart:
    """Draw the share of answers of each length as steps."""
    given = (
        ("gold", found.gold),
        ("training", found.training),
        ("base", found.base),
        ("adapter", found.adapter),
    )
    series = [(name, values) for name, values in given if values is not None]
    n = len(found.edges) - 1
    across = Scale(low=0.0, high=float(n), start=_START, end=_END)
    up = _upwards([value for _, values in series for value in values])
    parts = [*_legend([name for name, _ in series]), *_shares_axis(up)]
    parts += [
        tag("polyline", points=_joined(_steps(values, across, up)), class_=f"series {name}")
        for name, values in series
    ]
    step = max(1, math.ceil(n / 8))
    parts += [_tick(across(at), number(found.edges[at])) for at in range(0, n + 1, step)]
    parts.append(_below(f"length in {found.unit}"))
    table = Table(
        head=(f"{found.unit} from", *(name for name, _ in series)),
        rows=tuple(
            (number(found.edges[at]), *(_percent(values[at]) for _, values in series))
            for at in range(n)
        ),
    )
    return Chart(
        svg=canvas(WIDTH, _BOTTOM + 38, title, parts), title=title, words=words, table=table
    )


def _steps(values: Sequence[float], across: Scale, up: Scale) -> Iterator[tuple[float, float]]:
    yield _START, _BOTTOM
    for at, share in enumerate(values):
        yield across(at), up(share)
        yield across(at + 1), up(share)
    yield across(len(values)), _BOTTOM


def _upwards(values: Sequence[float]) -> Scale:
    return Scale(low=0.0, high=max(*values, 1e-9) * 1.08, start=_BOTTOM, end=_TOP)


def _shares_axis(up: Scale) -> Iterator[Markup]:
    for value in ticks(up, 4):
        y = up(value)
        yield tag("line", x1=_START, x2=_END, y1=y, y2=y, class_="grid")
        yield tag("text", f"{value:.0%}", x=_START - 5, y=y + 4, text_anchor="end", class_="soft")


def _tick(x: float, text: str) -> Markup:
    return tag("text", text, x=x, y=_BOTTOM + 14, text_anchor="middle", class_="soft")


def _below(text: str) -> Markup:
    return label(WIDTH / 2, _BOTTOM + 30, text, room=200, anchor="middle", class_="soft")


def _joined(places: Sequence[tuple[float, float]] | Iterator[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def label_shares(mixes: LabelMixes, *, title: str, words: str) -> Chart:
    """Draw how often each label is gold, and answered by base and adapter."""
    known = dict(mixes.training)
    series: list[Series] = [
        ("gold", mixes.gold), ("base", mixes.base), ("adapter", mixes.adapter),
    ]  # fmt: skip
    if any(name in known for name in mixes.labels):
        trained = tuple(known.get(name, math.nan) for name in mixes.labels)
        series.append(("training", trained))
    step = _BAR * len(series) + 10
    bottom = 30 + step * len(mixes.labels)
    scale = Scale(low=0.0, high=1.0, start=LEFT, end=WIDTH - 34)
    parts = [*_legend([name for name, _ in series]), *axis(scale, bottom, "share of answers")]
    for at, name in enumerate(mixes.labels):
        y = 28 + step * at
        parts.append(label(LEFT - 8, y + step / 2, name, room=LEFT - 10, anchor="end"))
        parts += _bars([(kind, values[at]) for kind, values in series], y, scale)
    table = Table(
        head=("label", *(name for name, _ in series)),
        rows=tuple(
            (name, *(_percent(values[at]) for _, values in series))
            for at, name in enumerate(mixes.labels)
        ),
    )
    return Chart(
        svg=canvas(WIDTH, bottom + 34, title, parts), title=title, words=words, table=table
    )


def _bars(shares: Sequence[tuple[str, float]], y: float, scale: Scale) -> Iterator[Markup]:
    for place, (kind, share) in enumerate(shares):
        if not math.isnan(share):
            top, width = y + _BAR * place, scale(share) - LEFT
            yield tag("rect", x=LEFT, y=top, width=width, height=8, class_=f"share {kind}")
            yield tag("text", f"{share:.0%}", x=LEFT + width + 3, y=top + 8, class_="tiny")


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.0%}"


def _legend(names: Sequence[str]) -> Iterator[Markup]:
    for at, name in enumerate(names):
        x = 12 + at * 88.0
        yield tag("rect", x=x, y=5, width=12, height=10, class_=f"share {name}")
        yield label(x + 17, 14, name, room=70)

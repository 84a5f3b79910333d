"""Drawings of matrices and graphs: confusions side by side, transfers between tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from transferlens.explain.panels import ConfusionPair, Matrix
from transferlens.report.summary_roles import Edge
from transferlens.report.svg import Chart, Table, canvas, label, number, tag
from transferlens.report.text import shown

__all__ = ["confusion_table", "confusions", "transfer_graph"]

_MOST_LABELS = 12
"""Beyond this, a confusion matrix is only its table."""

_MOST_EDGES = 60


def confusions(pair: ConfusionPair, *, words: str) -> Chart | None:
    """Draw the shares of each gold label's answers: adapter, base, difference.

    None where there are too many labels for a drawing.
    """
    if len(pair.golds) > _MOST_LABELS or len(pair.answers) > _MOST_LABELS + 1:
        return None
    drawings = (
        _grid(pair, pair.adapter_by_gold, "Adapter", signed=False),
        _grid(pair, pair.base_by_gold, "Base", signed=False),
        _grid(pair, pair.difference, "Adapter \N{MINUS SIGN} base", signed=True),
    )
    return Chart(
        svg=Markup("").join(drawings),
        title="Confusion matrices",
        words=words,
        table=confusion_table(pair),
        shape="side",
    )


def _grid(pair: ConfusionPair, values: Matrix, title: str, *, signed: bool) -> Markup:
    cell, left, top = 38.0, 82.0, 74.0
    width = left + cell * len(pair.answers) + 40
    height = top + cell * len(pair.golds) + 8
    parts = [
        label(4, 13, title, room=width, class_="strong"),
        label(4, top - 6, "gold ↓", room=left - 8, class_="soft"),
    ]
    for at, name in enumerate(pair.answers):
        x = left + cell * (at + 0.5)
        text = label(0, 0, name, room=70, anchor="start")
        parts.append(tag("g", text, transform=f"translate({x + 4:.0f} {top - 5:.0f}) rotate(-45)"))
    for i, gold in enumerate(pair.golds):
        y = top + cell * i
        parts.append(label(left - 6, y + cell / 2 + 4, gold, room=left - 8, anchor="end"))
        for j, answer in enumerate(pair.answers):
            parts += _square(
                left + cell * j, y, cell, values[i][j], right=gold == answer, signed=signed
            )
    return canvas(width, height, f"{title}: share of each gold label's answers", parts)


def _square(
    x: float, y: float, cell: float, value: float, *, right: bool, signed: bool
) -> Iterator[Markup]:
    known = not math.isnan(value)
    kind = "up" if value >= 0 or not signed else "down"
    strength = min(abs(value), 1.0) if known else 0.0
    yield tag("rect", x=x, y=y, width=cell - 1, height=cell - 1, class_="cell-back")
    # At most .55, so that dark text on it and light text on it keep their contrast.
    yield tag(
        "rect", x=x, y=y, width=cell - 1, height=cell - 1,
        class_=f"cell {kind}", fill_opacity=f"{0.55 * strength:.3f}",
    )  # fmt: skip
    if right:
        yield tag("rect", x=x + 1, y=y + 1, width=cell - 3, height=cell - 3, class_="own")
    text = _share(value, signed=signed)
    yield tag(
        "text", text, x=x + cell / 2 - 0.5, y=y + cell / 2 + 4, text_anchor="middle", font_size=10
    )


def _share(value: float, *, signed: bool) -> str:
    if math.isnan(value):
        return "–"
    text = f"{100 * value:+.0f}" if signed else f"{100 * value:.0f}"
    return ("0" if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def confusion_table(pair: ConfusionPair) -> Table:
    """Return the shares of each gold label's answers, in percent."""
    rows = (
        (
            shown(gold, 60),
            shown(answer, 60),
            _share(pair.adapter_by_gold[i][j], signed=False),
            _share(pair.base_by_gold[i][j], signed=False),
            _share(pair.difference[i][j], signed=True),
        )
        for i, gold in enumerate(pair.golds)
        for j, answer in enumerate(pair.answers)
        if pair.adapter_by_gold[i][j] or pair.base_by_gold[i][j]
    )
    head = ("gold", "answer", "adapter, %", "base, %", "difference")
    return Table(head=head, rows=tuple(rows))


def transfer_graph(
    helps: Sequence[Edge], harms: Sequence[Edge], *, title: str, words: str
) -> Chart:
    """Draw significant transfers as arrows between names on a circle.

    Of many the largest are drawn; a help is a full line, a harm a dashed one.
    """
    ranked = sorted((*helps, *harms), key=lambda edge: -abs(edge.gain))
    drawn = ranked[:_MOST_EDGES]
    names = list(dict.fromkeys(name for edge in drawn for name in (edge.source, edge.target)))
    size, middle = 560.0, 280.0
    radius = middle - 92
    places = {
        name: 2 * math.pi * at / max(len(names), 1) - math.pi / 2 for at, name in enumerate(names)
    }
    largest = max((abs(edge.gain) for edge in drawn), default=1.0)
    parts = [_tips()]
    parts += [_arrow(edge, places, middle, radius, largest) for edge in reversed(drawn)]
    for name, angle in places.items():
        parts += _node(name, angle, middle, radius)
    table = Table(
        head=("trained on", "task", "gain", "from", "to", "unit", "adjusted p"),
        rows=tuple(
            (
                e.source,
                e.target,
                number(e.gain),
                number(e.low),
                number(e.high),
                e.unit,
                f"{e.p_adjusted:.2g}",
            )
            for e in ranked
        ),
    )
    return Chart(
        svg=canvas(size, size, title, parts), title=title, words=words, table=table, shape="wide"
    )


def _tips() -> Markup:
    return tag(
        "defs",
        *(
            tag(
                "marker",
                tag("path", d="M0,0 L8,4 L0,8 z", class_=f"tip {kind}"),
                id=f"tip-{kind}", viewBox="0 0 8 8", refX=8, refY=4,
                markerWidth=9, markerHeight=9, markerUnits="userSpaceOnUse", orient="auto",
            )
            for kind in ("up", "down")
        ),
    )  # fmt: skip


def _arrow(
    edge: Edge, places: dict[str, float], middle: float, radius: float, largest: float
) -> Markup:
    (x1, y1), (x2, y2) = (
        (middle + radius * math.cos(places[n]), middle + radius * math.sin(places[n]))
        for n in (edge.source, edge.target)
    )
    # Bent to the right, so that the two directions of a pair lie apart.
    bx, by = (x1 + x2) / 2 - 0.14 * (y2 - y1), (y1 + y2) / 2 + 0.14 * (x2 - x1)
    gap = 8 / max(math.hypot(x2 - bx, y2 - by), 1.0)
    ex, ey = x2 + gap * (bx - x2), y2 + gap * (by - y2)
    kind = "up" if edge.gain > 0 else "down"
    hint = tag(
        "title",
        f"{shown(edge.source, 80)} → {shown(edge.target, 80)}: {number(edge.gain)} {edge.unit}",
    )
    return tag(
        "path",
        hint,
        d=f"M{x1:.1f},{y1:.1f} Q{bx:.1f},{by:.1f} {ex:.1f},{ey:.1f}",
        class_=f"edge {kind}",
        stroke_width=0.8 + 3.2 * abs(edge.gain) / largest,
        marker_end=f"url(#tip-{kind})",
    )


def _node(name: str, angle: float, middle: float, radius: float) -> Iterator[Markup]:
    x, y = middle + radius * math.cos(angle), middle + radius * math.sin(angle)
    yield tag("circle", cx=x, cy=y, r=5, class_="dot source")
    anchor = "middle" if abs(math.cos(angle)) < 0.2 else "start" if math.cos(angle) > 0 else "end"
    lift = -10 if math.sin(angle) < -0.9 else 18 if math.sin(angle) > 0.9 else 4
    shift = 0 if anchor == "middle" else 9 if anchor == "start" else -9
    yield label(x + shift, y + lift, name, room=84 if anchor != "middle" else 160, anchor=anchor)

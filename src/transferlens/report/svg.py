"""Pieces of SVG, with everything that comes from data escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

from transferlens.report.text import shown

__all__ = ["Chart", "Scale", "Table", "canvas", "label", "number", "tag", "ticks"]

_LETTER = 5.9
"""Mean width of a letter at the charts' font size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A chart's numbers as text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing, what it shows in words, and its numbers."""

    svg: Markup
    title: str
    words: str
    table: Table
    shape: Literal["", "wide", "side"] = ""
    """``wide``: needs more room; ``side``: several small drawings beside each other."""


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; ``class_`` is class, underscores in attributes are hyphens."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{given}>{inside}</{name}>")  # noqa: S704 - all values are escaped, names our own


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def canvas(width: float, height: float, title: str, children: Iterable[Markup]) -> Markup:
    """Return a whole drawing, which screen readers take as one picture with a name."""
    return tag(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_label=title,
    )


def label(
    x: float, y: float, text: str, *, room: float, anchor: str = "start", class_: str | None = None
) -> Markup:
    """Return text at a place, cut to the room that it has, in full on hovering."""
    whole = shown(text, most=200)
    most = max(int(room / _LETTER), 2)
    cut = whole if len(whole) <= most else f"{whole[: most - 1]}…"
    hint = () if cut == whole else (tag("title", whole),)
    return tag("text", cut, *hint, x=x, y=y, text_anchor=anchor, class_=class_)


def number(value: float) -> str:
    """Return an axis label: few digits, a true minus sign."""
    if math.isnan(value):
        return "–"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From numbers to places, linear or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> Scale:
        """Span all finite values with a little room."""
        known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        low, high = (min(known), max(known)) if known else (1.0, 1.0)
        if log:
            return cls(low=low / 1.15, high=high * 1.15, start=start, end=end, log=True)
        room = 0.06 * (high - low) or 1.0
        return cls(low=low - room, high=high + room, start=start, end=end)

    def __call__(self, value: float) -> float:
        """Return the place of a value, inside the drawing also for what lies outside."""
        low, high, at = (
            (math.log(self.low), math.log(self.high), math.log(max(value, 1e-12)))
            if self.log
            else (self.low, self.high, value)
        )
        share = min(max((at - low) / (high - low), 0.0), 1.0)
        return self.start + share * (self.end - self.start)


def ticks(scale: Scale, most: int = 5) -> list[float]:
    """Return round numbers on a scale."""
    if scale.log:
        decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        steps = [f * 10.0**d for d in decades for f in (1, 2, 5)]
        inside = [v for v in steps if scale.low <= v <= scale.high]
        return (
            inside if len(inside) <= most else [v for v in inside if v == 1 or f"{v:e}"[0] == "1"]
        )
    span = scale.high - scale.low
    raw = span / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= raw)
    first = math.ceil(scale.low / step)
    return [at * step for at in range(first, math.floor(scale.high / step) + 1)]

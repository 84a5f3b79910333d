"""From a summary to one file of HTML that loads nothing and runs only its own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from transferlens import __version__
from transferlens.report.claim import Lacking, counted
from transferlens.report.drawn import draw
from transferlens.report.drawn_cell import draw_cell
from transferlens.report.summary import Summary
from transferlens.report.summary_compare import CompareView
from transferlens.report.summary_matrix import MatrixView
from transferlens.report.summary_why import CellView, WhyView
from transferlens.report.text import shown
from transferlens.results import format_value

__all__ = ["DataFile", "cell_page", "report_page"]

SECTIONS = (
    ("quick", "Quick answers"),
    ("findings", "Key findings"),
    ("matrix", "Transfer matrix"),
    ("traits", "Traits"),
    ("why", "Why"),
    ("roles", "Roles"),
    ("decide", "What to do"),
    ("factors", "Hidden factors"),
    ("twins", "Twins"),
    ("cards", "Cards and cost"),
    ("provenance", "Provenance"),
    ("cite", "How to cite"),
)

_VALUES = {
    "gain": "gain over the base",
    "normalized_gain": "normalized gain",
    "score": "score",
    "p": "adjusted p-value",
}
_ORDERS = {"alike": "alike beside each other", "family": "by family", "given": "as in the study"}
_VERDICTS = ("significant", "suggestive", "cannot tell", "described")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file beside the page."""

    name: str
    href: str
    what: str


def report_page(
    summary: Summary,
    *,
    data_files: Sequence[DataFile] = (),
    progress: str = "",
    compared: CompareView | Lacking | None = None,
) -> str:
    """Return the page of a report.

    Parameters
    ----------
    summary
        What it says.
    data_files
        Files beside it, for its links.
    progress
        How far a study that still runs is; empty for one that is done.
    compared
        The comparison with another study; no section without one.
    """
    scripts = [_static("page.js"), _static("heat.js")]
    sections = _sections(with_other=compared is not None)
    matrix = summary.matrix
    return _page(
        "report.html.j2",
        scripts=scripts,
        data=[("matrix-data", _heat_data(matrix, explainable=isinstance(summary.why, WhyView)))],
        summary=summary,
        charts=draw(summary),
        sections=sections,
        titles=dict(sections),
        compared=compared,
        heat_values=[(name, title) for name, title in _VALUES.items() if _known(matrix, name)],
        heat_orders=[(name, title) for name, title in _ORDERS.items() if name in matrix.orders],
        matrix_caption=_caption(matrix),
        matrix_base=[_value(v, signed=False) for v in matrix.base],
        matrix_rows=list(_table_rows(matrix)),
        cost_words=_cost_words(summary),
        files=data_files,
        progress=progress,
    )


def _sections(*, with_other: bool) -> tuple[tuple[str, str], ...]:
    if not with_other:
        return SECTIONS
    at = [name for name, _ in SECTIONS].index("cards")
    return (*SECTIONS[:at], ("compare", "Another study"), *SECTIONS[at:])


def cell_page(view: CellView, *, name: str) -> str:
    """Return a page of one cell."""
    return _page(
        "cell_page.html.j2",
        scripts=[_static("page.js")],
        data=[],
        view=view,
        drawn=draw_cell(view),
        name=name,
    )


def _page(
    template: str, *, scripts: Sequence[str], data: Sequence[tuple[str, str]], **given: Any
) -> str:
    style = _static("report.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    # Our own files, not data: the policy names their hashes, so they stand in the page as they are.
    return (
        _environment()
        .get_template(template)
        .render(
            policy=Markup(policy),  # noqa: S704 - hashes of our own files
            style=Markup(style),  # noqa: S704 - our own file
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own files
            data=[(key, Markup(text)) for key, text in data],  # noqa: S704 - see _json
            version=__version__,
            **given,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("transferlens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    environment.filters["shown_lines"] = _lines
    environment.filters["coded"] = _coded
    return environment


def _coded(text: str) -> Markup:
    """Return a sentence with what stands between backticks as code."""
    parts = shown(text, 2000).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part)
        for at, part in enumerate(parts)
    )


def _lines(text: str) -> str:
    return "\n".join(shown(line, 1000) for line in text.split("\n"))


@cache
def _static(name: str) -> str:
    text = (files("transferlens.report") / "static" / name).read_text(encoding="utf-8")
    if "</" in text:
        # It would end the element that it stands in.
        msg = f"{name} holds '</'"
        raise ValueError(msg)
    return text


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _json(value: object) -> str:
    """Return JSON that cannot end its element or begin another one."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _rounded(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short


def _heat_data(view: MatrixView, *, explainable: bool) -> str:
    numbers = {
        name: [[_rounded(value) for value in row] for row in grid]
        for name, grid in view.numbers.items()
    }
    scores = [
        value
        for row in view.numbers["score"]
        for value, unit in zip(row, view.units, strict=True)
        if math.isfinite(value) and unit == view.unit
    ]
    low, high = (
        (0.0, 100.0)
        if view.unit == "points"
        else (min(scores, default=0.0), max(scores, default=1.0))
    )
    return _json(
        {
            "sources": [shown(name, 120) for name in view.sources],
            "targets": [shown(name, 120) for name in view.targets],
            "metrics": [shown(name, 60) for name in view.metrics],
            "units": [shown(name, 60) for name in view.units],
            "unit": shown(view.unit, 60),
            "tests": view.tests,
            "better": view.higher_is_better,
            "base": [_rounded(value) for value in view.base],
            "numbers": numbers,
            "verdicts": _VERDICTS,
            "verdict": [[_VERDICTS.index(word) for word in row] for row in view.verdicts],
            "own": [[int(own) for own in row] for row in view.own],
            "reach": _rounded(view.reach),
            "beyond": _beyond(view),
            "scores": [_rounded(low), _rounded(high)],
            "orders": {
                name: {"rows": order.rows, "columns": order.columns}
                for name, order in view.orders.items()
            },
            "explainable": explainable,
        }
    )


def _beyond(view: MatrixView) -> tuple[bool, bool]:
    """Return whether a coloured gain lies below, or above, the colours' reach."""
    gains = [
        value
        for row in view.numbers["gain"]
        for value, unit in zip(row, view.units, strict=True)
        if unit == view.unit
    ]
    return any(v < -view.reach for v in gains), any(v > view.reach for v in gains)


def _known(view: MatrixView, name: str) -> bool:
    grid = view.numbers["p_adjusted" if name == "p" else name]
    return name == "score" or any(math.isfinite(value) for row in grid for value in row)


def _shows_gain(view: MatrixView) -> bool:
    return _known(view, "gain")


def _caption(view: MatrixView) -> str:
    what = "Gain over the base" if _shows_gain(view) else "Score"
    others = sorted({shown(unit, 40) for unit in view.units} - {view.unit})
    also = f", some columns in {', '.join(others)}" if others else ""
    return f"{what}, {shown(view.unit, 40)}{also}. * significant, ° suggestive, [ ] own task"


def _table_rows(view: MatrixView) -> list[tuple[str, list[str]]]:
    gain = _shows_gain(view)
    grid = view.numbers["gain" if gain else "score"]
    marks = {"significant": "*", "suggestive": "°"}
    rows = []
    for i, name in enumerate(view.sources):
        texts = []
        for j, value in enumerate(grid[i]):
            text = _value(value, signed=gain) + marks.get(view.verdicts[i][j], "")
            texts.append(f"[{text}]" if view.own[i][j] else text)
        rows.append((name, texts))
    return rows


def _value(value: float, *, signed: bool) -> str:
    return format_value(value, signed=signed).replace(
        "-", "–" if math.isnan(value) else "\N{MINUS SIGN}"
    )


def _cost_words(summary: Summary) -> str:
    cost = summary.cost
    if isinstance(cost, Lacking):
        return ""
    energy = (
        "; energy was not measured"
        if math.isnan(cost.energy_kwh)
        else f"; {cost.energy_kwh:.3g} kWh"
    )
    return (
        f"{counted(cost.n_adapters, 'training')}: {cost.training_seconds:,.0f} seconds, "
        f"{cost.training_tokens:,} tokens, {cost.steps:,} steps; {cost.answers:,} answers{energy}."
    )

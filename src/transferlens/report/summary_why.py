"""Why: the stories of the cells that surprise most, and of own tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from transferlens.explain import MECHANISMS, Story
from transferlens.report.analysis import Analyses
from transferlens.report.claim import Claim, Lacking, Verdict, counted, listed, verdict_of

__all__ = ["CellView", "WhyView", "cell_view", "main_mechanism", "why_view"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellView:
    """One cell as a page shows it."""

    row: int
    column: int
    """Places of source and target in the study."""
    surprise: str
    """Why one would not have expected it; empty for others."""
    verdict: Verdict
    main: str
    """Mechanism with the largest part whose interval excludes 0; empty where none does."""
    evidence: Mapping[str, Any]
    """The cell's row in the whole matrix, adjusted over all its cells."""
    story: Story


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """The stories that are told, and how many cells there are."""

    cells: tuple[CellView, ...]
    n_cells: int
    n_surprising: int
    claims: tuple[Claim, ...]


def why_view(found: Analyses, cells: pl.DataFrame) -> WhyView | Lacking:
    """Arrange the stories."""
    if isinstance(found.stories, Lacking):
        return found.stories
    rows = {(row["source"], row["target"]): row for row in cells.iter_rows(named=True)}
    why = (
        dict(
            zip(
                found.surprising.select("source", "target").rows(),
                found.surprising["surprise"].to_list(),
                strict=True,
            )
        )
        if found.surprising.height
        else {}
    )
    sources = [s.name for s in found.study.sources]
    targets = [t.name for t in found.study.targets]
    shown = tuple(
        cell_view(
            story,
            rows[story.source, story.target],
            row=sources.index(story.source),
            column=targets.index(story.target),
            surprise=str(why.get((story.source, story.target), "")),
        )
        for story in found.stories
    )
    return WhyView(
        cells=shown,
        n_cells=cells.filter(pl.col("gain").is_not_nan()).height,
        n_surprising=found.surprising.height,
        claims=tuple(_claims(shown, found, cells)),
    )


def cell_view(
    story: Story,
    evidence: Mapping[str, Any],
    *,
    row: int = 0,
    column: int = 0,
    surprise: str = "",
    level: float = 0.05,
) -> CellView:
    """Arrange one story; ``evidence`` has the p-values to go by."""
    return CellView(
        row=row,
        column=column,
        surprise=surprise,
        verdict=verdict_of(evidence["p_value"], evidence["p_adjusted"], level),
        main=main_mechanism(story.attribution),
        evidence=evidence,
        story=story,
    )


def main_mechanism(attribution: Mapping[str, Any]) -> str:
    """Return the mechanism that makes most of a gain and is not 0 within its interval."""
    sure = [
        name
        for name in MECHANISMS
        if attribution[f"{name}_low"] > 0 or attribution[f"{name}_high"] < 0
    ]
    gain = float(attribution["gain"])
    same = [name for name in sure if attribution[name] * gain > 0]
    return max(same, key=lambda name: abs(attribution[name]), default="")


def _claims(shown: tuple[CellView, ...], found: Analyses, cells: pl.DataFrame) -> list[Claim]:
    total = cells.filter(pl.col("gain").is_not_nan()).height
    surprising = sum(bool(cell.surprise) for cell in shown)
    text = (
        f"{counted(len(shown), 'cell')} of {total:,} told here: the most surprising ones"
        f" ({surprising} of {found.surprising.height}), helps and harms in"
        " turn, then own tasks. `transferlens explain DIR SOURCE TARGET --html FILE` tells any"
        " other."
    )
    claims = [Claim(text=text)]
    for name, words in _MECHANISMS.items():
        where = [f"{c.story.source} → {c.story.target}" for c in shown if c.main == name]
        if where:
            claims.append(
                Claim(
                    text=f"{words} is the largest part in {counted(len(where), 'cell')}: "
                    f"{listed(where, 3)}.",
                    verdict="significant",
                    section="why",
                )
            )
    return claims


_MECHANISMS = {
    "format": "Format (answers that can be read)",
    "prior": "Label prior (which labels are preferred)",
    "length": "Length of the answers",
    "skill": "Skill (better at equal format, label mix and length)",
}

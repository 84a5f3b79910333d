"""What the property of each twin changes, as a page needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from transferlens.explain.amounts import scale_and_unit
from transferlens.explain.twin_words import quantity
from transferlens.explain.twins import TwinEffects
from transferlens.report.claim import Claim, Lacking, Verdict, counted, verdict_of

__all__ = ["TwinRow", "TwinView", "TwinsView", "twins_view"]

_MOST_CLAIMS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinRow:
    """One measure on one target."""

    target: str
    what: str
    difference: float
    """Twin less source, in ``unit``."""
    low: float
    high: float
    unit: str
    p_adjusted: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinView:
    """One twin."""

    name: str
    source: str
    control: str
    rows: tuple[TwinRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinsView:
    """All twins."""

    claims: tuple[Claim, ...]
    twins: tuple[TwinView, ...]
    notes: tuple[str, ...]


def twins_view(found: TwinEffects | Lacking, level: float) -> TwinsView | Lacking:
    """Arrange the twins' effects."""
    if isinstance(found, Lacking):
        return found
    sentences = found.sentences(level)
    tested = found.frame.filter(pl.col("p_value").is_not_nan()).height
    head = Claim(
        text=f"{len(sentences)} of {counted(tested, 'tested effect')} of "
        f"{counted(found.frame['twin'].n_unique(), 'twin')} are significant.",
        verdict="significant" if sentences else "cannot tell",
        section="twins",
    )
    more = len(sentences) - _MOST_CLAIMS
    claims = [
        head,
        *(
            Claim(text=f"{text[0].upper()}{text[1:]}.", verdict="significant", section="twins")
            for text in sentences[:_MOST_CLAIMS]
        ),
        *([Claim(text=f"And {more} more, in the tables.", section="twins")] if more > 0 else []),
    ]
    groups = found.frame.partition_by("twin", maintain_order=True)
    return TwinsView(
        claims=tuple(claims),
        twins=tuple(_twin(group, level) for group in groups),
        notes=tuple(found.notes),
    )


def _twin(rows: pl.DataFrame, level: float) -> TwinView:
    first = rows.row(0, named=True)
    value = f" ({first['control_value']})" if first["control_value"] else ""
    return TwinView(
        name=first["twin"],
        source=first["source"],
        control=f"{first['control']}{value}",
        rows=tuple(_row(row, level) for row in rows.iter_rows(named=True)),
    )


def _row(row: dict[str, Any], level: float) -> TwinRow:
    scale, unit = scale_and_unit(row["unit"])
    return TwinRow(
        target=row["target"],
        what=quantity(row),
        difference=scale * row["difference"],
        low=scale * row["low"],
        high=scale * row["high"],
        unit=unit,
        p_adjusted=row["p_adjusted"],
        verdict=verdict_of(row["p_value"], row["p_adjusted"], level),
    )

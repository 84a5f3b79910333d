"""Who gives, who takes, and which transfers are one-way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from transferlens.explain.amounts import scale_and_unit
from transferlens.report.analysis import Analyses
from transferlens.report.claim import Claim, Lacking, Verdict, counted, p_in_words
from transferlens.results import format_value
from transferlens.transfer import Effects

__all__ = ["Edge", "Role", "RolesView", "roles_view"]

_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one source gives, or one target takes, beyond the average."""

    name: str
    effect: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One significant transfer."""

    source: str
    target: str
    gain: float
    low: float
    high: float
    unit: str
    p_adjusted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two tasks whose two directions differ."""

    first: str
    second: str
    forward: float
    backward: float
    difference: float
    low: float
    high: float
    p_adjusted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesView:
    """Roles and asymmetry, in points where the unit is a fraction."""

    unit: str
    claims: tuple[Claim, ...]
    donors: tuple[Role, ...]
    recipients: tuple[Role, ...]
    helps: tuple[Edge, ...]
    harms: tuple[Edge, ...]
    pairs: tuple[Pair, ...]
    """Significantly one-way."""
    hubs: tuple[tuple[str, str], ...]
    """Task and its label."""


def roles_view(found: Analyses) -> RolesView | Lacking:
    """Arrange roles and directed effects."""
    effects = found.effects
    if isinstance(effects, Lacking):
        return effects
    scale, unit = scale_and_unit(effects.unit)
    pairs = effects.pairs.filter(pl.col("p_adjusted") <= effects.level)
    return RolesView(
        unit=unit,
        claims=tuple(_claims(effects, pairs.height)),
        donors=tuple(_roles(effects.donors, "source", scale)),
        recipients=tuple(_roles(effects.recipients, "target", scale)),
        helps=tuple(_edges(effects.helps)),
        harms=tuple(_edges(effects.harms)),
        pairs=tuple(_pair(row, scale) for row in pairs.iter_rows(named=True)),
        hubs=tuple(effects.hubs.select("task", "label").iter_rows()),
    )


def _roles(frame: pl.DataFrame, axis: str, scale: float) -> Iterator[Role]:
    for row in frame.iter_rows(named=True):
        effect, low, high = (scale * row[name] for name in ("effect", "low", "high"))
        yield Role(name=row[axis], effect=effect, low=low, high=high)


def _edges(frame: pl.DataFrame) -> Iterator[Edge]:
    for row in frame.iter_rows(named=True):
        scale, unit = scale_and_unit(row["unit"])
        gain, low, high = (scale * row[name] for name in ("gain", "gain_low", "gain_high"))
        yield Edge(
            source=row["source"], target=row["target"], gain=gain, low=low, high=high,
            unit=unit, p_adjusted=row["p_adjusted"],
        )  # fmt: skip


def _pair(row: dict[str, Any], scale: float) -> Pair:
    numbers = {
        name: scale * row[name] for name in ("forward", "backward", "difference", "low", "high")
    }
    return Pair(first=row["first"], second=row["second"], p_adjusted=row["p_adjusted"], **numbers)


def _claims(effects: Effects, n_pairs: int) -> Iterator[Claim]:
    yield from _role_claim(effects.donors, "source", "Donors", "gives", effects.unit)
    yield from _role_claim(effects.recipients, "target", "Recipients", "takes", effects.unit)
    if effects.pairs.height:
        yield Claim(
            text=f"{n_pairs:,} of {counted(effects.pairs.height, 'pair')} are significantly "
            "one-way.",
            verdict="significant" if n_pairs else "cannot tell",
            section="roles",
        )
    if effects.asymmetry is not None:
        test = effects.asymmetry
        sure = test.skew_p_value <= effects.level
        yield Claim(
            text="Pair-specific transfer is no more than noise."
            if math.isnan(test.skew_share)
            else f"{test.skew_share:.0%} of the pair-specific transfer is one-way, after taking "
            f"off what noise gives ({p_in_words(test.skew_p_value)}).",
            verdict="significant" if sure else "cannot tell",
            section="roles",
        )


def _role_claim(
    frame: pl.DataFrame, axis: str, title: str, does: str, unit: str
) -> Iterator[Claim]:
    known = frame.filter(pl.col("effect").is_not_nan())
    if not known.height:
        return
    scale, shown = scale_and_unit(unit)
    above = known.filter(pl.col("low") > 0).height
    below = known.filter(pl.col("high") < 0).height
    row = known.row(0, named=True)
    effect, low, high = (scale * row[name] for name in ("effect", "low", "high"))
    verdict: Verdict = "significant" if low > 0 else "cannot tell"
    ends = (
        ""
        if math.isnan(low)
        else (f" [{format_value(low, signed=True)}, {format_value(high, signed=True)}]")
    )
    yield Claim(
        text=f"{title}: {row[axis]} {does} most, {format_value(effect, signed=True)}{ends} {shown} "
        f"beyond the average; {above:,} above it, {below:,} below (intervals without 0).",
        verdict=verdict,
        section="roles",
    )

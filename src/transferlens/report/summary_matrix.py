"""The transfer matrix as a page needs it: numbers by row and column, and orders to show them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from transferlens.report.analysis import Analyses
from transferlens.report.cells import NUMBERS, usual_unit
from transferlens.report.claim import Claim, Lacking, counted, listed
from transferlens.results import TransferStudy
from transferlens.traits import Traits
from transferlens.transfer import in_points

__all__ = ["MatrixView", "Order", "matrix_view"]

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Places of rows and columns, first to last."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixView:
    """All cells; fractions are points (hundredths)."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    source_families: tuple[str, ...]
    target_families: tuple[str, ...]
    metrics: tuple[str, ...]
    units: tuple[str, ...]
    higher_is_better: tuple[bool, ...]
    tests: tuple[str, ...]
    """How each target's gains are tested; ``"none"`` where they cannot be."""
    base: tuple[float, ...]
    """Score of the base; NaN where it is not known."""
    numbers: Mapping[str, Grid]
    """Each of `NUMBERS`: a row per source, a column per target; NaN where it is not known."""
    verdicts: tuple[tuple[str, ...], ...]
    own: tuple[tuple[bool, ...], ...]
    reach: float
    """Gain of full colour: the largest on other tasks, in the usual unit."""
    unit: str
    """Unit of most targets; only these are coloured."""
    orders: Mapping[str, Order]
    """``given``; ``family`` where there are families; ``alike`` where rows can be ordered by
    similarity."""
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]


def matrix_view(found: Analyses, cells: pl.DataFrame) -> MatrixView:
    """Arrange the cells."""
    study = found.study
    shown = in_points(cells)
    shape = (len(study.sources), len(study.targets))
    unit = usual_unit(shown)
    first = shown.head(shape[1])
    targets = dict(zip([t.name for t in study.targets], study.targets, strict=True))
    return MatrixView(
        sources=tuple(s.name for s in study.sources),
        targets=tuple(targets),
        source_families=tuple(_source_family(study)),
        target_families=tuple(t.family for t in study.targets),
        metrics=tuple(t.metric for t in study.targets),
        units=tuple(first["unit"].to_list()),
        higher_is_better=tuple(t.higher_is_better for t in study.targets),
        tests=tuple(first["test"].to_list()),
        base=tuple(first["base_score"].to_list()),
        numbers={name: _grid(shown[name], shape) for name in NUMBERS},
        verdicts=_rows(shown["verdict"].to_list(), shape[1]),
        own=_rows(shown["own"].to_list(), shape[1]),
        reach=_reach(shown, unit),
        unit=unit,
        orders=_orders(study, found.traits),
        claims=tuple(_claims(shown)),
        notes=(found.matrix.why,) if isinstance(found.matrix, Lacking) else found.matrix.notes,
    )


def _source_family(study: TransferStudy) -> Iterator[str]:
    of_target = {t.name: t.family for t in study.targets}
    yield from (s.family or of_target.get(s.name, "") for s in study.sources)


def _grid(values: pl.Series, shape: tuple[int, int]) -> Grid:
    array = values.cast(pl.Float64).to_numpy().reshape(shape)
    return tuple(tuple(map(float, row)) for row in array)


def _rows(values: Sequence[Any], width: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(values[at : at + width]) for at in range(0, len(values), width))


def _reach(cells: pl.DataFrame, unit: str) -> float:
    """Return the largest gain on other tasks, so that a large one on an own task hides none."""
    comparable = cells.filter(pl.col("unit") == unit, pl.col("gain").is_not_nan())
    others = comparable.filter(~pl.col("own"))
    chosen = (others if others.height else comparable)["gain"].abs()
    return max(float(np.max(chosen.to_numpy(), initial=0.0)), 1.0 if unit == "points" else 1e-9)


def _orders(study: TransferStudy, traits: Traits | Lacking) -> dict[str, Order]:
    n, p = len(study.sources), len(study.targets)
    orders = {"given": Order(rows=tuple(range(n)), columns=tuple(range(p)))}
    families = (list(_source_family(study)), [t.family for t in study.targets])
    if any(families[1]):
        orders["family"] = Order(rows=_by_family(families[0]), columns=_by_family(families[1]))
    if isinstance(traits, Traits):
        rows = [traits.sources[at] for at in traits.source_clusters.seriation.order]
        columns = [traits.targets[at] for at in traits.target_clusters.seriation.order]
        orders["alike"] = Order(
            rows=_places([s.name for s in study.sources], rows),
            columns=_places([t.name for t in study.targets], columns),
        )
    return orders


def _by_family(families: Sequence[str]) -> tuple[int, ...]:
    first = {family: at for at, family in reversed(list(enumerate(families)))}
    return tuple(sorted(range(len(families)), key=lambda at: (first[families[at]], at)))


def _places(names: Sequence[str], order: Sequence[str]) -> tuple[int, ...]:
    """Return where each name of an order stands; names that are not in it come last."""
    at = {name: place for place, name in enumerate(names)}
    known = [at[name] for name in order if name in at]
    return (*known, *(place for place in range(len(names)) if place not in set(known)))


def _claims(cells: pl.DataFrame) -> Iterator[Claim]:
    if cells["p_value"].is_not_nan().any():
        yield from _tested(cells)
    missing = cells.filter(pl.col("score").is_nan())
    if missing.height:
        names = [f"{s} → {t}" for s, t in missing.select("source", "target").rows()]
        yield Claim(text=f"{counted(missing.height, 'cell')} missing: {listed(names)}.")


def _tested(cells: pl.DataFrame) -> Iterator[Claim]:
    for verdict, said in (
        ("significant", "differ from the base after adjustment over all cells"),
        ("suggestive", "would only differ without the adjustment"),
    ):
        group = cells.filter(verdict=verdict)
        up = int((group["gain"] > 0).sum())
        yield Claim(
            text=f"{counted(group.height, 'cell')} of {cells.height:,} {said}: "
            f"{up:,} better, {group.height - up:,} worse.",
            section="matrix",
        )

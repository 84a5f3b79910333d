"""Cards of datasets and adapters, and what the study cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from transferlens.explain.amounts import scale_and_unit
from transferlens.explain.cards import MEASURES, StudyCards
from transferlens.explain.factors import FactorEvidence
from transferlens.report.claim import Lacking, gain_in_words
from transferlens.report.summary_provenance import environments
from transferlens.results import TransferStudy, format_value

__all__ = ["AdapterCard", "Cards", "Cost", "DatasetNumbers", "TaskCard", "cards", "cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """A target."""

    name: str
    family: str
    metric: str
    better: str
    """``higher`` or ``lower``."""
    n_examples: int | None
    majority_share: float | None
    base: str
    """Score of the untuned model with its unit; empty where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterCard:
    """A source and the adapter that was trained on it."""

    name: str
    family: str
    n_rows: int | None
    base_nll: float | None
    """Nats per token of its completions under the base."""
    own: str
    """Gain on its own task; empty without one."""
    helped: int
    harmed: int
    """Other tasks that it significantly helps and harms."""
    best: str
    worst: str
    """Other tasks with the largest gain and loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetNumbers:
    """One number of every source's training rows."""

    measure: str
    unit: str
    meaning: str
    values: tuple[tuple[str, float], ...]
    """Source and value; NaN where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """All cards, in the study's order."""

    tasks: tuple[TaskCard, ...]
    adapters: tuple[AdapterCard, ...]
    datasets: tuple[DatasetNumbers, ...]
    """What was computed from the rows; empty unless hidden factors were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the study cost, as far as it was recorded."""

    training_seconds: float
    training_tokens: int
    steps: int
    n_adapters: int
    answers: int
    energy_kwh: float
    """NaN where it was not measured."""
    per_adapter: tuple[tuple[str, int, float, int], ...]
    """Source, seed, seconds of training, tokens."""


def cards(study: TransferStudy, cells: pl.DataFrame, factors: FactorEvidence | Lacking) -> Cards:
    """Make the cards."""
    base = dict(cells.select("target", "base_score").unique("target").iter_rows())
    by_source = {
        str(key[0]): rows for key, rows in cells.partition_by("source", as_dict=True).items()
    }
    tasks = [
        TaskCard(
            name=t.name,
            family=t.family,
            metric=t.metric,
            better="higher" if t.higher_is_better else "lower",
            n_examples=t.n_examples,
            majority_share=t.majority_share,
            base=_score(base.get(t.name, math.nan), t.unit),
        )
        for t in study.targets
    ]
    adapters = [
        AdapterCard(
            name=s.name,
            family=s.family,
            n_rows=s.n_rows,
            base_nll=s.base_nll,
            **_effects(by_source[s.name]),
        )
        for s in study.sources
    ]
    return Cards(
        tasks=tuple(tasks),
        adapters=tuple(adapters),
        datasets=() if isinstance(factors, Lacking) else tuple(_datasets(factors.cards)),
    )


def _datasets(found: StudyCards) -> Iterator[DatasetNumbers]:
    for measure in MEASURES if found.sources else ():
        values = tuple((name, card.values[measure.name]) for name, card in found.sources.items())
        if not all(math.isnan(value) for _, value in values):
            yield DatasetNumbers(
                measure=measure.name.replace("_", " "),
                unit=measure.unit,
                meaning=measure.meaning,
                values=values,
            )


def _score(value: float, unit: str) -> str:
    scale, shown = scale_and_unit(unit)
    return "" if math.isnan(value) else f"{format_value(scale * value, signed=False)} {shown}"


def _effects(rows: pl.DataFrame) -> dict[str, Any]:
    own = rows.filter(pl.col("own"), pl.col("gain").is_not_nan()).to_dicts()
    other = rows.filter(~pl.col("own"), pl.col("gain").is_not_nan()).sort("gain")
    sure = other.filter(verdict="significant")
    ends = other.to_dicts()
    return {
        "own": gain_in_words(own[0]) if own else "",
        "helped": sure.filter(pl.col("gain") > 0).height,
        "harmed": sure.filter(pl.col("gain") < 0).height,
        "best": _named(ends[-1]) if ends and ends[-1]["gain"] > 0 else "",
        "worst": _named(ends[0]) if ends and ends[0]["gain"] < 0 else "",
    }


def _named(row: dict[str, Any]) -> str:
    return f"{row['target']} {gain_in_words(row)}, {row['verdict']}"


def cost(study: TransferStudy) -> Cost | Lacking:
    """Sum what was recorded of each training."""
    known = [m for m in environments(study) if isinstance(m.get("training"), dict)]
    if not known:
        return Lacking(
            why="What the adapters cost is not known; it is recorded when `transferlens run` "
            "trains them."
        )
    rows = tuple(_trained(known))
    energy = [float(m["training"]["energy_kwh"]) for m in known if "energy_kwh" in m["training"]]
    counts = study.score_rows.select(n=pl.col("n_scored") + pl.col("n_unscored"))["n"]
    return Cost(
        training_seconds=sum(seconds for _, _, seconds, _ in rows),
        training_tokens=sum(tokens for *_, tokens in rows),
        steps=sum(int(m["training"].get("n_steps", 0)) for m in known),
        n_adapters=len(rows),
        answers=int(counts.fill_nan(0.0).sum()),
        energy_kwh=sum(energy) if energy else math.nan,
        per_adapter=rows,
    )


def _trained(known: list[dict[str, Any]]) -> Iterator[tuple[str, int, float, int]]:
    for manifest in known:
        training = manifest["training"]
        yield (
            str(manifest.get("source", "")),
            int(training.get("seed", 0)),
            float(training.get("seconds", math.nan)),
            int(training.get("tokens", 0)),
        )

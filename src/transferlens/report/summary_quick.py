"""Quick answers: what was done, what was found, and what to be careful about, on one screen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from transferlens.explain import MECHANISMS
from transferlens.report.analysis import Analyses
from transferlens.report.cells import usual_unit
from transferlens.report.claim import (
    Claim,
    Lacking,
    Verdict,
    counted,
    gain_in_words,
    listed,
    p_in_words,
)
from transferlens.report.summary_provenance import base_name
from transferlens.report.summary_traits import TraitsView
from transferlens.report.summary_why import WhyView
from transferlens.results import TransferStudy
from transferlens.transfer import Effects

__all__ = [
    "Best",
    "Quick",
    "best_sources",
    "cautions",
    "method_name",
    "quick_answers",
    "what_was_done",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best source of one target, apart from its own."""

    target: str
    source: str
    gain: str
    """With interval and unit."""
    verdict: Verdict
    rivals: int
    """Other sources whose interval overlaps with that of the best one."""
    own: str
    """Gain of the target's own adapter; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The first screen."""

    claims: tuple[Claim, ...]
    best: tuple[Best, ...]
    """A row per target; empty without a base."""
    cautions: tuple[Claim, ...]


def quick_answers(
    found: Analyses, cells: pl.DataFrame, traits: TraitsView | Lacking, why: WhyView | Lacking
) -> Quick:
    """Answer what a reader asks first."""
    claims = [
        Claim(text=what_was_done(found.study, cells), section="findings"),
        *_effects(found.effects),
        *_extremes(cells),
        _abilities(traits),
        *_causes(why),
    ]
    return Quick(
        claims=tuple(claims),
        best=tuple(best_sources(cells)),
        cautions=tuple(cautions(found, cells)),
    )


def what_was_done(study: TransferStudy, cells: pl.DataFrame) -> str:
    """Say how large the study is, on which base, and by which method."""
    base = base_name(study)
    method = study.origin.get("method")
    how = f", {_with_size(method)}" if isinstance(method, dict) else ""
    on = f" on the base model {base}" if base else ""
    scored = cells["n_scored"].fill_nan(None).median()
    each = (
        f", {float(scored):,.0f} examples per task (median)"
        if isinstance(scored, float) and scored
        else ""
    )
    verb = "compared" if "imported" in study.origin else "trained and compared"
    return (
        f"{counted(len(study.sources), 'adapter')} × {counted(len(study.targets), 'task')} "
        f"{verb}{on}{how}, with {counted(len(study.seeds), 'seed')}{each}."
    )


def method_name(method: Mapping[str, Any]) -> str:
    """Return an adaptation method as it is written."""
    name = str(method.get("name", "adapter"))
    return _METHODS.get(name, name)


_METHODS = {
    "lora": "LoRA",
    "rslora": "rsLoRA",
    "dora": "DoRA",
    "ia3": "IA³",
    "prompt": "prompt tuning",
    "prefix": "prefix tuning",
    "full": "full fine-tuning",
    "bitfit": "BitFit (biases alone)",
}


def _with_size(method: Mapping[str, Any]) -> str:
    """Return a method with what decides how much it trains, where there is such a setting."""
    name = method_name(method)
    if "rank" in method:
        return f"{name} of rank {method['rank']}"
    if "virtual_tokens" in method:
        return f"{name} with {method['virtual_tokens']} virtual tokens"
    return name


def _effects(effects: Effects | Lacking) -> Iterator[Claim]:
    if isinstance(effects, Lacking):
        yield Claim(text=effects.why, verdict="cannot tell", section="matrix")
        return
    helps, harms = effects.helps.height, effects.harms.height
    if not effects.n_tested:
        yield Claim(
            text="No effect on another task could be tested; gains are shown without evidence.",
            verdict="cannot tell",
            section="matrix",
        )
        return
    yield Claim(
        text=f"Of {effects.n_tested:,} effects on other tasks {helps:,} help and {harms:,} harm "
        f"(adjusted p ≤ {effects.level:g}); for the other "
        f"{effects.n_tested - helps - harms:,} one cannot tell.",
        verdict="significant" if helps + harms else "cannot tell",
        section="matrix",
    )


def _extremes(cells: pl.DataFrame) -> Iterator[Claim]:
    other = cells.filter(
        ~pl.col("own"), pl.col("gain").is_not_nan(), pl.col("unit") == usual_unit(cells)
    )
    for title, descending in (("help", True), ("harm", False)):
        rows = other.sort("gain", descending=descending).head(1).to_dicts()
        if rows and (rows[0]["gain"] > 0) == descending and rows[0]["gain"] != 0:
            row = rows[0]
            yield Claim(
                text=f"Strongest {title}: {row['source']} on {row['target']}, "
                f"{gain_in_words(row)} ({_adjusted(row['p_adjusted'])}).",
                verdict=row["verdict"],
                section="roles",
            )
        else:
            yield Claim(text=f"No adapter has a {title} on another task.", section="matrix")


def _adjusted(p_value: float) -> str:
    words = p_in_words(p_value)
    return words if math.isnan(p_value) else f"adjusted {words}"


def best_sources(cells: pl.DataFrame) -> Iterator[Best]:
    """Yield the best other source per target, in the targets' order."""
    for rows in cells.partition_by("target", maintain_order=True):
        others = rows.filter(~pl.col("own"), pl.col("gain").is_not_nan())
        if not others.height:
            continue
        ranked = others.sort("gain", descending=True, maintain_order=True)
        best = ranked.row(0, named=True)
        rivals = (
            ranked.slice(1)
            .filter(pl.col("gain_high").is_not_nan(), pl.col("gain_high") >= best["gain_low"])
            .height
        )
        own = rows.filter(pl.col("own"), pl.col("gain").is_not_nan()).to_dicts()
        yield Best(
            target=best["target"],
            source=best["source"],
            gain=gain_in_words(best),
            verdict=best["verdict"],
            rivals=rivals,
            own=gain_in_words(own[0]) if own else "",
        )


def _abilities(traits: TraitsView | Lacking) -> Claim:
    if isinstance(traits, Lacking):
        return Claim(text=traits.why, verdict="cannot tell", section="traits")
    return traits.claims[0]


def _causes(why: WhyView | Lacking) -> Iterator[Claim]:
    if isinstance(why, Lacking):
        yield Claim(text=why.why, verdict="cannot tell", section="why")
        return
    surprising = [cell for cell in why.cells if cell.surprise]
    if not surprising:
        yield Claim(
            text="No surprise: no significant gain on another family, no significant loss within "
            "one.",
            section="why",
        )
        return
    main = Counter(cell.main for cell in surprising if cell.main)
    ranked = sorted(main.items(), key=lambda item: (-item[1], MECHANISMS.index(item[0])))
    parts = ", ".join(f"{_NAMES[name]} in {number}" for name, number in ranked)
    total = why.n_surprising
    told = f"the {len(surprising)} looked into" if len(surprising) < total else "all of them"
    yield Claim(
        text=f"{counted(total, 'surprise')}. The largest part of the gain, where its interval "
        f"excludes 0, over {told}: {parts or 'none can be told'}.",
        verdict="significant" if main else "cannot tell",
        section="why",
    )


_NAMES = {
    "format": "answers that can be read",
    "prior": "preferred labels",
    "length": "length of answers",
    "skill": "skill (the rest)",
}


def cautions(found: Analyses, cells: pl.DataFrame) -> Iterator[Claim]:
    """Yield what a reader must be careful about; each is a count of this very study."""
    study = found.study
    yield from _about_seeds(cells, len(study.seeds))
    usual = cells.filter(pl.col("unit") == usual_unit(cells), pl.col("detectable").is_not_nan())
    if usual.height:
        middle = usual["detectable"].median()
        row = {
            "gain": middle,
            "gain_low": math.nan,
            "gain_high": math.nan,
            "unit": usual["unit"][0],
        }
        yield Claim(
            text=f"Effects below about {gain_in_words(row).lstrip('+')} (median over cells) are "
            "missed more often than one time in five.",
            section="matrix",
        )
    missing = cells.filter(pl.col("score").is_nan()).height
    if missing:
        yield Claim(
            text=f"{counted(missing, 'cell')} of {cells.height:,} missing.", section="matrix"
        )
    unscored = cells["n_unscored"].fill_nan(0.0).sum()
    if unscored:
        yield Claim(text=f"{unscored:,.0f} answers are unscored and left out.", section="matrix")
    yield from _floors(study, cells)
    units = cells["unit"].n_unique()
    if units > 1:
        yield Claim(text=f"Targets have {units} different units, which cannot be compared.")


def _about_seeds(cells: pl.DataFrame, n_seeds: int) -> Iterator[Claim]:
    tested = cells.filter(pl.col("p_value").is_not_nan())
    if not tested.height:
        yield Claim(
            text="No gain has evidence: scores of one seed, without single answers.",
            verdict="cannot tell",
            section="matrix",
        )
    elif not tested["training_known"].any():
        yield Claim(
            text="One seed: the tests say whether these runs differ from the base, not whether "
            "another training run would.",
            section="findings",
        )
    elif n_seeds < 3:
        yield Claim(text="Two seeds say little about how training varies.", section="findings")


def _floors(study: TransferStudy, cells: pl.DataFrame) -> Iterator[Claim]:
    base = dict(cells.select("target", "base_score").unique("target").iter_rows())
    floor = [
        t.name
        for t in study.targets
        if t.majority_share is not None
        and t.unit == "fraction"
        and t.higher_is_better
        and base.get(t.name, math.nan) <= t.majority_share
    ]
    if floor:
        yield Claim(
            text=f"The base scores no better than always giving the most frequent answer on "
            f"{listed(floor)}: a gain there can be a matter of which answer is preferred.",
            section="why",
        )

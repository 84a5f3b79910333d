"""Odds ratios and success ratios of all features, for every source on one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transferlens.errors import AnalysisError
from transferlens.explain.linguistics.catalog import Feature
from transferlens.explain.linguistics.exact import exact_odds_ratio
from transferlens.explain.linguistics.logit import penalized_logit
from transferlens.explain.linguistics.outcomes import Outcomes, success_ratios
from transferlens.explain.linguistics.table import FeatureTable
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray

__all__ = ["CellRules", "CellTests", "Design", "TargetEvidence", "target_evidence"]

Words = NDArray[np.object_]

_LENGTH = "n_words"
_N_STRATA = 4
_SAME_LENGTH = 1e-9
PRESENT, NUMBER = "present", "per SD"


class CellRules(NamedTuple):
    """See `LinguisticSensitivity`."""

    method: str
    few: int
    min_discordant: int
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """The features of a target's examples, as they enter the model."""

    names: tuple[str, ...]
    values: FloatArray
    """0 or 1, or in standard deviations from the mean, (feature, example)."""
    present: FloatArray
    """1 where a text has any of the feature, 0 where none; NaN for a number, or where it is
    not known; (feature, example)."""
    log_length: FloatArray
    """Logarithm of one plus the number of words, (example,)."""
    strata: FloatArray
    """Quarter of the text length, (example,)."""
    coding: Words
    """``"present"`` or ``"per SD"``, (feature,)."""
    scale: FloatArray
    """What one unit of `values` is in the feature's own unit, (feature,)."""
    n_present: FloatArray
    """Number of texts that have the feature; NaN for a number, (feature,)."""
    reason: Words
    """Why a feature cannot be tested on this target; empty where it can, (feature,)."""

    @classmethod
    def of(
        cls, table: FeatureTable, example: IntArray, features: Sequence[Feature], *, target: str
    ) -> Design:
        """Arrange features by the numbers of the examples.

        Raises
        ------
        AnalysisError
            An example has no text.
        """
        frame = pl.DataFrame({"example": example}).join(
            table.frame.with_columns(has_text=pl.lit(value=True)),
            on="example",
            how="left",
            maintain_order="left",
        )
        if frame.height != len(example) or frame["has_text"].null_count():
            without = frame.filter(pl.col("has_text").is_null())["example"]
            which = f"example {without[0]} has no text" if len(without) else "an example has two"
            msg = f"target {target!r}: {which}; give one text for each example"
            raise AnalysisError(msg)
        raw = frame.select(f.name for f in features).to_numpy().T.astype(np.float64)
        length = np.log1p(frame[_LENGTH].to_numpy().astype(np.float64))
        coded = [_coded(row, feature) for row, feature in zip(raw, features, strict=True)]
        return cls(
            names=tuple(feature.name for feature in features),
            values=np.stack([each.values for each in coded]),
            present=np.stack([each.present for each in coded]),
            log_length=length,
            strata=_quarters(length),
            coding=np.array([each.coding for each in coded], dtype=object),
            scale=np.array([each.scale for each in coded]),
            n_present=np.array([_n_present(each.present) for each in coded]),
            reason=np.array(
                [
                    table.reason(feature) or each.reason
                    for feature, each in zip(features, coded, strict=True)
                ],
                dtype=object,
            ),
        )


class _Coded(NamedTuple):
    """One feature as it enters the model."""

    values: FloatArray
    present: FloatArray
    coding: str
    scale: float
    reason: str


def _coded(raw: FloatArray, feature: Feature) -> _Coded:
    unknown = np.full(len(raw), np.nan)
    known = raw[~np.isnan(raw)]
    present = np.where(np.isnan(raw), np.nan, raw > 0) if feature.coding != "number" else unknown
    if not len(known) or np.ptp(known) <= 1e-9 * max(1.0, np.abs(known).max()):
        reason = "the same in all texts" if len(known) else "not known for any text"
        coding = NUMBER if feature.coding == "number" else PRESENT
        return _Coded(unknown, present, coding, np.nan, reason)
    if feature.coding == "flag" or (feature.coding == "count" and (known > 0).mean() < 0.5):
        return _Coded(present, present, PRESENT, 1.0, "")
    sd = float(known.std())
    return _Coded((raw - known.mean()) / sd, present, NUMBER, sd, "")


def _n_present(present: FloatArray) -> float:
    return float(np.nansum(present)) if (~np.isnan(present)).any() else np.nan


def _quarters(length: FloatArray) -> FloatArray:
    if not len(length):
        return length
    edges = np.quantile(length, np.linspace(0, 1, _N_STRATA + 1)[1:-1])
    return np.searchsorted(edges, length).astype(np.float64)


class CellTests(NamedTuple):
    """Evidence about each feature, (source, feature) each."""

    odds_ratio: FloatArray
    odds_low: FloatArray
    odds_high: FloatArray
    p_value: FloatArray
    method: Words
    reason: Words
    success_ratio: FloatArray
    adapter_right: FloatArray
    base_right: FloatArray
    ratio_reliable: BoolArray


class TargetEvidence(NamedTuple):
    """Everything about one target."""

    tests: CellTests
    gained: FloatArray
    """Examples on which the adapter is better than the base, (source,)."""
    lost: FloatArray
    design: Design
    n_seeds: int


class _Pairs(NamedTuple):
    """The examples on which adapter and base differ; see `Design`."""

    won: FloatArray
    """1 where the adapter is better, else 0, (pair,)."""
    values: FloatArray
    present: FloatArray
    log_length: FloatArray
    strata: FloatArray


class _Cell(NamedTuple):
    """Odds ratios of one source, (feature,) each."""

    odds_ratio: FloatArray
    odds_low: FloatArray
    odds_high: FloatArray
    p_value: FloatArray
    method: Words
    reason: Words


def target_evidence(
    found: Outcomes, design: Design, rules: CellRules, *, higher_is_better: bool
) -> TargetEvidence:
    """Test all features for all sources on one target."""
    cells = [_cell(sign, design, rules) for sign in found.sign]
    ratios = success_ratios(found, design.present)
    counted = found.right_or_wrong and higher_is_better
    of_texts = counted & (design.n_present > 0)
    right = [np.where(of_texts, a, np.nan) for a in (ratios.adapter_right, ratios.base_right)]
    shape = (len(cells), len(design.names))
    stacked = {
        name: np.array([getattr(cell, name) for cell in cells]).reshape(shape)
        for name in _Cell._fields
    }
    tests = CellTests(
        **stacked,
        success_ratio=np.where(of_texts, ratios.ratio, np.nan),
        adapter_right=right[0],
        base_right=right[1],
        ratio_reliable=np.minimum(*right) >= rules.few,
    )
    gained, lost = ((found.sign == side).sum(axis=1).astype(np.float64) for side in (1.0, -1.0))
    return TargetEvidence(tests, gained, lost, design, found.n_seeds)


def _cell(sign: FloatArray, design: Design, rules: CellRules) -> _Cell:
    """Test all features for one source; the examples are those on which the models differ."""
    discordant = np.abs(sign) == 1.0
    n, won = int(discordant.sum()), int((sign == 1.0).sum())
    cell = _untested(design)
    if n < rules.min_discordant:
        return _with_reason(cell, f"adapter and base disagree on {n} examples only")
    if won in (0, n):
        side = "wins" if won else "loses"
        return _with_reason(cell, f"the adapter {side} all {n} examples on which they disagree")
    pairs = _Pairs(
        won=(sign[discordant] == 1.0).astype(np.float64),
        values=design.values[:, discordant],
        present=design.present[:, discordant],
        log_length=design.log_length[discordant],
        strata=design.strata[discordant],
    )
    exact = _exactly(design, pairs, rules)
    testable = design.reason == ""
    alone = np.array([name == _LENGTH for name in design.names])
    beside_length = testable & ~exact & ~alone
    _firth(cell, pairs, pairs.log_length[None, :], beside_length, rules)
    # Length cannot be its own covariate.
    _firth(cell, pairs, pairs.log_length[None, :][:0], testable & alone, rules)
    for at in np.flatnonzero(testable & exact):
        _exact(cell, int(at), pairs, rules)
    silent = testable & np.isnan(cell.p_value)
    cell.reason[silent] = "does not vary beyond length where adapter and base disagree"
    return cell


def _untested(design: Design) -> _Cell:
    n = len(design.names)
    return _Cell(
        odds_ratio=np.full(n, np.nan),
        odds_low=np.full(n, np.nan),
        odds_high=np.full(n, np.nan),
        p_value=np.full(n, np.nan),
        method=np.full(n, "", dtype=object),
        reason=design.reason.copy(),
    )


def _with_reason(cell: _Cell, reason: str) -> _Cell:
    cell.reason[cell.reason == ""] = reason
    return cell


def _exactly(design: Design, pairs: _Pairs, rules: CellRules) -> BoolArray:
    """Say which features are tested exactly."""
    flags: BoolArray = np.equal(design.coding, PRESENT)
    if rules.method == "firth":
        return np.zeros_like(flags)
    if rules.method == "exact":
        return flags
    here = pairs.present
    rarer = np.minimum((here == 1.0).sum(axis=1), (here == 0.0).sum(axis=1))
    rare: BoolArray = flags & (rarer < rules.few)
    return rare


def _firth(
    cell: _Cell, pairs: _Pairs, covariates: FloatArray, which: BoolArray, rules: CellRules
) -> None:
    """Fill in the features that are tested by Firth's method."""
    if not which.any():
        return
    if np.ptp(pairs.log_length) < _SAME_LENGTH:
        covariates = np.empty((0, len(pairs.won)))
    fits = penalized_logit(pairs.won, pairs.values[which], covariates, confidence=rules.confidence)
    # Of a text a million letters long an odds ratio can be beyond all numbers: infinite.
    with np.errstate(over="ignore"):
        cell.odds_ratio[which] = np.exp(fits.estimate)
        cell.odds_low[which] = np.exp(fits.low)
        cell.odds_high[which] = np.exp(fits.high)
    cell.p_value[which] = fits.p_value
    cell.method[which] = "Firth, profile likelihood"


def _exact(cell: _Cell, at: int, pairs: _Pairs, rules: CellRules) -> None:
    """Fill in one feature that is tested exactly."""
    known = ~np.isnan(pairs.present[at])
    found = exact_odds_ratio(
        pairs.won[known],
        pairs.present[at, known],
        pairs.strata[known],
        confidence=rules.confidence,
    )
    cell.odds_ratio[at], cell.odds_low[at], cell.odds_high[at], cell.p_value[at] = found
    cell.method[at] = "exact, within quarters of length"

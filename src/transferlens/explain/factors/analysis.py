"""Which factors of the data predict the gains on other tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.explain.cards.study import StudyCards, study_cards
from transferlens.explain.factors.blocks import block_fit, folds_of
from transferlens.explain.factors.catalog import FACTORS, Factor, checked_factors, factor_values
from transferlens.explain.factors.gains import Gains, gains_of, given_by_sources, over_cells
from transferlens.explain.factors.needed import paired_t, sources_for_difference
from transferlens.explain.factors.result import BlockComparison, FactorEvidence, FactorTest
from transferlens.explain.similarity import Embedder
from transferlens.results import TransferStudy
from transferlens.stats import (
    VarianceComponents,
    adjust_p_values,
    variance_components,
)
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray, checked_level
from transferlens.stats.mantel import mantel
from transferlens.stats.mrqap import PermutationRegression, mrqap, source_regression
from transferlens.stats.orders import task_orders

__all__ = ["Factors"]

# Below five sources not even one factor may stand in a model (most_predictors).
_FEWEST = 5
_POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Test which properties of the data go with gains on other tasks.

    A factor of a source and a target, such as their similarity, is tested within the cells
    after the levels of sources and targets are removed; whole tasks are permuted. A factor
    of a source alone, such as its size, has one observation per source: what the source
    gives on average, beyond the level of the targets; whole sources are permuted.
    """

    factors: tuple[str, ...] = ()
    """Names from `FACTORS`; all by default."""
    together: bool = False
    """Whether the named factors stand in one model, each tested with the others held fixed.
    At most a fifth as many as there are sources."""
    n_permutations: int = 1_999
    """Permutations of each factor."""
    n_block_permutations: int = 499
    """Permutations of the comparison of blocks; 0 leaves it out."""
    confidence: float = 0.95
    """Nominal coverage of the intervals; its rest is the level of the comparison."""
    smallest: float = 0.1
    """Difference between the blocks that would matter, as a share of the variance."""

    def __call__(
        self,
        study: TransferStudy,
        *,
        rng: np.random.Generator,
        cards: StudyCards | None = None,
        embed: Embedder | None = None,
        values: Mapping[str, FloatArray] | None = None,
    ) -> FactorEvidence:
        """Test the factors on the cells of a study that are not a source's own task.

        Gains are means over seeds. Targets in another unit than most are left out.

        Parameters
        ----------
        study
            With predictions, or with scores only.
        rng
            Source of permutations and folds.
        cards
            See `study_cards`, which is called by default.
        embed
            For the semantic similarity; TF-IDF by default.
        values
            Values of factors that are known from elsewhere, (source,) or (source, target);
            they replace the computed ones.

        Raises
        ------
        AnalysisError
            The study has no base scores or fewer than five sources; a factor is unknown; too
            many factors are to stand in one model.
        """
        checked_level(self.confidence, name="confidence")
        chosen = checked_factors(self.factors)
        gains = gains_of(study)
        known = ~np.isnan(gains.gain)
        n_sources = int(known.any(axis=1).sum())
        if n_sources < _FEWEST:
            msg = f"{n_sources} sources have a gain on another task; factors need {_FEWEST}"
            raise AnalysisError(msg)
        found = study_cards(study) if cards is None else cards
        of_factor = factor_values(study, found, embed=embed) | dict(values or {})
        of_tests, of_blocks = rng.spawn(2)
        if self.together:
            tests = self._jointly(chosen, of_factor, gains, of_tests)
        else:
            # A stream each: what is tested beside a factor does not change its p-value.
            streams = dict(
                zip([f.name for f in FACTORS], of_tests.spawn(len(FACTORS)), strict=True)
            )
            tests = [self._alone(f, of_factor[f.name], gains, streams[f.name]) for f in chosen]
        comparison, notes = self._compare(of_factor, gains, of_blocks)
        return FactorEvidence(
            tests=_adjusted(tests),
            together=self.together,
            comparison=comparison,
            components=_components(gains.gain),
            cards=found,
            unit=gains.unit,
            n_sources=n_sources,
            n_targets=int(known.any(axis=0).sum()),
            n_cells=int(known.sum()),
            notes=(*gains.notes, *found.notes, *notes),
        )

    def _alone(
        self, factor: Factor, x: FloatArray, gains: Gains, rng: np.random.Generator
    ) -> FactorTest:
        if reason := _untestable(factor, x, gains):
            return _empty(factor, reason)
        spread = _spread(x, gains.gain)
        n = self.n_permutations
        try:
            if factor.level == "source":
                fit = source_regression(
                    given_by_sources(gains.gain), (x / spread)[None],
                    rng=rng, confidence=self.confidence, n_permutations=n,
                )  # fmt: skip
            else:
                fit = mrqap(
                    gains.gain, (x / spread)[None], rng=rng, own=gains.own,
                    confidence=self.confidence, n_permutations=n,
                )  # fmt: skip
        except AnalysisError as error:
            return _empty(factor, str(error))
        test = _test(factor, fit, 0, spread)
        if factor.level == "source":
            level = given_by_sources(gains.gain)
            both = ~np.isnan(level) & ~np.isnan(x)
            r = float(np.corrcoef(level[both], x[both])[0, 1])
            cells = int((~np.isnan(gains.gain) & ~np.isnan(x)[:, None]).sum())
            return replace(test, correlation=r, n_cells=cells)
        plain = mantel(x, gains.gain, rng=rng, own=gains.own, n_permutations=n)
        return replace(test, correlation=plain.r, mantel_p_value=plain.p_value)

    def _jointly(
        self,
        chosen: Sequence[Factor],
        of_factor: Mapping[str, FloatArray],
        gains: Gains,
        rng: np.random.Generator,
    ) -> list[FactorTest]:
        for factor in chosen:
            if reason := _untestable(factor, of_factor[factor.name], gains):
                msg = f"{factor.name} cannot stand in the model: {reason}"
                raise AnalysisError(msg)
        spreads = [_spread(of_factor[f.name], gains.gain) for f in chosen]
        x = [of_factor[f.name] / spread for f, spread in zip(chosen, spreads, strict=True)]
        if all(factor.level == "source" for factor in chosen):
            fit = source_regression(
                given_by_sources(gains.gain), np.stack(x), rng=rng,
                n_permutations=self.n_permutations, confidence=self.confidence,
            )  # fmt: skip
        else:
            # The level of a source would swallow its factors.
            mixed = any(factor.level == "source" for factor in chosen)
            tables = np.stack([over_cells(values, gains.gain) for values in x])
            fit = mrqap(
                gains.gain, tables, rng=rng, own=gains.own,
                effects="target" if mixed else "both",
                n_permutations=self.n_permutations, confidence=self.confidence,
            )  # fmt: skip
        pairs = zip(chosen, spreads, strict=True)
        return [_test(factor, fit, at, spread) for at, (factor, spread) in enumerate(pairs)]

    def _compare(
        self, of_factor: Mapping[str, FloatArray], gains: Gains, rng: np.random.Generator
    ) -> tuple[BlockComparison | None, list[str]]:
        if not self.n_block_permutations:
            return None, []
        rows, columns = _complete(of_factor, gains)
        known = ~np.isnan(gains.gain[np.ix_(rows, columns)])
        blocks = {
            name: _block(name, of_factor, gains, rows, columns) for name in ("surface", "hidden")
        }
        first = "surface and hidden factors were not compared:"
        if known.any(axis=1).sum() < _FEWEST or known.any(axis=0).sum() < 2:
            return None, [
                f"{first} the data of {len(rows)} sources and {len(columns)} targets known"
            ]
        if lacking := [name for name, factors in blocks.items() if not factors]:
            return None, [f"{first} no {lacking[0]} factor varies and is known of all data"]
        return self._compared(blocks, gains, rows, columns, rng), []

    def _compared(
        self,
        blocks: Mapping[str, Mapping[str, FloatArray]],
        gains: Gains,
        rows: IntArray,
        columns: IntArray,
        rng: np.random.Generator,
    ) -> BlockComparison:
        outcome = gains.gain[np.ix_(rows, columns)]
        place = {int(column): at for at, column in enumerate(columns)}
        own = np.array([place.get(int(column), -1) for column in gains.own[rows]])
        folds = folds_of(len(rows), rng=rng)
        active = np.ones(outcome.shape, dtype=np.bool_)
        orders = task_orders(own, len(columns), rng=rng, n=self.n_block_permutations, active=active)
        tables = {name: np.stack(list(block.values())) for name, block in blocks.items()}
        surface, hidden = (
            block_fit(outcome, tables[name], folds=folds, orders=orders)
            for name in ("surface", "hidden")
        )
        both = block_fit(
            outcome, np.concatenate(list(tables.values())), folds=folds,
            orders=task_orders(own, len(columns), rng=rng, n=1, active=active),
        )  # fmt: skip
        gap = len(rows) / surface.total.sum() * (surface.error - hidden.error)
        return BlockComparison(
            surface=surface,
            hidden=hidden,
            both_r2=both.r2,
            difference=paired_t(gap, confidence=self.confidence),
            surface_factors=tuple(blocks["surface"]),
            hidden_factors=tuple(blocks["hidden"]),
            n_sources=len(rows),
            level=1.0 - self.confidence,
            smallest=self.smallest,
            sources_needed=sources_for_difference(
                self.smallest, float(gap.std(ddof=1)), power=_POWER, alpha=1.0 - self.confidence
            ),
        )


def _components(gain: FloatArray) -> VarianceComponents | None:
    """Return how the gains vary; None where there are too few of them to say."""
    try:
        return variance_components(gain)
    except AnalysisError:
        return None


def _spread(x: FloatArray, gain: FloatArray) -> float:
    """Return the standard deviation over the cells, or the sources, that have a gain."""
    known = ~np.isnan(gain)
    return float(np.nanstd(x[known.any(axis=1)] if x.ndim == 1 else x[known]))


def _untestable(factor: Factor, x: FloatArray, gains: Gains) -> str:
    known: BoolArray = ~np.isnan(gains.gain) & ~np.isnan(over_cells(x, gains.gain))
    n = int(known.any(axis=1).sum())
    if n < _FEWEST:
        return "not known of any source" if not n else f"known of {n} sources only"
    values = over_cells(x, gains.gain)[known]
    if _constant(values):
        what = "source" if factor.level == "source" else "cell"
        return f"the same for every {what}"
    return ""


def _constant(values: FloatArray) -> bool:
    return bool(np.ptp(values) <= 1e-12 * max(float(np.abs(values).max()), 1e-300))


def _test(factor: Factor, fit: PermutationRegression, at: int, spread: float) -> FactorTest:
    half = float(fit.high[at] - fit.low[at]) / 2.0
    z = stats.norm.ppf((1.0 + fit.confidence) / 2.0)
    return FactorTest(
        factor=factor.name,
        level=factor.level,
        block=factor.block,
        group=factor.group,
        coefficient=float(fit.coefficient[at]),
        low=float(fit.low[at]),
        high=float(fit.high[at]),
        p_value=float(fit.p_value[at]),
        p_adjusted=math.nan,
        correlation=math.nan,
        mantel_p_value=math.nan,
        partial_r2=float(fit.partial_r2[at]),
        detectable=half * float(z + stats.norm.ppf(_POWER)) / float(z),
        spread=spread,
        n_effective=fit.n_sources,
        n_cells=fit.n_cells,
        reason="",
    )


def _empty(factor: Factor, reason: str) -> FactorTest:
    numbers = (
        *("coefficient", "low", "high", "p_value", "p_adjusted", "correlation"),
        *("mantel_p_value", "partial_r2", "detectable", "spread"),
    )
    return FactorTest(
        factor=factor.name,
        level=factor.level,
        block=factor.block,
        group=factor.group,
        n_effective=0,
        n_cells=0,
        reason=reason,
        **dict.fromkeys(numbers, math.nan),
    )


def _adjusted(tests: Sequence[FactorTest]) -> tuple[FactorTest, ...]:
    p = adjust_p_values([test.p_value for test in tests], method="bh")
    pairs = zip(tests, p.tolist(), strict=True)
    return tuple(replace(test, p_adjusted=value) for test, value in pairs)


def _complete(of_factor: Mapping[str, FloatArray], gains: Gains) -> tuple[IntArray, IntArray]:
    """Return the sources and targets with gains whose data are known."""
    known = ~np.isnan(gains.gain)
    seen = ~np.isnan(of_factor["input_length_gap"])
    rows, columns = known.any(axis=1) & seen.any(axis=1), known.any(axis=0) & seen.any(axis=0)
    return np.flatnonzero(rows), np.flatnonzero(columns)


def _block(
    name: str,
    of_factor: Mapping[str, FloatArray],
    gains: Gains,
    rows: IntArray,
    columns: IntArray,
) -> dict[str, FloatArray]:
    """Return the factors of a block that are known of all data and not constant."""
    at = np.ix_(rows, columns)
    known = ~np.isnan(gains.gain[at])
    away = gains.own[rows][:, None] != columns
    found = {}
    for factor in FACTORS:
        values = over_cells(of_factor[factor.name], gains.gain)[at]
        inside = values[known]
        complete = inside.size > 0 and not np.isnan(values[away]).any()
        if factor.block == name and complete and not _constant(inside):
            found[factor.name] = values
    return found

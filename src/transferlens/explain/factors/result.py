"""What the analysis of factors returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import polars as pl

from transferlens.explain.cards.study import StudyCards
from transferlens.explain.factors.blocks import BlockFit
from transferlens.explain.factors.needed import detectable_share, sources_for_share
from transferlens.stats import PairedTest, VarianceComponents

__all__ = ["BlockComparison", "FactorEvidence", "FactorTest"]

_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorTest:
    """One factor; numbers are NaN where it could not be tested, with a reason."""

    factor: str
    level: str
    """``source``: a property of the training data alone, one observation per source;
    ``pair``: of source and target together."""
    block: str
    group: str
    coefficient: float
    """Change of the gain per standard deviation of the factor, with source and target
    effects removed (for a factor of sources: target effects)."""
    low: float
    high: float
    p_value: float
    """By permutation of whole tasks, two-sided."""
    p_adjusted: float
    """Benjamini-Hochberg over the factors."""
    correlation: float
    """With the gain, nothing removed but own cells; of a factor of sources with the
    mean gain that a source gives."""
    mantel_p_value: float
    """Of the correlation of a pair factor, by Mantel's test; NaN for a factor of sources."""
    partial_r2: float
    """Share of what the effects leave that the factor explains, in-sample."""
    detectable: float
    """Smallest coefficient that such a study finds with 80 % power, before adjustment."""
    spread: float
    """Standard deviation of the factor, in its own unit."""
    n_effective: int
    """Number of sources that count: the independent observations."""
    n_cells: int
    reason: str
    """Why it was not tested; empty otherwise."""

    @property
    def rank(self) -> tuple[float, float]:
        """What to sort by, the surest first; permutations leave ties."""
        return self.p_value, -self.partial_r2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockComparison:
    """What surface and hidden factors predict about sources that were held out."""

    surface: BlockFit
    hidden: BlockFit
    both_r2: float
    """Cross-validated share that both blocks predict together."""
    difference: PairedTest
    """Share that hidden factors predict less the share that surface factors predict, over
    sources."""
    surface_factors: tuple[str, ...]
    hidden_factors: tuple[str, ...]
    n_sources: int
    level: float
    smallest: float
    """Difference that would matter, as a share of the variance."""
    sources_needed: int | None
    """To find such a difference with 80 % power; None: more than 100,000."""

    @property
    def verdict(self) -> str:
        """``"hidden"``, ``"surface"`` or ``"cannot tell"``: which predicts more."""
        better = self.hidden if self.difference.estimate > 0 else self.surface
        if self.difference.p_value <= self.level and better.p_value <= self.level:
            return "hidden" if better is self.hidden else "surface"
        return "cannot tell"

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        numbers = (
            f"surface {_share(self.surface)}, hidden {_share(self.hidden)}, difference "
            f"{_percent(self.difference.estimate)} [{_percent(self.difference.low)}, "
            f"{_percent(self.difference.high)}], p = {self.difference.p_value:.3f}"
        )
        if self.verdict == "hidden":
            first = "Class distribution, length and linguistics predict gains better than"
            return f"{first} similarity and quality ({numbers}; {self.n_sources} sources held out)."
        if self.verdict == "surface":
            first = "Similarity and quality predict gains better than"
            return (
                f"{first} class distribution, length and linguistics ({numbers}; "
                f"{self.n_sources} sources held out)."
            )
        needed = "more than 100,000" if self.sources_needed is None else f"{self.sources_needed:,}"
        return (
            f"Cannot tell with {self.n_sources} sources whether surface or hidden factors predict "
            f"gains better ({numbers}); a difference of {self.smallest:.0%} of the variance would "
            f"need about {needed} sources."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorEvidence:
    """Which factors of the data go with gains on other tasks."""

    tests: tuple[FactorTest, ...]
    together: bool
    """Whether the factors stand in one model, each with the others held fixed."""
    comparison: BlockComparison | None
    """None with a note where there are too few factors or sources."""
    components: VarianceComponents | None
    """How the gains vary: what factors of sources and of pairs could explain at most. None
    where there are too few gains."""
    cards: StudyCards
    unit: str
    """Of the gains."""
    n_sources: int
    n_targets: int
    n_cells: int
    notes: tuple[str, ...]

    def to_frame(self) -> pl.DataFrame:
        """Return one row per factor."""
        names = [field.name for field in fields(FactorTest)]
        rows = [{name: getattr(test, name) for name in names} for test in self.tests]
        return pl.DataFrame(rows).with_columns(unit=pl.lit(self.unit))

    def significant(self, level: float = 0.05) -> tuple[FactorTest, ...]:
        """Return the tests that are significant after adjustment, the surest first."""
        found = [test for test in self.tests if test.p_adjusted <= level]
        return tuple(sorted(found, key=lambda test: test.rank))

    @property
    def variance_sentence(self) -> str:
        """Where the gains vary; empty where it is not known."""
        if self.components is None or not sum(self.components) > 0.0:
            return ""
        source, target, pair = (part / sum(self.components) for part in self.components)
        return (
            f"Of the variance of gains {_percent(source)} lies between sources, "
            f"{_percent(target)} between targets, {_percent(pair)} in pairs and noise."
        )

    @property
    def power_sentence(self) -> str:
        """What this number of sources can and cannot find."""
        share, needed = detectable_share(self.n_sources), sources_for_share(_SHARE)
        first = (
            "fewer than four sources can find no factor of theirs"
            if math.isnan(share)
            else f"{self.n_sources} sources find a factor of theirs with 80 % power if it explains "
            f"at least {share:.0%} of the variance between sources"
        )
        if self.n_sources >= needed:
            return f"{first}."
        return f"{first}; one that explains {_SHARE:.0%} needs {needed} sources."


def _share(fit: BlockFit) -> str:
    return f"{_percent(fit.r2)} (by chance {_percent(fit.null_r2)}, p = {fit.p_value:.3f})"


def _percent(value: float) -> str:
    # Adding 0 turns -0 into 0.
    return f"{round(100.0 * value) + 0:d}%".replace("-", "−")

"""Whether two studies show the same latent traits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transferlens.explain.replication.common import Common
from transferlens.explain.resample import unbiased_interval
from transferlens.results import TransferStudy
from transferlens.stats.arrays import FloatArray
from transferlens.traits import (
    choose_number,
    complete,
    congruence,
    find_dominance,
    match,
    pca,
    pca_fit,
    procrustes,
    study_matrix,
)
from transferlens.traits.stability import FAIR, GOOD

__all__ = ["TraitMatch", "Traits", "compare_traits"]

_FEWEST_SOURCES, _FEWEST_TARGETS = 4, 3
_TOP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitMatch:
    """A trait of the first study and the one of the second that is most like it."""

    first: int
    """Its number in the first study, from 1."""
    second: int
    """The number of its partner; every trait has one partner."""
    targets: tuple[str, ...]
    """Targets with the largest loadings in the first study, with their sign: ``+maths``."""
    congruence: float
    """Tucker's φ of the loadings, after the better sign; .85 is similar, .95 equal."""
    low: float
    """Interval over sources, drawn anew and the same ones in both studies."""
    high: float
    p_value: float
    """Of a congruence as large where targets are permuted, partner and sign chosen anew."""
    turned: float
    """φ after all traits together were turned onto the first study's: far above ``congruence``
    where the studies share the space of the traits and not their axes."""
    explained: tuple[float, float]
    """Share of the variance in each study."""
    supported: tuple[bool, bool] | None
    """Whether the rules for the number of traits keep it, in each study; None where their
    number was asked for."""
    made_by: tuple[str, str]
    """The one cell or source that makes the trait in each study; empty where none does."""

    @property
    def verdict(self) -> str:
        """``equal``, ``similar``, ``cannot tell`` (.85 lies in the interval) or ``different``."""
        if self.congruence >= FAIR and (np.isnan(self.low) or self.low >= FAIR):
            return "equal" if self.congruence >= GOOD else "similar"
        # NaN: without an interval nothing below the mark can be excluded.
        return "different" if self.high < FAIR else "cannot tell"


class Traits(NamedTuple):
    """Matched traits, or why there are none."""

    matches: tuple[TraitMatch, ...]
    notes: tuple[str, ...]


class _Side(NamedTuple):
    values: FloatArray
    """Completed scores, (source, target)."""
    n_supported: int | None
    """What the rules say; None where they were not asked."""
    n_guessed: int


def compare_traits(
    studies: tuple[TransferStudy, TransferStudy],
    common: Common,
    *,
    seed: int,
    n_traits: int | None = None,
    confidence: float = 0.95,
    n_resamples: int = 999,
) -> Traits:
    """Match the principal components of the common cells one to one.

    Both studies are decomposed into as many traits as the one of them that supports more, or
    as many as are asked for.

    Parameters
    ----------
    studies, common
        What is compared.
    seed
        Of the resamples and permutations; the same for both studies, so that it does not
        matter which comes first.
    n_traits
        How many traits to match; by default the rules decide.
    confidence
        Of the intervals.
    n_resamples
        Of sources, and of targets' permutations.
    """
    n, p = len(common.sources), len(common.targets)
    if n < _FEWEST_SOURCES or p < _FEWEST_TARGETS:
        why = (
            f"traits are not compared: {n} sources and {p} targets are in both, "
            f"{_FEWEST_SOURCES} and {_FEWEST_TARGETS} are needed"
        )
        return Traits((), (why,))
    first, second = (_side(study, common, seed, ask=n_traits is None) for study in studies)
    if first is None or second is None:
        why = "traits are not compared: a common source or target has no score in one study"
        return Traits((), (why,))
    k = min(n_traits or max(1, first.n_supported or 0, second.n_supported or 0), n - 1, p)
    notes = tuple(
        f"{side.n_guessed} missing cells were completed before the traits"
        for side in (first, second)
        if side.n_guessed
    )
    return Traits(tuple(_matches(first, second, k, common, seed, confidence, n_resamples)), notes)


def _side(study: TransferStudy, common: Common, seed: int, *, ask: bool) -> _Side | None:
    whole = study_matrix(study).matrix
    try:
        matrix = whole.sel(source=list(common.sources), target=list(common.targets))
    except KeyError:
        return None
    values = np.asarray(matrix.values, dtype=np.float64)
    known = ~np.isnan(values)
    if not (known.any(axis=0).all() and known.any(axis=1).all()):
        return None
    completed = complete(values, rng=np.random.default_rng(seed))
    if not ask:
        return _Side(completed.values, None, completed.n_missing)
    number = choose_number(
        completed.values, rng=np.random.default_rng(seed), guessed=completed.missing
    )
    return _Side(completed.values, number.n_components, completed.n_missing)


def _matches(  # noqa: PLR0917 - one after the other
    first: _Side,
    second: _Side,
    k: int,
    common: Common,
    seed: int,
    confidence: float,
    n_resamples: int,
) -> list[TraitMatch]:
    fit = pca_fit(k)
    a, b = (fit(side.values[None])[0] for side in (first, second))
    matched = match(a, b)
    drawn = _resampled(first.values, second.values, a, seed, n_resamples)
    low, high = unbiased_interval(
        np.vstack([matched.congruence, drawn]), confidence, least=-1.0, most=1.0
    )
    chance = _permuted(a, b, seed, n_resamples)
    p_value = (1.0 + (chance >= matched.congruence - 1e-9).sum(axis=0)) / (1.0 + n_resamples)
    turned = np.diagonal(congruence(a, procrustes(a, b).fitted))
    explained = [pca(side.values, k).explained for side in (first, second)]
    made_by = [_made_by(side.values, k, common) for side in (first, second)]
    return [
        TraitMatch(
            first=at + 1,
            second=int(other) + 1,
            targets=_largest(a[:, at], common.targets),
            congruence=float(matched.congruence[at]),
            low=float(low[at]),
            high=float(high[at]),
            p_value=float(p_value[at]),
            turned=float(turned[at]),
            explained=(float(explained[0][at]), float(explained[1][other])),
            supported=_supported(first, second, at, int(other)),
            made_by=(made_by[0].get(at, ""), made_by[1].get(int(other), "")),
        )
        for at, other in enumerate(matched.order)
    ]


def _supported(first: _Side, second: _Side, at: int, other: int) -> tuple[bool, bool] | None:
    if first.n_supported is None or second.n_supported is None:
        return None
    return at < first.n_supported, other < second.n_supported


def _resampled(
    first: FloatArray, second: FloatArray, a: FloatArray, seed: int, n_resamples: int
) -> FloatArray:
    """Congruence of matched traits over drawn sources, (resample, k).

    A drawn trait of the first study is known by its likeness to one of the whole study, ``a``;
    its partner is chosen anew, as it was for the whole: traits of nearly the same strength
    change places from draw to draw, in both studies alike.
    """
    fit = pca_fit(a.shape[1])
    rng = np.random.default_rng(seed)
    drawn = np.empty((n_resamples, a.shape[1]))
    step = max(1, 2**23 // first.size)
    for at in range(0, n_resamples, step):
        count = min(step, n_resamples - at)
        picks = rng.integers(len(first), size=(count, len(first)))
        one, other = fit(first[picks]), fit(second[picks])
        one = match(a, one).apply(one)
        for place, (loadings, candidate) in enumerate(zip(one, other, strict=True)):
            drawn[at + place] = match(loadings, candidate).congruence
    return drawn


def _permuted(a: FloatArray, b: FloatArray, seed: int, n_resamples: int) -> FloatArray:
    """Congruence after matching where the second study's targets are permuted."""
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(len(b)), (n_resamples, 1)), axis=1)
    return match(a, b[orders]).congruence


def _largest(loadings: FloatArray, targets: tuple[str, ...]) -> tuple[str, ...]:
    order = np.argsort(-np.abs(loadings), kind="stable")[:_TOP]
    return tuple(f"{'+' if loadings[at] >= 0 else '−'}{targets[at]}" for at in order)


def _made_by(values: FloatArray, k: int, common: Common) -> dict[int, str]:
    most = min(k, min(values.shape) - 1)
    return {
        one.component: common.sources[one.row]
        + ("" if one.column is None else f" → {common.targets[one.column]}")
        for one in find_dominance(values, most)
    }

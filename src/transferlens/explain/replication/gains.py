"""Whether gains and their signs are alike in two studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.stats import mantel
from transferlens.stats.additive import AdditiveModel
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray
from transferlens.stats.orders import in_chunks, own_cells, task_orders

__all__ = ["GainAgreement", "PairedGains", "gain_agreement", "group_jackknife"]

Statistic = Callable[[FloatArray], FloatArray]
"""From weights of the cells, (..., source, target), to a number for each."""

# An interval of fewer groups would hang on one of them.
_FEWEST = 4
# Share of variance not in common below which two studies are one.
_PERFECT = 1e-12
# Cells that are left out one by one; more would take minutes in a 100 × 100 study.
_MOST_CELLS = 1_000


class PairedGains(NamedTuple):
    """Gains of the same cells in two studies, (source, target); NaN where not known."""

    first: FloatArray
    second: FloatArray
    first_error: FloatArray
    """Standard errors; NaN where there is no evidence."""
    second_error: FloatArray

    def where(self, cells: BoolArray) -> PairedGains:
        """Return the gains with NaN outside some cells."""
        return PairedGains(*(np.where(cells, one, np.nan) for one in self))


@dataclass(frozen=True, slots=True, kw_only=True)
class GainAgreement:
    """How alike the gains of two studies are over some cells."""

    scope: str
    """``other tasks``; ``pairs`` (the same cells, less what a source does everywhere and a
    target gets from everyone); or ``all cells`` (own tasks too)."""
    n_cells: int
    r: float
    """Pearson's correlation of the gains; NaN where one of them does not vary."""
    low: float
    """Interval that leaves out whole sources and whole targets; NaN below four of each."""
    high: float
    p_value: float
    """One-sided, of Mantel's test: tasks are permuted whole. NaN with own tasks."""
    ceiling: float
    """Largest correlation that the noise of both studies leaves visible; NaN where errors are
    not known, or where both hold the same examples, whose noise is alike in both."""
    cell: tuple[int, int]
    """Source and target, by place, of the cell without which the correlation changes most."""
    r_without: float
    """The correlation without that cell."""
    n_signed: int
    """Cells with a gain other than 0 in both."""
    same_sign: float
    """Share of them with the same sign in both; NaN for ``pairs``."""
    sign_low: float
    sign_high: float
    sign_chance: float
    """The same share where tasks are permuted: what helping and harming often gives alone."""
    sign_p_value: float
    """One-sided: more agreement than that."""


def gain_agreement(
    gains: PairedGains,
    own: IntArray,
    *,
    correlated: BoolArray,
    independent: bool,
    rng: np.random.Generator,
    confidence: float = 0.95,
    n_permutations: int = 1_999,
) -> tuple[GainAgreement, ...]:
    """Compare gains over other tasks, over pairs, and over all cells.

    Parameters
    ----------
    gains
        Of the common cells.
    own
        Place of each source's own task, -1 without one, (source,).
    correlated
        Targets of the same unit, whose gains can be correlated together, (target,).
    independent
        Whether the studies share no examples, so that their errors have nothing in common.
    rng
        Source of permutations.
    confidence
        Nominal coverage of the intervals.
    n_permutations
        Of each test.
    """
    outside = ~own_cells(own, gains.first.shape[1])
    other = gains.where(outside)
    how = _How(own, correlated, independent, rng, confidence, n_permutations)
    found = [_agreement("other tasks", other, how)]
    residuals = _residuals(other)
    if residuals is not None:
        found.append(_agreement("pairs", residuals, how))
    if not outside.all():
        found.append(_agreement("all cells", gains, how))
    return tuple(found)


class _How(NamedTuple):
    own: IntArray
    correlated: BoolArray
    independent: bool
    rng: np.random.Generator
    confidence: float
    n_permutations: int


def _residuals(gains: PairedGains) -> PairedGains | None:
    """Take off what a source does everywhere, and what a target gets from everyone."""
    known = np.isfinite(gains.first) & np.isfinite(gains.second)
    if min(known.any(axis=1).sum(), known.any(axis=0).sum()) < _FEWEST:
        return None
    try:
        model = AdditiveModel(known)
    except AnalysisError:
        return None  # cells in separate groups
    one, other = (
        np.where(known, model.fit(g).residual, np.nan) for g in (gains.first, gains.second)
    )
    return PairedGains(one, other, gains.first_error, gains.second_error)


def _agreement(scope: str, gains: PairedGains, how: _How) -> GainAgreement:
    same = gains.where(np.broadcast_to(how.correlated, gains.first.shape))
    known = np.isfinite(same.first) & np.isfinite(same.second)
    r, low, high = _correlation(same, known, how.confidence)
    test = scope != "all cells" and not np.isnan(r)
    p_value = (
        mantel(
            same.first,
            same.second,
            rng=how.rng,
            own=how.own,
            alternative="greater",
            n_permutations=how.n_permutations,
        ).p_value
        if test
        else float("nan")
    )
    cell, without = _most_influential(same, known, r)
    signs = _signs(gains, how) if scope != "pairs" else _NO_SIGNS
    return GainAgreement(
        scope=scope,
        n_cells=int(known.sum()),
        r=r,
        low=low,
        high=high,
        p_value=p_value,
        ceiling=_ceiling(same, known) if how.independent and scope != "pairs" else float("nan"),
        cell=cell,
        r_without=without,
        **signs._asdict(),
    )


def _correlation(
    gains: PairedGains, known: BoolArray, confidence: float
) -> tuple[float, float, float]:
    x, y = (np.where(known, one, 0.0) for one in (gains.first, gains.second))

    def statistic(weights: FloatArray) -> FloatArray:
        return _weighted_r(x, y, weights)

    r = float(statistic(known.astype(np.float64)))
    half = group_jackknife(statistic, known, confidence)
    if np.isnan(r) or np.isnan(half):
        return r, float("nan"), float("nan")
    # Symmetric on Fisher's scale, but spread on the bounded one: where all that differs stands in
    # one source, a correlation without it is 1, which lies infinitely far out on Fisher's.
    rest = 1.0 - r * r
    if rest < _PERFECT:
        return r, r, r
    centre = np.arctanh(r)
    return r, float(np.tanh(centre - half / rest)), float(np.tanh(centre + half / rest))


def _most_influential(
    gains: PairedGains, known: BoolArray, r: float
) -> tuple[tuple[int, int], float]:
    """Return the cell without which the correlation is most different, and what it is then."""
    x, y = (np.where(known, one, 0.0) for one in (gains.first, gains.second))
    cells = np.argwhere(known)
    far = np.abs(x - x[known].mean()) + np.abs(y - y[known].mean()) if len(cells) else x
    # A cell near both means does not move a correlation.
    cells = cells[np.argsort(-far[known], kind="stable")[:_MOST_CELLS]]
    left = np.array(_without_cells(lambda weights: _weighted_r(x, y, weights), known, cells))
    if np.isnan(r) or not np.isfinite(left).any():
        return (0, 0), float("nan")
    at = int(np.nanargmax(np.abs(left - r)))
    row, column = cells[at].tolist()
    return (row, column), float(left[at])


def _weighted_r(x: FloatArray, y: FloatArray, weights: FloatArray) -> FloatArray:
    axes = (-2, -1)
    n = weights.sum(axis=axes, keepdims=True)
    n = np.where(n > 0, n, np.nan)
    a = x - (weights * x).sum(axis=axes, keepdims=True) / n
    b = y - (weights * y).sum(axis=axes, keepdims=True) / n
    below = np.sqrt((weights * a * a).sum(axis=axes) * (weights * b * b).sum(axis=axes))
    # A constant leaves rounding, which is no variance.
    size = np.abs(x).max() * np.abs(y).max() * weights.sum(axis=axes)
    above = (weights * a * b).sum(axis=axes)
    return np.asarray(above / np.where(below > 1e-12 * size, below, np.nan))


def group_jackknife(statistic: Statistic, known: BoolArray, confidence: float) -> float:
    """Return the half width of an interval for cells that share sources and targets.

    The variance is that of leaving out each source in turn, plus that of leaving out each
    target, less that of leaving out each cell, which is in both. Student's t with the
    fewer of sources and targets, less one, as degrees of freedom. A bootstrap of the
    sources alone misses what targets do: it covers 70 instead of 95 percent where they matter.

    Parameters
    ----------
    statistic
        Of the weights of the cells.
    known
        Cells that count, (source, target).
    confidence
        Nominal coverage.

    Returns
    -------
    float
        NaN with fewer than four sources or targets, or where a part has no statistic.

    References
    ----------
    .. [1] Cameron, Gelbach, Miller. *Robust inference with multiway clustering*. 2011.
       doi:10.1198/jbes.2010.07136
    """
    rows, columns = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    if min(len(rows), len(columns)) < _FEWEST:
        return float("nan")
    by_source, by_target = (
        _spread([_without(statistic, known, axis, int(at)) for at in places])
        for axis, places in ((0, rows), (1, columns))
    )
    square = max(by_source + by_target - _by_cell(statistic, known), by_source, by_target)
    quantile = stats.t.ppf(0.5 + confidence / 2.0, min(len(rows), len(columns)) - 1)
    return float(quantile * np.sqrt(square))


def _without(statistic: Statistic, known: BoolArray, axis: int, at: int) -> float:
    weights = known.astype(np.float64)
    weights[(at, slice(None)) if axis == 0 else (slice(None), at)] = 0.0
    return float(statistic(weights))


def _by_cell(statistic: Statistic, known: BoolArray) -> float:
    cells = np.argwhere(known)
    # Of very many cells every so-manyth says how much they scatter.
    part = cells[:: -(-len(cells) // _MOST_CELLS)]
    share = len(cells) / len(part)
    return share * _spread(_without_cells(statistic, known, part))


def _without_cells(statistic: Statistic, known: BoolArray, cells: IntArray) -> list[float]:
    """Return the statistic without each of the cells, in their order."""
    values = []
    weights = known.astype(np.float64)
    for row, column in cells:
        weights[row, column] = 0.0
        values.append(float(statistic(weights)))
        weights[row, column] = 1.0
    return values


def _spread(values: list[float]) -> float:
    """Variance of a statistic from its values without each part; NaN if one has none."""
    left = np.array(values)
    n = len(left)
    return float((n - 1.0) / n * ((left - left.mean()) ** 2).sum())


def _ceiling(gains: PairedGains, known: BoolArray) -> float:
    """Correlation of two noisy views of the same truth: the root of both reliabilities."""
    share = 1.0
    for gain, error in ((gains.first, gains.first_error), (gains.second, gains.second_error)):
        values, noise = gain[known], error[known]
        if np.isnan(noise).any() or len(values) < 2 or values.var(ddof=1) == 0.0:
            return float("nan")
        share *= max(0.0, 1.0 - float((noise**2).mean()) / float(values.var(ddof=1)))
    return float(np.sqrt(share))


class _Signs(NamedTuple):
    n_signed: int
    same_sign: float
    sign_low: float
    sign_high: float
    sign_chance: float
    sign_p_value: float


_NO_SIGNS = _Signs(0, *[float("nan")] * 5)


def _signs(gains: PairedGains, how: _How) -> _Signs:
    """Compare signs with those of permuted tasks."""
    a, b = (np.sign(np.nan_to_num(one)) for one in (gains.first, gains.second))
    known: BoolArray = (a != 0) & (b != 0)
    if not known.any():
        return _NO_SIGNS
    same = np.where(known, a == b, 0.0).astype(np.float64)

    def statistic(weights: FloatArray) -> FloatArray:
        return np.asarray((weights * same).sum(axis=(-2, -1)) / weights.sum(axis=(-2, -1)))

    share = float(statistic(known.astype(np.float64)))
    half = group_jackknife(statistic, known, how.confidence)
    drawn = _permuted_signs(a, b, how)
    # NumPy's clip keeps the NaN of an interval that is not known.
    low, high = np.clip([share - half, share + half], 0.0, 1.0)
    p_value = (1.0 + (drawn >= share - 1e-9).sum()) / (1.0 + len(drawn))
    return _Signs(
        int(known.sum()), share, float(low), float(high), float(drawn.mean()), float(p_value)
    )


def _permuted_signs(a: FloatArray, b: FloatArray, how: _How) -> FloatArray:
    """Share of equal signs for each permutation of whole tasks, (permutation,)."""
    active: BoolArray = a != 0
    orders = task_orders(how.own, a.shape[1], rng=how.rng, n=how.n_permutations, active=active)
    shares = []
    for part in in_chunks(orders):
        moved = a[part.source[:, :, None], part.target[:, None, :]]
        product = moved * b
        count = np.maximum(np.abs(product).sum(axis=(1, 2)), 1.0)
        shares.append((product > 0).sum(axis=(1, 2)) / count)
    return np.concatenate(shares)

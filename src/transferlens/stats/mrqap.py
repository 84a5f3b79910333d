"""Regression of a matrix over tasks on others, tested by permuting whole tasks (MRQAP).

The cells of a transfer matrix are not independent: those of a row share an adapter, those of
a column a task. Ordinary least squares over cells calls one factor in two or three of pure
noise significant. Here the names of the tasks are permuted, so that all cells of a task
stay together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import (
    BoolArray,
    FloatArray,
    checked_level,
    checked_resamples,
    float_array,
)
from transferlens.stats.orders import TaskOrders, in_chunks, own_cells, own_targets, task_orders

__all__ = [
    "Effects",
    "PermutationRegression",
    "most_predictors",
    "mrqap",
    "source_regression",
]

Effects = Literal["none", "source", "target", "both"]

# A factor of which others leave less than this share of its squares is no factor of its own.
_LEFT_OVER = 1e-10
_TIES = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PermutationRegression:
    """Coefficients of several factors, each tested with the others in the model."""

    coefficient: FloatArray
    """Change of the outcome per unit of the factor, (factor,)."""
    standard_error: FloatArray
    """Of least squares, which ignores dependence; only its ratio with the coefficient is used."""
    t: FloatArray
    """Coefficient over standard error: the statistic that is permuted."""
    low: FloatArray
    """Lower end of the interval of all coefficients that the permutations do not refute."""
    high: FloatArray
    """Its upper end; the interval excludes 0 exactly if the p-value is at most 1 - confidence."""
    p_value: FloatArray
    """Two-sided, in (0, 1], not adjusted."""
    partial_r2: FloatArray
    """Share of what effects and other factors leave that the factor explains, in-sample."""
    n_cells: int
    n_sources: int
    """Rows with a cell: the number of independent observations, whatever the number of cells."""
    confidence: float


def most_predictors(n_sources: int) -> int:
    """Return how many factors may stand in one model: a fifth of the sources, at least one."""
    return max(1, n_sources // 5)


def mrqap(
    outcome: ArrayLike,
    factors: ArrayLike,
    *,
    rng: np.random.Generator,
    effects: Effects = "both",
    own: ArrayLike | None = None,
    n_permutations: int = 1_999,
    confidence: float = 0.95,
) -> PermutationRegression:
    """Regress a directed matrix on others and permute whole tasks (MRQAP).

    Under the null hypothesis of a factor, what of it is left after effects and other
    factors could as well belong to other tasks: that rest is permuted, and the t statistic
    is computed anew (double semi-partialling).

    Parameters
    ----------
    outcome
        Shape (source, target); NaN marks a cell that is unknown.
    factors
        Shape (factor, source, target). Cells in which one is NaN do not count.
    rng
        Source of permutations.
    effects
        Which levels are removed: those of the sources, of the targets, both or none.
    own
        For each source the index of the target that is the same task, -1 without one. These
        cells are left out, and tasks on both sides are permuted on both at once. By default
        sources and targets have nothing in common.
    n_permutations
        Number of permutations; all factors get the same.
    confidence
        Nominal coverage of the intervals.

    Returns
    -------
    PermutationRegression
        Coefficients and t are those of least squares with dummy variables.

    Raises
    ------
    AnalysisError
        Shapes differ, a factor is constant or determined by effects and other factors, or
        there are more factors than a fifth of the sources.

    References
    ----------
    .. [1] Dekker, Krackhardt, Snijders. *Sensitivity of MRQAP tests to collinearity and
       autocorrelation conditions*. 2007. doi:10.1007/s11336-007-9016-1
    """
    y = float_array(outcome, name="outcome", ndim=2)
    x = float_array(factors, name="factors", ndim=3)
    _require_shapes(y, x)
    pairs = own_targets(own, *y.shape)
    defined = ~np.isnan(x).any(axis=0) & ~own_cells(pairs, y.shape[1])
    known = defined & ~np.isnan(y)
    n_sources = int(known.any(axis=1).sum())
    _refuse_too_many(len(x), n_sources)
    orders = task_orders(
        pairs, y.shape[1], rng=rng, n=checked_resamples(n_permutations), active=defined
    )
    filled = np.where(known, y, 0.0)
    fits = [
        _one_factor(filled, x, k, known=known, defined=defined, effects=effects, orders=orders)
        for k in range(len(x))
    ]
    return _collect(fits, known, checked_level(confidence, name="confidence"))


def source_regression(
    outcome: ArrayLike,
    factors: ArrayLike,
    *,
    rng: np.random.Generator,
    n_permutations: int = 1_999,
    confidence: float = 0.95,
) -> PermutationRegression:
    """Regress one number per source on factors of the sources, permuting whole sources.

    Parameters
    ----------
    outcome
        Such as the mean gain that a source gives, (source,); NaN is left out.
    factors
        Shape (factor, source).
    rng, n_permutations, confidence
        As for `mrqap`.

    Returns
    -------
    PermutationRegression
        ``n_cells`` and ``n_sources`` are the same.

    Raises
    ------
    AnalysisError
        As for `mrqap`.
    """
    y = float_array(outcome, name="outcome", ndim=1)
    x = float_array(factors, name="factors", ndim=2)
    return mrqap(
        y[:, None], x[:, :, None], rng=rng, effects="none",
        n_permutations=n_permutations, confidence=confidence,
    )  # fmt: skip


class _Levels:
    """Removes the levels of sources and targets from matrices, by least squares."""

    def __init__(self, known: BoolArray, effects: Effects) -> None:
        self.known = known
        self._effects = effects
        mask = known.astype(np.float64)
        blocks: list[list[FloatArray]]
        if effects == "both":
            blocks = [
                [np.diag(mask.sum(axis=1)), mask],
                [mask.T, np.diag(mask.sum(axis=0))],
            ]
        elif effects == "none":
            blocks = [[mask.sum(keepdims=True)]]
        else:
            blocks = [[np.diag(mask.sum(axis=1 if effects == "source" else 0))]]
        table = np.block(blocks)
        self.rank = int(np.linalg.matrix_rank(table, hermitian=True))
        self.solve = np.linalg.pinv(table, hermitian=True)

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum the cells of each level, (..., level), of matrices that are 0 elsewhere."""
        if self._effects == "none":
            return np.asarray(values.sum(axis=(-2, -1)))[..., None]
        sides = {"source": (-1,), "target": (-2,), "both": (-1, -2)}[self._effects]
        return np.concatenate([values.sum(axis=axis) for axis in sides], axis=-1)

    def remove(self, values: FloatArray) -> FloatArray:
        """Return what the levels leave of one matrix; 0 in cells that are not known."""
        level = self.solve @ self.sums(values)
        n_sources = len(self.known)
        if self._effects == "none":
            fitted = np.full(self.known.shape, level[0])
        elif self._effects == "both":
            fitted = level[:n_sources, None] + level[n_sources:]
        else:
            fitted = level[:, None] if self._effects == "source" else level[None, :]
        return np.where(self.known, values - fitted, 0.0)


class _Rest:
    """What levels and some other factors leave on a set of known cells."""

    def __init__(self, others: FloatArray, known: BoolArray, effects: Effects) -> None:
        self.levels = _Levels(known, effects)
        self.known = known
        cleaned = [self.levels.remove(np.where(known, x, 0.0)).ravel() for x in others]
        self.basis = np.linalg.qr(np.array(cleaned).T)[0] if cleaned else np.empty((known.size, 0))
        self.df = int(known.sum()) - self.levels.rank - len(others) - 1

    def of(self, values: FloatArray) -> FloatArray:
        """Return the rest of one matrix, 0 in cells that are not known."""
        flat = self.levels.remove(np.where(self.known, values, 0.0)).ravel()
        rest: FloatArray = (flat - self.basis @ (self.basis.T @ flat)).reshape(self.known.shape)
        return rest


class _Fit(NamedTuple):
    coefficient: float
    standard_error: float
    t: float
    partial_r2: float
    drawn: FloatArray
    """The t statistic of each permutation."""


def _one_factor(
    y: FloatArray,
    x: FloatArray,
    k: int,
    *,
    known: BoolArray,
    defined: BoolArray,
    effects: Effects,
    orders: TaskOrders,
) -> _Fit:
    others = np.delete(x, k, axis=0)
    rest = _Rest(others, known, effects)
    if rest.df < 1:
        msg = f"{int(known.sum())} known cells are too few for this many effects and factors"
        raise AnalysisError(msg)
    left, outcome = rest.of(x[k]), rest.of(y)
    square = float((left * left).sum())
    scale = x[k][known] - x[k][known].mean()
    if square <= _LEFT_OVER * max(float(scale @ scale), 1e-300) or np.ptp(x[k][known]) == 0.0:
        msg = f"factor {k} is constant, or determined by the effects and the other factors"
        raise AnalysisError(msg)
    product, total = float((left * outcome).sum()), float((outcome * outcome).sum())
    total = max(total, 1e-300)
    t = _pivots(np.array([product]), np.array([square]), total, rest.df)[0]
    # The rest is taken where the factor is defined, and permuted there; cells whose outcome
    # is unknown only drop out of the sums.
    whole = rest if (defined == known).all() else _Rest(others, defined, effects)
    drawn = [_permuted(whole.of(x[k]), outcome, total, rest, part) for part in in_chunks(orders)]
    coefficient = product / square
    error = abs(coefficient / t) if t else float(np.sqrt(total / rest.df / square))
    return _Fit(coefficient, error, float(t), product**2 / square / total, np.concatenate(drawn))


def _permuted(
    left: FloatArray, outcome: FloatArray, total: float, rest: _Rest, orders: TaskOrders
) -> FloatArray:
    moved = left[orders.source[:, :, None], orders.target[:, None, :]] * rest.known
    sums = rest.levels.sums(moved)
    flat = moved.reshape(len(moved), -1)
    products = flat @ np.column_stack([outcome.ravel(), rest.basis])
    # Squares of what the model leaves: by Pythagoras, without building the matrices.
    square = np.einsum("bc,bc->b", flat, flat)
    square -= np.einsum("bl,bl->b", sums @ rest.levels.solve, sums)
    square -= np.einsum("bk,bk->b", products[:, 1:], products[:, 1:])
    return _pivots(products[:, 0], square, total, rest.df)


def _pivots(product: FloatArray, square: FloatArray, total: float, df: int) -> FloatArray:
    square = np.maximum(square, 1e-300)
    explained = product**2 / square
    left = np.maximum(total - explained, 1e-12 * max(total, 1e-300))
    t: FloatArray = product / np.sqrt(square) * np.sqrt(df / left)
    return t


def _collect(fits: list[_Fit], known: BoolArray, confidence: float) -> PermutationRegression:
    drawn = np.abs(np.stack([fit.drawn for fit in fits]))
    t, b, error = (
        np.array([getattr(fit, name) for fit in fits])
        for name in ("t", "coefficient", "standard_error")
    )
    n = drawn.shape[1]
    hits = (drawn >= np.abs(t)[:, None] * (1.0 - _TIES)).sum(axis=1)
    # The smallest |t| that is significant, so that interval and p-value agree.
    place = int(np.floor((1.0 - confidence) * (n + 1) + _TIES))
    bar = np.sort(drawn, axis=1)[:, n - place] if place else np.full(len(fits), np.inf)
    return PermutationRegression(
        coefficient=b,
        standard_error=error,
        t=t,
        low=b - bar * error,
        high=b + bar * error,
        p_value=(1.0 + hits) / (1.0 + n),
        partial_r2=np.array([fit.partial_r2 for fit in fits]),
        n_cells=int(known.sum()),
        n_sources=int(known.any(axis=1).sum()),
        confidence=confidence,
    )


def _require_shapes(y: FloatArray, x: FloatArray) -> None:
    if x.shape[1:] != y.shape or not len(x):
        msg = f"factors have shape {x.shape}, the outcome {y.shape}; give (factor, source, target)"
        raise AnalysisError(msg)


def _refuse_too_many(n_factors: int, n_sources: int) -> None:
    most = most_predictors(n_sources)
    if n_factors > most:
        msg = (
            f"{n_factors} factors at once are too many for {n_sources} sources: at most {most}, "
            f"a fifth of the sources; name fewer, or test them one at a time"
        )
        raise AnalysisError(msg)

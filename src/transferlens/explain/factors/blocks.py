"""How much of the gains a block of factors predicts, for sources that were held out.

All models are ridge regressions on moments: sums of squares and products of the outcome and
the factors per fold of sources. A fold is left out by subtracting its moments, so that
hundreds of permutations of nested cross-validation cost seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transferlens.stats import arrays
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray
from transferlens.stats.orders import TaskOrders

__all__ = ["BlockFit", "block_fit", "folds_of"]

_MOST_FOLDS = 10
# Penalties per cell; the largest leaves nothing but the mean of each target.
_PENALTIES = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 1e9])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockFit:
    """How well a block of factors predicts gains of sources that it has not seen."""

    r2: float
    """Share of the squared deviations from the targets' means that is predicted; below 0
    where the prediction is worse than these means."""
    p_value: float
    """Chance of so much if the factors belonged to other tasks; one-sided."""
    null_r2: float
    """Median over the permutations: what a block of this size explains by chance."""
    error: FloatArray
    """Sum of squared errors of each held-out source, (source,)."""
    total: FloatArray
    """The same for the mean of each target over the other sources, (source,)."""


def folds_of(n_sources: int, *, rng: np.random.Generator) -> IntArray:
    """Divide sources into folds at random: one each, or ten folds of more than ten sources."""
    return np.asarray(rng.permutation(np.arange(n_sources) % _MOST_FOLDS), dtype=np.int64)


def block_fit(
    outcome: FloatArray, factors: FloatArray, *, folds: IntArray, orders: TaskOrders
) -> BlockFit:
    """Predict the gains of held-out sources, and of permuted tasks for comparison.

    The mean of each target, the coefficients and the penalty are all found without the
    held-out sources; the penalty by an inner cross-validation over the others.

    Parameters
    ----------
    outcome
        Gains (source, target); NaN is not known.
    factors
        Shape (factor, source, target), known wherever a gain can be.
    folds
        Fold of each source.
    orders
        Permutations of the tasks.
    """
    known = ~np.isnan(outcome)
    y = np.where(known, outcome, 0.0)
    x = _standardised(factors, known)
    observed = _predict(y, x[None], known, folds)
    drawn = np.concatenate(
        [_r2(_predict(y, moved, known, folds)) for moved in _permuted(x, orders)]
    )
    r2 = float(_r2(observed)[0])
    error, total = _per_source(y, x, known, folds, observed)
    return BlockFit(
        r2=r2,
        p_value=float((1 + (drawn >= r2 - 1e-12).sum()) / (1 + len(drawn))),
        null_r2=float(np.median(drawn)),
        error=error,
        total=total,
    )


class _Predictions(NamedTuple):
    error: FloatArray
    """Squared error over all held-out cells, (permutation,)."""
    total: FloatArray
    """The same without factors, (permutation,)."""
    coefficient: FloatArray
    """Of the first permutation, for each fold that is held out, (fold, factor)."""


def _r2(found: _Predictions) -> FloatArray:
    r2: FloatArray = 1.0 - found.error / np.where(found.total > 0, found.total, np.nan)
    return r2


def _standardised(factors: FloatArray, known: BoolArray) -> FloatArray:
    inside = factors[:, known]
    mean, spread = inside.mean(axis=1), inside.std(axis=1)
    scaled = (factors - mean[:, None, None]) / np.where(spread > 0, spread, 1.0)[:, None, None]
    # Own cells may have no value; they are moved onto own cells only.
    return np.asarray(np.nan_to_num(scaled), dtype=np.float64)


def _permuted(x: FloatArray, orders: TaskOrders) -> Iterator[FloatArray]:
    """Yield factors whose tasks are permuted, (permutation, factor, source, target)."""
    step = max(1, arrays.CHUNK_BYTES // (8 * max(x.size, 1)) // 2)
    for start in range(0, len(orders.source), step):
        source, target = (part[start : start + step] for part in orders)
        moved = x[:, source[:, :, None], target[:, None, :]]
        yield np.moveaxis(moved, 0, 1)


class _Moments:
    """Sums per fold and target of outcome and factors, of many permutations at once."""

    def __init__(self, y: FloatArray, x: FloatArray, known: BoolArray, folds: IntArray) -> None:
        shape = (len(x), 1, *y.shape)
        # The outcome first, then the factors; 0 where the gain is not known.
        values = np.concatenate([np.broadcast_to(y, shape), x * known], axis=1)
        self.names = np.unique(folds)
        parts = [values[:, :, folds == fold] for fold in self.names]
        self.count = np.stack([known[folds == fold].sum(axis=0) for fold in self.names])
        self.sums = np.stack([part.sum(axis=2) for part in parts])
        flat = [part.reshape(*part.shape[:2], -1) for part in parts]
        self.squares = np.stack([part @ part.swapaxes(1, 2) for part in flat])

    def without(self, left_out: tuple[int, ...]) -> tuple[FloatArray, FloatArray, float]:
        """Return means per target, centred squares and number of cells of the other folds."""
        out = list(left_out)
        count = self.count.sum(axis=0) - self.count[out].sum(axis=0)
        sums = self.sums.sum(axis=0) - self.sums[out].sum(axis=0)
        mean = sums / np.maximum(count, 1)
        squares = self.squares.sum(axis=0) - self.squares[out].sum(axis=0)
        return mean, squares - (mean * count) @ mean.swapaxes(1, 2), float(count.sum())

    def held_out(self, fold: int, mean: FloatArray) -> FloatArray:
        """Return squares of a fold around the means of others, (permutation, value, value)."""
        cross = self.sums[fold] @ mean.swapaxes(1, 2)
        around = (mean * self.count[fold]) @ mean.swapaxes(1, 2)
        return np.asarray(self.squares[fold] - cross - cross.swapaxes(1, 2) + around)


def _predict(y: FloatArray, x: FloatArray, known: BoolArray, folds: IntArray) -> _Predictions:
    moments = _Moments(y, x, known, folds)
    n = len(moments.names)
    inner = np.zeros((n, len(_PENALTIES), len(x)))
    for one in range(n):
        for other in range(one):
            mean, squares, cells = moments.without((one, other))
            beta = _ridge(squares, cells)
            inner[one] += _errors(moments.held_out(other, mean), beta)
            inner[other] += _errors(moments.held_out(one, mean), beta)
    error, total = np.zeros(len(x)), np.zeros(len(x))
    chosen = []
    for fold in range(n):
        mean, squares, cells = moments.without((fold,))
        beta = _ridge(squares, cells)
        best = inner[fold].argmin(axis=0)
        beta = beta[best, np.arange(len(x))]
        held = moments.held_out(fold, mean)
        error += _errors(held, beta[None])[0]
        total += held[:, 0, 0]
        chosen.append(beta[0])
    return _Predictions(error, total, np.stack(chosen))


def _ridge(squares: FloatArray, cells: float) -> FloatArray:
    """Coefficients for every penalty, (penalty, permutation, factor)."""
    size, turn = np.linalg.eigh(squares[:, 1:, 1:])
    turned = np.einsum("bij,bi->bj", turn, squares[:, 1:, 0])
    shrunk = turned / (np.maximum(size, 0.0) + _PENALTIES[:, None, None] * cells)
    coefficient: FloatArray = np.einsum("bij,pbj->pbi", turn, shrunk)
    return coefficient


def _errors(held: FloatArray, beta: FloatArray) -> FloatArray:
    """Squared error of each penalty, (penalty, permutation)."""
    cross = np.einsum("pbi,bi->pb", beta, held[:, 1:, 0])
    moved = np.matmul(held[None, :, 1:, 1:], beta[..., None])[..., 0]
    error: FloatArray = held[None, :, 0, 0] - 2.0 * cross + np.einsum("pbi,pbi->pb", beta, moved)
    return error


def _per_source(
    y: FloatArray, x: FloatArray, known: BoolArray, folds: IntArray, found: _Predictions
) -> tuple[FloatArray, FloatArray]:
    error, total = np.zeros(len(y)), np.zeros(len(y))
    for at, fold in enumerate(np.unique(folds)):
        held, mask = folds == fold, known * (folds != fold)[:, None]
        count = np.maximum(mask.sum(axis=0), 1)
        usual = (y * mask).sum(axis=0) / count
        centre = (x * mask).sum(axis=1) / count
        rest = y[held] - usual
        predicted = np.einsum("k,kst->st", found.coefficient[at], x[:, held] - centre[:, None])
        total[held] = (rest**2 * known[held]).sum(axis=1)
        error[held] = ((rest - predicted) ** 2 * known[held]).sum(axis=1)
    return error, total

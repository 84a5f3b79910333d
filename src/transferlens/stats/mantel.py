"""Mantel's test: whether two matrices over the same tasks are alike."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import FloatArray, checked_resamples, float_array
from transferlens.stats.orders import TaskOrders, in_chunks, own_cells, own_targets, task_orders

__all__ = ["Mantel", "mantel"]

_TIES = 1e-9


class Mantel(NamedTuple):
    """A correlation of two matrices over the same tasks."""

    r: float
    p_value: float
    n_cells: int


def mantel(
    first: ArrayLike,
    second: ArrayLike,
    *,
    rng: np.random.Generator,
    control: ArrayLike | None = None,
    own: ArrayLike | None = None,
    method: Literal["pearson", "spearman"] = "pearson",
    alternative: Literal["two-sided", "greater"] = "two-sided",
    n_permutations: int = 1_999,
) -> Mantel:
    """Correlate two matrices over the same sources and targets (Mantel's test).

    Parameters
    ----------
    first, second
        Shape (source, target); NaN marks a cell that is unknown. ``first`` is permuted.
    rng
        Source of permutations.
    control
        A third matrix that both may depend on: the partial correlation is returned.
    own
        As for `mrqap`; for square distance matrices ``numpy.arange(n)``.
    method
        ``"spearman"`` ranks the cells first.
    alternative
        ``"greater"`` is Mantel's own test: more alike here means more alike there.
    n_permutations
        Number of permutations.

    Returns
    -------
    Mantel
        ``r`` and ``p_value`` are NaN where a matrix is constant.

    Raises
    ------
    AnalysisError
        Shapes differ.

    References
    ----------
    .. [1] Mantel. *The detection of disease clustering and a generalized regression
       approach*. 1967.
    .. [2] Smouse, Long, Sokal. *Multiple regression and correlation extensions of the Mantel
       test of matrix correspondence*. 1986. doi:10.2307/2413122
    """
    tables = [float_array(t, name="matrix", ndim=2) for t in (first, second)]
    tables += [] if control is None else [float_array(control, name="control", ndim=2)]
    if len({table.shape for table in tables}) > 1:
        msg = f"the matrices have shapes {[table.shape for table in tables]}; they must be equal"
        raise AnalysisError(msg)
    pairs = own_targets(own, *tables[0].shape)
    outside = ~own_cells(pairs, tables[0].shape[1])
    a, *others = [np.where(outside, table, np.nan) for table in tables]
    fixed = np.where(np.logical_or.reduce([np.isnan(b) for b in others]), np.nan, others)
    if method == "spearman":
        a, fixed = _ranks(a), np.stack([_ranks(b) for b in fixed])
    n = checked_resamples(n_permutations)
    orders = task_orders(pairs, a.shape[1], rng=rng, n=n, active=~np.isnan(a))
    identity = TaskOrders(np.arange(a.shape[0])[None], np.arange(a.shape[1])[None])
    r = float(_correlations(a, fixed, identity)[0])
    drawn = np.concatenate([_correlations(a, fixed, part) for part in in_chunks(orders)])
    n_cells = int((~np.isnan(a) & ~np.isnan(fixed[0])).sum())
    if np.isnan(r):
        return Mantel(r, float("nan"), n_cells)
    extreme = np.abs(drawn) >= abs(r) - _TIES if alternative == "two-sided" else drawn >= r - _TIES
    return Mantel(r, float((1 + extreme.sum()) / (1 + n)), n_cells)


def _correlations(a: FloatArray, fixed: FloatArray, orders: TaskOrders) -> FloatArray:
    """Correlation of each permuted ``a`` with the first fixed matrix, given the second."""
    moved = a[orders.source[:, :, None], orders.target[:, None, :]].reshape(len(orders.source), -1)
    b = fixed.reshape(len(fixed), -1)
    seen = ~np.isnan(moved) & ~np.isnan(b[0])
    count = np.maximum(seen.sum(axis=1), 1)[:, None]
    x = np.where(seen, moved, 0.0)
    x = np.where(seen, x - x.sum(axis=1, keepdims=True) / count, 0.0)
    centred = []
    for values in b:
        y = np.where(seen, values, 0.0)
        centred.append(np.where(seen, y - y.sum(axis=1, keepdims=True) / count, 0.0))
    r = _cosine(x, centred[0])
    if len(centred) == 1:
        return r
    with_first, with_second = _cosine(x, centred[1]), _cosine(centred[0], centred[1])
    below = (1.0 - with_first**2) * (1.0 - with_second**2)
    return (r - with_first * with_second) / np.sqrt(np.where(below > 0.0, below, np.nan))


def _cosine(x: FloatArray, y: FloatArray) -> FloatArray:
    below = np.sqrt(np.einsum("bc,bc->b", x, x) * np.einsum("bc,bc->b", y, y))
    above: FloatArray = np.einsum("bc,bc->b", x, y)
    return above / np.where(below > 0.0, below, np.nan)


def _ranks(table: FloatArray) -> FloatArray:
    return np.asarray(stats.rankdata(table, nan_policy="omit", axis=None)).reshape(table.shape)

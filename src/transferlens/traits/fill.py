"""Filling the missing cells of many matrices at once, by effects or by few components."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from transferlens.traits.arrays import Array, BoolArray, IntArray
from transferlens.traits.spectra import Triplets, block_width, leading_triplets, sweep

__all__ = ["SEARCH_TOLERANCE", "additive_fit", "fill_by_components", "fill_by_shrinkage"]

MAX_ITER = 500
TOLERANCE = 1e-6
SEARCH_TOLERANCE = 1e-3
"""A search compares errors of some percent of a standard deviation; it need not settle fully."""


def fill_by_components(
    stack: Array,
    missing: BoolArray,
    n_components: int,
    *,
    centre: bool = True,
    regularised: bool = True,
    start: Array | None = None,
    tolerance: float = TOLERANCE,
) -> Array:
    """Fill missing cells of each matrix by (regularised) iterative PCA.

    Parameters
    ----------
    stack
        Shape (b, n, p); what stands in missing cells is ignored.
    missing
        Same shape, True where a cell is to be filled.
    n_components
        0 fills with column means (or 0 without ``centre``).
    centre
        Column means are part of the model and re-estimated in every round.
    regularised
        Shrink the components by the noise that the others show; without it, few observed cells
        are overfitted.
    start
        First guess, same shape, for instance the result with one component less.
    tolerance
        A matrix has settled when no cell moves by more than this share of its cells' SD.

    Returns
    -------
    Array
        The stack with observed cells untouched.

    References
    ----------
    .. [1] Josse, Husson. *Handling missing values in exploratory multivariate data analysis
       methods*. 2012. https://www.numdam.org/item/JSFS_2012__153_2_79_0/
    """
    if start is None:
        seen = (~missing).sum(axis=1, keepdims=True)
        mean = np.where(missing, 0.0, stack).sum(axis=1, keepdims=True) / np.maximum(seen, 1)
        start = np.where(missing, mean if centre else 0.0, stack)
    if n_components == 0:
        return start
    n, p = stack.shape[-2:]
    keep = min(n_components + 1, n, p)
    width = block_width(stack.shape, keep)
    mean = start.mean(axis=1, keepdims=True) if centre else 0.0
    # Rounds change a matrix little, so that one sweep from the last directions follows it.
    basis = None if width is None else leading_triplets(start - mean, width).right

    def step(filled: Array, which: IntArray) -> Array:
        mean = filled.mean(axis=1, keepdims=True) if centre else 0.0
        if basis is None:
            parts = leading_triplets(filled - mean, keep)
        else:
            parts = sweep(filled - mean, basis[which])
            basis[which] = parts.right
        return (
            _low_rank(parts, n_components, regularised=regularised, rows=n - 1 if centre else n)
            + mean
        )

    return _iterate(step, start, missing, tolerance)


def _low_rank(parts: Triplets, k: int, *, regularised: bool, rows: int) -> Array:
    n, p = parts.left.shape[1], parts.right.shape[1]
    squared = parts.squared[:, :k]
    weight = np.sqrt(squared)
    freedom = rows * p - rows * k - p * k + k**2
    if regularised and freedom > 0:
        rest = np.maximum(parts.total - squared.sum(axis=1), 0.0)
        noise = n * p / min(p, rows) * rest / freedom
        following = parts.squared[:, k] if parts.squared.shape[1] > k else np.zeros(len(rest))
        noise = np.minimum(noise, following)
        weight = np.where(squared > 0, (squared - noise[:, None]) / np.maximum(weight, 1e-300), 0.0)
    left = parts.left[:, :, :k] * weight[:, None, :]
    return np.asarray(left @ parts.right[:, :, :k].swapaxes(-1, -2))


def fill_by_shrinkage(
    stack: Array,
    missing: BoolArray,
    penalty: float,
    *,
    start: Array | None = None,
    tolerance: float = TOLERANCE,
) -> Array:
    """Fill missing cells by soft-thresholding all singular values (soft-impute).

    Parameters
    ----------
    stack, missing
        As for :func:`fill_by_components`. The matrices are not centred here.
    penalty
        Subtracted from every singular value, in the unit of the cells times √cells.
    start, tolerance
        As for :func:`fill_by_components`.

    References
    ----------
    .. [1] Mazumder, Hastie, Tibshirani. *Spectral regularization algorithms for learning large
       incomplete matrices*. 2010. https://www.jmlr.org/papers/v11/mazumder10a.html
    """
    side = min(stack.shape[-2:])

    def step(filled: Array, _which: IntArray) -> Array:
        parts = leading_triplets(filled, side)
        weight = np.maximum(np.sqrt(parts.squared) - penalty, 0.0)
        return np.asarray((parts.left * weight[:, None, :]) @ parts.right.swapaxes(-1, -2))

    first = np.where(missing, 0.0, stack) if start is None else start
    return _iterate(step, first, missing, tolerance)


def _iterate(
    step: Callable[[Array, IntArray], Array], start: Array, missing: BoolArray, tolerance: float
) -> Array:
    filled = start.copy()
    unit = filled.std(axis=(1, 2)) + 1e-300
    active = np.arange(len(filled))
    for _ in range(MAX_ITER):
        before = filled[active]
        new = np.where(missing[active], step(before, active), before)
        moved = np.abs(new - before).max(axis=(1, 2), initial=0.0) / unit[active]
        filled[active] = new
        active = active[moved > tolerance]
        if not active.size:
            break
    return filled


def additive_fit(stack: Array, missing: BoolArray) -> Array:
    """Row effect + column effect of each matrix, fitted to its observed cells.

    Alternating least squares, because a fold may leave groups of cells without a link, which
    this survives and a linear solve does not.

    Parameters
    ----------
    stack, missing
        As for :func:`fill_by_components`.

    Returns
    -------
    Array
        Fitted values, also for the missing cells, shape (b, n, p).
    """
    seen = ~missing
    known = np.where(missing, 0.0, stack)
    per_row = np.maximum(seen.sum(axis=2, keepdims=True), 1)
    per_column = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    unit = float(np.abs(known).max(initial=0.0)) + 1e-300
    row = np.zeros((*stack.shape[:2], 1))
    column = known.sum(axis=1, keepdims=True) / per_column
    for _ in range(MAX_ITER):
        new = ((known - column) * seen).sum(axis=2, keepdims=True) / per_row
        moved = float(np.abs(new - row).max()) / unit
        row = new
        column = ((known - row) * seen).sum(axis=1, keepdims=True) / per_column
        if moved < 1e-12:
            break
    return np.asarray(row + column)

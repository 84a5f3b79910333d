"""Missing cells: filled by few components, the number of which is cross-validated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, BoolArray, IntArray, require_matrix, spread
from transferlens.traits.prepare import zscores
from transferlens.traits.spectra import Triplets, block_width, leading_triplets, sweep

__all__ = [
    "Completion",
    "additive_fit",
    "complete",
    "complete_by_one_component",
    "fill_by_components",
    "fill_by_shrinkage",
    "held_out_folds",
]

MAX_ITER = 500
TOLERANCE = 1e-6
# A search compares errors of some percent of a standard deviation; it need not settle fully.
SEARCH_TOLERANCE = 1e-3


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


def held_out_folds(
    observed: BoolArray, *, rng: np.random.Generator, n_folds: int = 10
) -> BoolArray:
    """Split the observed cells into folds, spread evenly over each column.

    Parameters
    ----------
    observed
        Shape (row, column).

    Returns
    -------
    BoolArray
        True where a fold hides a cell, shape (fold, row, column). No fold hides the only
        observed cell of a row or column.
    """
    n, p = observed.shape
    rank = rng.permuted(np.tile(np.arange(n)[:, None], (1, p)), axis=0)
    fold = (rank + rng.integers(n_folds, size=p)) % n_folds
    hidden = (fold[None] == np.arange(n_folds)[:, None, None]) & observed
    left = observed & ~hidden
    lonely = ~left.any(axis=2, keepdims=True) | ~left.any(axis=1, keepdims=True)
    hidden &= ~lonely
    return np.asarray(hidden[hidden.any(axis=(1, 2))])


class Candidate(NamedTuple):
    """One way to complete a matrix, and how well it predicted hidden cells."""

    method: str
    strength: float
    rmse: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """A completed matrix, which cells were guessed, and how well guessing works."""

    values: Array
    """Shape (row, column); observed cells untouched."""
    missing: BoolArray
    """True where a value is a guess."""
    method: str
    """``additive``, ``pca`` (of what row and column effects leave), ``column_pca`` (of what
    column means leave) or ``soft``."""
    strength: float
    """Rank of a PCA, penalty of ``soft``, 0 for ``additive``."""
    rmse: float
    """Cross-validated error of a guess, in the matrix's unit; NaN if nothing was missing."""
    candidates: tuple[Candidate, ...]
    """Everything that was tried, best first."""

    @property
    def n_missing(self) -> int:
        """Number of guessed cells."""
        return int(self.missing.sum())

    def sentence(self) -> str:
        """Say what was done, in words."""
        if not self.n_missing:
            return "no cell is missing"
        how = {
            "additive": "row and column effects",
            "column_pca": f"column means and {self.strength:.0f} regularised components",
            "pca": f"row and column effects and {self.strength:.0f} regularised components",
            "soft": f"row and column effects and soft-impute with penalty {self.strength:.3g}",
        }[self.method]
        return (
            f"{self.n_missing} of {self.missing.size} cells are missing and were filled by {how};"
            f" hidden cells are guessed with an error of {self.rmse:.3g}, and all intervals take"
            " the guesses as known"
        )


def complete(
    matrix: Array,
    *,
    rng: np.random.Generator,
    method: Literal["auto", "pca", "soft"] = "auto",
    max_rank: int = 5,
    n_folds: int = 10,
) -> Completion:
    """Complete a matrix: additive effects and components of what they leave.

    Rank or penalty is the one that best predicts observed cells that were hidden; if the
    additive effects alone predict best, nothing is added to them.

    Parameters
    ----------
    matrix
        Shape (row, column), NaN where a cell is missing.
    rng
        Draws the folds.
    method
        ``pca``: regularised iterative PCA, with and without row effects; ``soft``: soft-impute;
        ``auto``: the best of all.
    max_rank, n_folds
        Of the search.

    Raises
    ------
    AnalysisError
        A row or column without any observed cell.
    """
    values = require_matrix(matrix, min_columns=2, allow_missing=True)
    missing = _missing(values)
    if not missing.any():
        return Completion(
            values=values,
            missing=missing,
            method="additive",
            strength=0.0,
            rmse=np.nan,
            candidates=(),
        )
    hidden = held_out_folds(~missing, rng=rng, n_folds=n_folds)
    tried = _search(values, missing, hidden, method, max_rank)
    best = tried[0]
    guess = _fill_residuals(values[None], missing[None], best.method, best.strength)[0]
    return Completion(
        values=np.where(missing, guess, values),
        missing=missing,
        method=best.method,
        strength=best.strength,
        rmse=best.rmse,
        candidates=tuple(tried),
    )


def _missing(values: Array) -> BoolArray:
    missing = np.isnan(values)
    for axis, name in ((1, "row"), (0, "column")):
        empty = np.flatnonzero(missing.all(axis=axis))
        if empty.size:
            msg = f"{name} {empty[0]} has no scored cell at all; drop it"
            raise AnalysisError(msg)
    return missing


def _search(
    values: Array, missing: BoolArray, hidden: BoolArray, method: str, max_rank: int
) -> list[Candidate]:
    if not hidden.size:
        # Every cell is the only one of its row or column: nothing can be hidden, nothing chosen.
        return [Candidate("additive", 0.0, np.nan)]
    stack = np.broadcast_to(np.where(missing, 0.0, values), hidden.shape)
    masked = hidden | missing
    base = additive_fit(stack, masked)
    rest = np.where(masked, 0.0, stack - base)
    tried = [Candidate("additive", 0.0, _rmse(base, stack, hidden))]
    # A rank that leaves no degrees of freedom cannot be told from an interpolation.
    ranks = range(1, min(max_rank, min(values.shape) - 2) + 1) if method != "soft" else ()
    filled = plain = None
    for rank in ranks:
        filled = fill_by_components(
            rest, masked, rank, centre=False, start=filled, tolerance=SEARCH_TOLERANCE
        )
        tried.append(Candidate("pca", float(rank), _rmse(base + filled, stack, hidden)))
        plain = fill_by_components(stack, masked, rank, start=plain, tolerance=SEARCH_TOLERANCE)
        tried.append(Candidate("column_pca", float(rank), _rmse(plain, stack, hidden)))
    largest = float(np.sqrt(leading_triplets(rest, 1).squared.max(initial=0.0)))
    filled = None
    for share in (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05) if method != "pca" else ():
        filled = fill_by_shrinkage(
            rest, masked, share * largest, start=filled, tolerance=SEARCH_TOLERANCE
        )
        tried.append(Candidate("soft", share * largest, _rmse(base + filled, stack, hidden)))
    return sorted(tried, key=lambda candidate: candidate.rmse)


def _rmse(guess: Array, truth: Array, hidden: BoolArray) -> float:
    return float(np.sqrt(((guess - truth)[hidden] ** 2).mean()))


def _fill_residuals(stack: Array, missing: BoolArray, method: str, strength: float) -> Array:
    if method == "column_pca":
        return fill_by_components(np.where(missing, 0.0, stack), missing, int(strength))
    base = additive_fit(stack, missing)
    rest = np.where(missing, 0.0, stack - base)
    if method == "pca":
        return base + fill_by_components(rest, missing, int(strength), centre=False)
    return base + fill_by_shrinkage(rest, missing, strength) if method == "soft" else base


def complete_by_one_component(matrix: Array) -> Array:
    """Fill missing cells by one principal component of z-scores, iterated until it settles.

    The recipe of "Observational scaling laws"; unregularised, so that it suits tables that one
    general ability dominates. :func:`complete` is the careful alternative.

    Parameters
    ----------
    matrix
        Shape (row, column), NaN where missing. Means and standard deviations are those of the
        observed cells.

    Returns
    -------
    Array
        The completed matrix in its own unit, shape (row, column).

    References
    ----------
    .. [1] Ruan, Maddison, Hashimoto. *Observational scaling laws*. 2024. arXiv:2405.10938
    """
    values = require_matrix(matrix, min_columns=2, allow_missing=True)
    missing = _missing(values)
    standard = zscores(values)
    filled = fill_by_components(
        np.where(missing, 0.0, standard)[None], missing[None], 1, regularised=False
    )[0]
    guess = filled * spread(values)[0] + np.nanmean(values, axis=0)
    return np.where(missing, guess, values)

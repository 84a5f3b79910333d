"""Missing cells: filled by few components, the number of which is cross-validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, BoolArray, require_matrix, spread
from transferlens.traits.fill import (
    SEARCH_TOLERANCE,
    additive_fit,
    fill_by_components,
    fill_by_shrinkage,
)
from transferlens.traits.prepare import zscores
from transferlens.traits.spectra import leading_triplets

__all__ = ["Completion", "complete", "complete_by_one_component", "held_out_folds"]


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

"""Whether other sources, or other examples and seeds, would have shown the same traits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.traits.align import match, procrustes
from transferlens.traits.arrays import Array, BoolArray, require_matrix, spread
from transferlens.traits.spectra import leading_triplets

__all__ = [
    "FAIR",
    "GOOD",
    "Alignment",
    "Fit",
    "LeaveOneOut",
    "Stability",
    "bootstrap_given",
    "bootstrap_rows",
    "each_alone",
    "leave_one_row_out",
    "pca_fit",
]

Fit = Callable[[Array], Array]
"""From a stack of matrices (b, n, p) to their loadings (b, p, k); NaN where a fit failed."""

Alignment = Literal["match", "procrustes"]

FAIR, GOOD = 0.85, 0.95
"""Lorenzo-Seva and ten Berge's marks for "similar" and "equal" components."""

CHUNK_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stability:
    """How far loadings move when something is drawn anew."""

    kind: Literal["examples", "sources"]
    """What was drawn anew: examples and seeds with the sources fixed, or the sources."""
    congruence: Array
    """Tucker's φ with the reference after alignment, shape (resample, k)."""
    low: Array
    """Lower end of the interval of each loading, shape (column, k)."""
    high: Array
    """Upper end, shape (column, k)."""
    level: float
    """Confidence level of the intervals."""
    n_failed: int
    """Resamples that could not be fitted and are left out."""

    @property
    def median(self) -> Array:
        """Median φ per component, shape (k,)."""
        return np.asarray(np.median(self.congruence, axis=0))

    @property
    def recovered(self) -> Array:
        """Share of resamples in which a component came back with φ ≥ .85, shape (k,)."""
        return np.asarray((self.congruence >= FAIR).mean(axis=0))

    @property
    def significant(self) -> BoolArray:
        """Loadings whose interval does not hold 0, shape (column, k)."""
        return np.asarray((self.low > 0) | (self.high < 0))


def pca_fit(n_components: int, *, standardise: bool = False) -> Fit:
    """Fit principal components to a whole stack at once.

    Parameters
    ----------
    n_components
        How many.
    standardise
        Divide each resample's columns by their standard deviation.

    Returns
    -------
    Fit
        Gives V·S/√(n - 1), shape (b, column, k).
    """

    def fit(stack: Array) -> Array:
        centred = stack - stack.mean(axis=1, keepdims=True)
        if standardise:
            deviation = spread(stack)
            centred = np.where(
                deviation > 0, centred / np.where(deviation > 0, deviation, 1.0), 0.0
            )
        parts = leading_triplets(centred, n_components)
        scale = np.sqrt(parts.squared / (stack.shape[1] - 1))
        return np.asarray(parts.right * scale[:, None, :])

    return fit


def each_alone(fit_one: Callable[[Array], Array]) -> Fit:
    """Turn a fit of one matrix, (n, p) to loadings (p, k), into one of a stack.

    A matrix that cannot be fitted (a column that no longer varies, say) gives NaN.
    """

    def fit(stack: Array) -> Array:
        results: list[Array | None] = []
        for matrix in stack:
            try:
                results.append(fit_one(matrix))
            except (AnalysisError, np.linalg.LinAlgError):
                results.append(None)
        shape = next((one.shape for one in results if one is not None), (stack.shape[2], 1))
        return np.stack([np.full(shape, np.nan) if one is None else one for one in results])

    return fit


def bootstrap_rows(
    matrix: Array,
    fit: Fit,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1_000,
    reference: Array | None = None,
    align: Alignment = "match",
    level: float = 0.95,
) -> Stability:
    """Draw sources with replacement, to see whether others would have shown the same traits.

    Parameters
    ----------
    matrix
        Complete scores, shape (source, target).
    fit
        The decomposition, see :func:`pca_fit` and :func:`each_alone`.
    rng
        Draws the sources.
    n_resamples
        How often.
    reference
        Loadings to compare with, shape (target, k); the fit of ``matrix`` by default.
    align
        ``match``: components one to one (Hungarian) with signs; ``procrustes``: also turned,
        which asks only whether the same *space* came back.
    level
        Of the percentile intervals.

    Returns
    -------
    Stability
        ``kind="sources"``.
    """
    values = require_matrix(matrix, min_rows=4)
    target = fit(values[None])[0] if reference is None else reference
    n, p = values.shape
    picks = rng.integers(n, size=(n_resamples, n))
    chunk = max(1, CHUNK_BYTES // (8 * n * p))
    stacks = (values[picks[at : at + chunk]] for at in range(0, n_resamples, chunk))
    return _collect(stacks, fit, target, kind="sources", align=align, level=level)


def bootstrap_given(
    resamples: Iterable[Array],
    fit: Fit,
    *,
    reference: Array,
    align: Alignment = "match",
    level: float = 0.95,
) -> Stability:
    """Compare loadings over matrices that were resampled elsewhere, with the sources fixed.

    Parameters
    ----------
    resamples
        Complete matrices (n, p) or stacks of them (b, n, p), for instance of scores recomputed
        on drawn examples and seeds.
    fit, align, level
        As for :func:`bootstrap_rows`.
    reference
        Loadings of the matrix itself, shape (column, k).

    Returns
    -------
    Stability
        ``kind="examples"``.
    """
    stacks = _stacked(resamples)
    return _collect(stacks, fit, reference, kind="examples", align=align, level=level)


def _stacked(resamples: Iterable[Array]) -> Iterator[Array]:
    waiting: list[Array] = []
    for one in resamples:
        values = np.asarray(one, dtype=np.float64)
        if values.ndim == 3:
            chunk = max(1, CHUNK_BYTES // (8 * values[0].size))
            yield from (values[at : at + chunk] for at in range(0, len(values), chunk))
            continue
        waiting.append(values)
        if sum(matrix.nbytes for matrix in waiting) >= CHUNK_BYTES:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


def _collect(
    stacks: Iterable[Array],
    fit: Fit,
    reference: Array,
    *,
    kind: Literal["examples", "sources"],
    align: Alignment,
    level: float,
) -> Stability:
    loadings = [fit(stack) for stack in stacks]
    if not loadings:
        msg = "no resampled matrix was given; at least 2 are needed"
        raise AnalysisError(msg)
    everything = np.concatenate(loadings)
    fitted = everything[~np.isnan(everything).any(axis=(1, 2))]
    if len(fitted) < 2:
        msg = f"only {len(fitted)} of {len(everything)} resamples could be fitted; 2 are needed"
        raise AnalysisError(msg)
    if align == "procrustes":
        fitted = np.stack([procrustes(reference, one).fitted for one in fitted])
    matched = match(reference, fitted)
    aligned = matched.apply(fitted)
    tail = (1 - level) / 2
    low, high = np.quantile(aligned, [tail, 1 - tail], axis=0)
    return Stability(
        kind=kind,
        congruence=matched.congruence,
        low=low,
        high=high,
        level=level,
        n_failed=len(everything) - len(fitted),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeaveOneOut:
    """What becomes of each trait when one source is left out."""

    congruence: Array
    """φ with the full solution, shape (row left out, k); NaN where the rest had no fit."""

    @property
    def worst_row(self) -> tuple[int, ...]:
        """The row whose absence changes each component most, one index per component."""
        return tuple(np.nanargmin(self.congruence, axis=0).tolist())


def leave_one_row_out(matrix: Array, fit: Fit, *, reference: Array | None = None) -> LeaveOneOut:
    """Refit without each row in turn.

    Parameters
    ----------
    matrix
        Complete scores, shape (row, column).
    fit, reference
        As for :func:`bootstrap_rows`.
    """
    values = require_matrix(matrix, min_rows=4)
    target = fit(values[None])[0] if reference is None else reference
    n, p = values.shape
    kept = np.array([np.delete(np.arange(n), row) for row in range(n)])
    chunk = max(1, CHUNK_BYTES // (8 * n * p))
    fitted = np.concatenate([fit(values[kept[at : at + chunk]]) for at in range(0, n, chunk)])
    failed = np.isnan(fitted).any(axis=(1, 2))
    phi = match(target, np.where(np.isnan(fitted), 0.0, fitted)).congruence
    return LeaveOneOut(congruence=np.where(failed[:, None], np.nan, phi))

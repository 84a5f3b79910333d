"""How many traits a matrix shows: several rules, one answer, and the doubts in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, BoolArray, correlation, require_matrix, spread
from transferlens.traits.fill import SEARCH_TOLERANCE, fill_by_components
from transferlens.traits.impute import held_out_folds
from transferlens.traits.prepare import zscores

__all__ = [
    "FEW_ROWS",
    "CrossValidation",
    "NumberOfTraits",
    "ParallelAnalysis",
    "choose_number",
    "em_cross_validation",
    "kaiser_rule",
    "parallel_analysis",
    "velicer_map",
]

FEW_ROWS = 12
"""Below this many rows, simulations show parallel analysis to miss traits that are there."""

MANY_CELLS = 20_000
"""Beyond this many cells chance varies so little that a fifth of the draws says as much."""

CHUNK_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParallelAnalysis:
    """Observed eigenvalues against those of permuted columns."""

    n_components: int
    """Leading eigenvalues above the threshold."""
    eigenvalues: Array
    """Of the covariance (or correlation) matrix, descending, shape (min(n, p),)."""
    threshold: Array
    """Quantile of the permuted eigenvalues, same shape: the band of the scree plot."""
    quantile: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossValidation:
    """How well so many components predict cells that were hidden."""

    n_components: int
    """The number with the smallest error."""
    rmse: Array
    """Error for 0, 1, … components, in the matrix's unit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberOfTraits:
    """The number of traits, and what each rule says."""

    n_components: int
    """The answer: cross-validation's, which simulations show to err least."""
    parallel: ParallelAnalysis
    cross_validation: CrossValidation
    map_values: Array
    """Velicer's mean squared partial correlation for 0, 1, … components; NaN where undefined."""
    map_components: int
    kaiser_components: int
    explained: Array
    """Share of variance per component, shape (min(n, p),)."""
    words: tuple[str, ...]
    """Disagreement and doubts, a sentence each."""

    @property
    def agreed(self) -> bool:
        """Whether the two main rules give the same number."""
        return self.parallel.n_components == self.cross_validation.n_components


def parallel_analysis(
    matrix: Array,
    *,
    rng: np.random.Generator,
    n_permutations: int = 500,
    quantile: float = 0.95,
    standardise: bool = False,
) -> ParallelAnalysis:
    """Keep the components that are larger than chance makes them.

    Under the null hypothesis columns are unrelated, so that each can be permuted on its own.

    Parameters
    ----------
    matrix
        Complete scores, shape (row, column).
    rng
        Draws the permutations.
    n_permutations, quantile
        Size and quantile of the null distribution, eigenvalue by eigenvalue.
    standardise
        Use correlations, as questionnaires do, instead of covariances.

    References
    ----------
    .. [1] Buja, Eyuboglu. *Remarks on parallel analysis*. 1992. doi:10.1207/s15327906mbr2704_2
    """
    values = require_matrix(matrix, min_rows=3, min_columns=2)
    centred = zscores(values) if standardise else values - values.mean(axis=0)
    n, p = centred.shape
    side = min(n - 1, p)
    observed = _eigenvalues(centred[None])[0, :side]
    chunk = max(1, CHUNK_BYTES // (8 * n * p))
    null = np.concatenate(
        [
            _eigenvalues(
                rng.permuted(
                    np.broadcast_to(centred, (min(chunk, n_permutations - at), n, p)), axis=1
                )
            )
            for at in range(0, n_permutations, chunk)
        ]
    )[:, :side]
    threshold = np.quantile(null, quantile, axis=0)
    # Columns with nothing in them give eigenvalues of rounding size on both sides.
    above = (observed > threshold) & (observed > 1e-12 * observed.sum())
    return ParallelAnalysis(
        n_components=int(np.cumprod(above).sum()),
        eigenvalues=observed,
        threshold=np.asarray(threshold),
        quantile=quantile,
    )


def _eigenvalues(stack: Array) -> Array:
    n, p = stack.shape[-2:]
    gram = stack @ stack.swapaxes(-1, -2) if n < p else stack.swapaxes(-1, -2) @ stack
    return np.asarray(np.linalg.eigvalsh(gram)[:, ::-1] / (n - 1))


def em_cross_validation(
    matrix: Array,
    *,
    rng: np.random.Generator,
    max_components: int = 8,
    n_folds: int = 10,
    n_repeats: int = 2,
) -> CrossValidation:
    """Keep as many components as best predict hidden cells (regularised EM).

    Parameters
    ----------
    matrix
        Scores, shape (row, column); NaN cells are left out, which no other rule can do.
    rng
        Draws the folds.
    max_components, n_folds, n_repeats
        Size of the search. Ranks that leave no degrees of freedom are not tried.

    References
    ----------
    .. [1] Josse, Husson. *Selecting the number of components in principal component analysis
       using cross-validation approximations*. 2012. doi:10.1016/j.csda.2011.11.012
    """
    values = require_matrix(matrix, min_rows=4, min_columns=2, allow_missing=True)
    missing = np.isnan(values)
    hidden = np.concatenate(
        [held_out_folds(~missing, rng=rng, n_folds=n_folds) for _ in range(n_repeats)]
    )
    n, p = values.shape
    highest = max(0, min(max_components, n - 2, p - 1))
    squared = np.zeros(highest + 1)
    chunk = max(1, CHUNK_BYTES // (8 * n * p))
    for at in range(0, len(hidden), chunk):
        part = hidden[at : at + chunk]
        stack = np.broadcast_to(np.where(missing, 0.0, values), part.shape)
        filled: Array | None = None
        for k in range(highest + 1):
            # The fit with one component less is the start of the next, which halves the rounds.
            filled = fill_by_components(
                stack, part | missing, k, start=filled, tolerance=SEARCH_TOLERANCE
            )
            squared[k] += ((filled - stack)[part] ** 2).sum()
    rmse = np.sqrt(squared / max(int(hidden.sum()), 1))
    return CrossValidation(n_components=int(rmse.argmin()), rmse=rmse)


def velicer_map(correlations: Array) -> Array:
    """Velicer's minimum average partial: mean squared correlation after m components.

    Parameters
    ----------
    correlations
        Shape (variable, variable).

    Returns
    -------
    Array
        For m = 0, 1, …, variables - 1; its smallest entry names the number of components. NaN
        from where a variable has no variance left, as with fewer rows than columns.

    References
    ----------
    .. [1] Velicer. *Determining the number of components from the matrix of partial
       correlations*. 1976. doi:10.1007/BF02293557
    """
    R = require_matrix(correlations, min_columns=2)
    p = len(R)
    values, vectors = np.linalg.eigh(R)
    loadings = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    result = np.full(p, np.nan)
    rest = R.copy()
    for m in range(p):
        if m:
            rest -= np.outer(loadings[:, m - 1], loadings[:, m - 1])
        spread = np.diag(rest)
        if spread.min() < 1e-10:
            break
        partial = rest / np.sqrt(np.outer(spread, spread))
        result[m] = ((partial**2).sum() - p) / (p * (p - 1))
    return result


def kaiser_rule(correlations: Array) -> int:
    """Count the eigenvalues above 1; reported because readers ask for it, it over-extracts."""
    return int((np.linalg.eigvalsh(require_matrix(correlations)) > 1).sum())


def choose_number(
    matrix: Array,
    *,
    rng: np.random.Generator,
    standardise: bool = False,
    guessed: BoolArray | None = None,
    max_components: int = 8,
    n_permutations: int | None = None,
) -> NumberOfTraits:
    """Ask parallel analysis and cross-validation, report the other rules, and say the doubts.

    Parameters
    ----------
    matrix
        Complete scores, shape (row, column).
    rng
        Draws permutations and folds.
    standardise
        Give each column the same variance first.
    guessed
        True where a cell was completed; cross-validation neither hides nor uses it.
    max_components, n_permutations
        Size of the searches. By default 500 permutations; 100 beyond 20,000 cells.

    Returns
    -------
    NumberOfTraits
        ``n_components`` may be 0: no trait is better supported than column means.

    Raises
    ------
    AnalysisError
        Fewer than two columns vary, so that there is nothing to decompose.
    """
    values = require_matrix(matrix, min_rows=4, min_columns=2)
    varying = values[:, spread(values)[0] > 0]
    if varying.shape[1] < 2:
        msg = f"{varying.shape[1]} of {values.shape[1]} columns vary; traits need at least 2"
        raise AnalysisError(msg)
    used = zscores(values) if standardise else values
    large = used.size > MANY_CELLS
    parallel = parallel_analysis(
        used, rng=rng, n_permutations=n_permutations or (100 if large else 500)
    )
    validated = em_cross_validation(
        used if guessed is None else np.where(guessed, np.nan, used),
        rng=rng,
        max_components=max_components,
        n_folds=5 if large else 10,
        n_repeats=1 if large else 2,
    )
    related = correlation(varying)
    partial = velicer_map(related)
    return NumberOfTraits(
        n_components=validated.n_components,
        parallel=parallel,
        cross_validation=validated,
        map_values=partial,
        map_components=int(np.nanargmin(partial)),
        kaiser_components=kaiser_rule(related),
        explained=parallel.eigenvalues / max(float(parallel.eigenvalues.sum()), 1e-300),
        words=_words(values.shape[0], parallel, validated),
    )


def _words(n: int, parallel: ParallelAnalysis, validated: CrossValidation) -> tuple[str, ...]:
    words = []
    first, second = parallel.n_components, validated.n_components
    if first != second:
        words.append(
            f"the rules disagree: parallel analysis finds {first} and cross-validation {second};"
            f" traits beyond {min(first, second)} are uncertain"
        )
    if n < FEW_ROWS:
        words.append(
            f"{n} rows are too few to tell how many traits there are: below {FEW_ROWS} rows the"
            f" rules, parallel analysis above all, miss traits; there may be more than"
            f" {max(first, second)}"
        )
    if second == 0:
        words.append("cross-validation supports no trait: means predict hidden cells best")
    if second and second == len(validated.rmse) - 1:
        words.append(f"the search ended at its limit of {second}; there may be more traits")
    return tuple(words)

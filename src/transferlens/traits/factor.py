"""Factor analysis (minres, maximum likelihood) and the sparse and non-negative alternatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import minimize

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, require_matrix

__all__ = [
    "FactorAnalysis",
    "Parts",
    "factor_analysis",
    "factor_scores",
    "non_negative",
    "sparse_components",
]

# The bound that psych and factanal use; a uniqueness that rests on it is a Heywood case.
LEAST_UNIQUENESS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorAnalysis:
    """Common factors of a correlation matrix, unrotated."""

    loadings: Array
    """Shape (variable, k), factors by decreasing sum of squares, column sums not negative."""
    uniquenesses: Array
    """Variance that a variable shares with no factor, shape (variable,)."""
    objective: float
    """Minimum of the fit function."""
    converged: bool
    """False when the optimiser gave up; the loadings are then not to be trusted."""

    @property
    def communalities(self) -> Array:
        """Share of each variable's variance that the factors explain, shape (variable,)."""
        return np.asarray((self.loadings**2).sum(axis=1))

    @property
    def explained(self) -> Array:
        """Share of the total variance per factor, shape (k,)."""
        return np.asarray((self.loadings**2).mean(axis=0))

    @property
    def heywood(self) -> tuple[int, ...]:
        """Variables whose communality is 1 or more: too many factors or too few rows."""
        return tuple(np.flatnonzero(self.communalities >= 1 - 1.01 * LEAST_UNIQUENESS).tolist())


def factor_analysis(
    correlations: Array, n_factors: int, *, method: Literal["minres", "ml"] = "minres"
) -> FactorAnalysis:
    """Extract common factors from a correlation matrix.

    Parameters
    ----------
    correlations
        Shape (variable, variable).
    n_factors
        At least 1 and fewer than there are variables.
    method
        ``minres`` minimises the squared residual correlations and needs no inverse, so that it
        works with fewer rows than variables; ``ml`` maximises the normal likelihood.

    Returns
    -------
    FactorAnalysis
        Check ``heywood`` and ``converged``.

    Raises
    ------
    AnalysisError
        Not a correlation matrix, too many factors, or ``ml`` on a singular matrix.

    References
    ----------
    .. [1] Harman, Jones. *Factor analysis by minimizing residuals*. 1966.
       doi:10.1007/BF02289468
    .. [2] Jöreskog. *Some contributions to maximum likelihood factor analysis*. 1967.
       doi:10.1007/BF02289658
    """
    R = _require_correlations(correlations, n_factors)
    start = _start(R, n_factors)
    if method == "ml" and np.linalg.eigvalsh(R)[0] < 1e-8:
        msg = (
            "maximum likelihood needs more rows than columns and no column that the others"
            " determine; use method='minres'"
        )
        raise AnalysisError(msg)
    objective = _ml if method == "ml" else _residual
    fit = minimize(
        objective,
        start,
        args=(R, n_factors),
        jac=True,
        method="L-BFGS-B",
        bounds=[(LEAST_UNIQUENESS, 1.0)] * len(R),
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5_000, "maxfun": 20_000},
    )
    loadings = _loadings(np.asarray(fit.x), R, n_factors, whiten=method == "ml")
    return FactorAnalysis(
        loadings=loadings * np.where(loadings.sum(axis=0) < 0, -1.0, 1.0),
        uniquenesses=np.asarray(fit.x, dtype=np.float64),
        objective=float(fit.fun),
        # Status 2 is a line search that met rounding at the optimum, not a failure to get there.
        converged=bool(fit.success) or int(fit.status) == 2,
    )


def _require_correlations(correlations: Array, n_factors: int) -> Array:
    R = require_matrix(correlations, min_columns=2)
    if R.shape[0] != R.shape[1] or not np.allclose(R, R.T) or not np.allclose(np.diag(R), 1):
        msg = "not a correlation matrix: it must be square and symmetric with 1 on the diagonal"
        raise AnalysisError(msg)
    if not 1 <= n_factors < len(R):
        msg = f"{n_factors} factors asked of {len(R)} variables; 1 to {len(R) - 1} can be extracted"
        raise AnalysisError(msg)
    return R


def _start(R: Array, n_factors: int) -> Array:
    if np.linalg.eigvalsh(R)[0] < 1e-8:
        return np.full(len(R), 0.5)
    guess = (1 - 0.5 * n_factors / len(R)) / np.diag(np.linalg.inv(R))
    return np.asarray(np.clip(guess, LEAST_UNIQUENESS, 1.0))


def _residual(uniqueness: Array, R: Array, k: int) -> tuple[float, Array]:
    values, vectors = np.linalg.eigh(R - np.diag(uniqueness))
    rest, directions = values[:-k], vectors[:, :-k]
    # Leading values below 0 cannot be reproduced by real loadings and count as residual.
    lost = np.minimum(values[-k:], 0.0)
    value = 0.5 * float((rest**2).sum() + (lost**2).sum())
    return value, -(directions**2 @ rest) - vectors[:, -k:] ** 2 @ lost


def _ml(uniqueness: Array, R: Array, k: int) -> tuple[float, Array]:
    root = np.sqrt(uniqueness)
    values, vectors = np.linalg.eigh(R / np.outer(root, root))
    rest = values[:-k]
    value = float((rest - np.log(rest) - 1).sum())
    common = vectors[:, -k:] * np.sqrt(np.maximum(values[-k:] - 1, 0)) * root[:, None]
    implied = common @ common.T + np.diag(uniqueness)
    return value, np.diag(implied - R) / uniqueness**2


def _loadings(uniqueness: Array, R: Array, k: int, *, whiten: bool) -> Array:
    if not whiten:
        values, vectors = np.linalg.eigh(R - np.diag(uniqueness))
        return np.asarray((vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :k])
    root = np.sqrt(uniqueness)
    values, vectors = np.linalg.eigh(R / np.outer(root, root))
    scaled = vectors * np.sqrt(np.maximum(values - 1, 0)) * root[:, None]
    return np.asarray(scaled[:, ::-1][:, :k])


def factor_scores(standardised: Array, loadings: Array, *, phi: Array | None = None) -> Array:
    """Regression estimates of the factor scores of each row.

    The model's own covariance is inverted, not the sample's, so that fewer rows than columns
    do no harm.

    Parameters
    ----------
    standardised
        z-scores, shape (row, variable).
    loadings
        Pattern, shape (variable, k).
    phi
        Correlations between the factors, shape (k, k); identity when they are orthogonal.

    References
    ----------
    .. [1] Thurstone. *The vectors of mind*. 1935. doi:10.1037/10018-000
    """
    structure = loadings if phi is None else loadings @ phi
    common = structure @ loadings.T
    unique = np.maximum(1 - np.diag(common), LEAST_UNIQUENESS)
    weights = np.linalg.solve(common + np.diag(unique), structure)
    return np.asarray(require_matrix(standardised) @ weights)


class Parts(NamedTuple):
    """``matrix ≈ scores · loadingsᵀ`` (+ column means where the method centres)."""

    scores: Array
    """Shape (row, k)."""
    loadings: Array
    """Shape (column, k)."""
    explained: Array
    """Share of the matrix's sum of squares that leaves with each component, shape (k,)."""


def _parts(scores: Array, loadings: Array, target: Array) -> Parts:
    order = np.argsort(-((scores**2).sum(axis=0) * (loadings**2).sum(axis=0)), kind="stable")
    scores, loadings = scores[:, order], loadings[:, order]
    whole = ((target - scores @ loadings.T) ** 2).sum()
    without = [
        ((target - np.delete(scores, j, 1) @ np.delete(loadings, j, 1).T) ** 2).sum()
        for j in range(len(order))
    ]
    return Parts(scores, loadings, np.asarray((np.array(without) - whole) / (target**2).sum()))


def non_negative(matrix: Array, n_components: int, *, max_iter: int = 5_000) -> Parts:
    """Non-negative factorisation: every trait only adds.

    It starts from the singular vectors, so that it needs no random numbers.

    Raises
    ------
    AnalysisError
        A negative cell; decompose raw scores, not gains.

    References
    ----------
    .. [1] Boutsidis, Gallopoulos. *SVD based initialization*. 2008.
       doi:10.1016/j.patcog.2007.09.010
    """
    from sklearn.decomposition import NMF

    values = require_matrix(matrix)
    if values.min() < 0:
        row, column = np.unravel_index(int(values.argmin()), values.shape)
        msg = (
            f"cell ({row}, {column}) is {values.min():.4g}; non-negative factorisation takes raw"
            " scores, not gains"
        )
        raise AnalysisError(msg)
    model = NMF(n_components, init="nndsvda", solver="cd", max_iter=max_iter, tol=1e-6)
    scores = model.fit_transform(values)
    return _parts(np.asarray(scores), np.asarray(model.components_).T, values)


def sparse_components(
    matrix: Array,
    n_components: int,
    *,
    rng: np.random.Generator,
    penalty: float = 1.0,
) -> Parts:
    """Sparse principal components: most loadings are exactly 0.

    Parameters
    ----------
    matrix
        Complete scores, shape (row, column); columns are centred here.
    n_components
        How many.
    rng
        Seeds the coordinate descent.
    penalty
        Larger is sparser; in units of the matrix's overall standard deviation.

    References
    ----------
    .. [1] Mairal and others. *Online dictionary learning for sparse coding*. 2009.
       doi:10.1145/1553374.1553463
    """
    from sklearn.decomposition import SparsePCA

    values = require_matrix(matrix)
    centred = values - values.mean(axis=0)
    unit = float(centred.std()) or 1.0
    model = SparsePCA(
        n_components,
        alpha=penalty,
        ridge_alpha=1e-6,
        max_iter=2_000,
        tol=1e-8,
        random_state=int(rng.integers(2**31)),
    )
    scores = np.asarray(model.fit_transform(centred / unit))
    return _parts(scores, np.asarray(model.components_).T * unit, centred)

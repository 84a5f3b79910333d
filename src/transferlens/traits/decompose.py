"""Principal components of a score matrix, each part under its own name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, require_matrix, spread
from transferlens.traits.prepare import prepare

__all__ = ["PCA", "PaperPCA", "paper_pca", "pca"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PCA:
    """``matrix = centre + scale · (left · diag(singular) · rightᵀ)`` (+ what was cut off)."""

    left: Array
    """U, orthonormal columns, shape (row, k). The paper prints these as "weights"."""
    singular: Array
    """S, descending, shape (k,)."""
    right: Array
    """V, orthonormal columns, shape (column, k): unit directions in score space."""
    centre: Array
    """What was subtracted from each column, shape (column,)."""
    scale: Array
    """What each column was then divided by, shape (column,); 1 unless standardised."""
    column_variance: Array
    """Variance of each column as decomposed (n - 1), shape (column,)."""
    total: float
    """Sum of all squared singular values, also of the components that were cut off."""

    @property
    def scores(self) -> Array:
        """U·S: rows in the space of components, in the matrix's unit, shape (row, k)."""
        return self.left * self.singular

    @property
    def standard_scores(self) -> Array:
        """U·√(n - 1): trait scores with variance 1 over the rows, shape (row, k)."""
        return np.asarray(self.left * np.sqrt(self.left.shape[0] - 1))

    @property
    def loadings(self) -> Array:
        """V·S/√(n - 1): change of a column per SD of a component, shape (column, k)."""
        return np.asarray(self.right * self.singular / np.sqrt(self.left.shape[0] - 1))

    @property
    def explained(self) -> Array:
        """Share of the matrix's variance that each component explains, shape (k,)."""
        return np.asarray(self.singular**2 / self.total if self.total else self.singular * np.nan)

    @property
    def communalities(self) -> Array:
        """Share of each column's variance that all components explain; NaN where it has none."""
        share = np.full_like(self.column_variance, np.nan)
        explained = (self.loadings**2).sum(axis=1)
        varies = self.column_variance > 1e-24 * np.maximum(self.centre**2, 1e-276)
        np.divide(explained, self.column_variance, out=share, where=varies)
        return share


def pca(
    matrix: Array,
    n_components: int | None = None,
    *,
    centre: bool = True,
    standardise: bool = False,
) -> PCA:
    """Principal components by the singular value decomposition of the centred matrix.

    Parameters
    ----------
    matrix
        Complete scores, shape (row, column).
    n_components
        How many to keep; all ``min(rows, columns)`` by default.
    centre
        Subtract column means. Without it the first component mostly shows the mean.
    standardise
        Divide columns by their standard deviation, so that each has the same say.

    Returns
    -------
    PCA
        Signs are fixed so that the largest entry of each direction in ``right`` is positive.

    Raises
    ------
    AnalysisError
        Missing cells, or more components than the matrix has rows or columns.
    """
    values = require_matrix(matrix)
    limit = min(values.shape)
    keep = limit if n_components is None else n_components
    if not 1 <= keep <= limit:
        msg = (
            f"{keep} components asked of a {values.shape[0]} × {values.shape[1]} matrix;"
            f" 1 to {limit} exist"
        )
        raise AnalysisError(msg)
    middle = values.mean(axis=0) if centre else np.zeros(values.shape[1])
    deviation = spread(values)[0] if standardise else np.ones(values.shape[1])
    scale = np.where(deviation > 0, deviation, 1.0)
    centred = (values - middle) / scale
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(right).argmax(axis=1)
    signs = np.where(right[np.arange(limit), largest] < 0, -1.0, 1.0)
    return PCA(
        left=(left * signs)[:, :keep],
        singular=singular[:keep],
        right=(right.T * signs)[:, :keep],
        centre=middle,
        scale=scale,
        column_variance=(centred**2).sum(axis=0) / (values.shape[0] - 1),
        total=float((singular**2).sum()),
    )


class PaperPCA(NamedTuple):
    """What arXiv 2509.13624 prints."""

    weights: Array
    """U, orthonormal, shape (1 + source, k); row 0 is the base model."""
    loadings: Array
    """V, orthonormal, shape (target, k): the paper's "loadings" are unit directions."""
    explained: Array
    """Share of variance, shape (k,)."""


def paper_pca(scores: Array, base: ArrayLike, *, n_components: int = 4) -> PaperPCA:
    """Decompose as the paper does: the base is a row, columns are centred, U is printed.

    Parameters
    ----------
    scores
        Raw scores of the adapters, shape (source, target).
    base
        Raw scores of the untuned model, shape (target,).
    n_components
        The paper keeps four, which explain about 75 %.

    References
    ----------
    .. [1] arXiv:2509.13624, section on latent abilities.
    """
    parts = pca(prepare(scores, base=base, include_base=True), n_components)
    return PaperPCA(parts.left, parts.right, parts.explained)

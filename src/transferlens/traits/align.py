"""Comparing two solutions: Tucker's congruence, matching with signs, Procrustes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, IntArray, require_matrix

__all__ = ["Match", "Procrustes", "congruence", "match", "procrustes"]


def congruence(first: Array, second: Array) -> Array:
    r"""Compute Tucker's φ between the columns of two loading matrices.

    .. math:: \phi_{jl} = \sum_i a_{ij} b_{il} / \sqrt{\sum_i a_{ij}^2 \sum_i b_{il}^2}

    Parameters
    ----------
    first
        Shape (..., variable, k).
    second
        Shape (..., variable, m); leading axes broadcast.

    Returns
    -------
    Array
        Shape (..., k, m), from -1 to 1. A column of zeros is like nothing: its φ is 0.

    References
    ----------
    .. [1] Lorenzo-Seva, ten Berge. *Tucker's congruence coefficient as a meaningful index of
       factor similarity*. 2006. doi:10.1027/1614-2241.2.2.57 (.85 fair, .95 good)
    """
    if first.shape[-2] != second.shape[-2]:
        msg = f"loadings on {first.shape[-2]} and {second.shape[-2]} variables cannot be compared"
        raise AnalysisError(msg)

    def unit(loadings: Array) -> Array:
        length = np.sqrt((loadings**2).sum(axis=-2, keepdims=True))
        return np.asarray(loadings / np.where(length > 0, length, 1.0))

    return np.asarray(unit(first).swapaxes(-1, -2) @ unit(second))


class Match(NamedTuple):
    """Which column of a second solution belongs to each column of the first."""

    order: IntArray
    """Column of the second solution, shape (..., k)."""
    sign: Array
    """1 or -1, shape (..., k)."""
    congruence: Array
    """φ after matching and sign, not negative, shape (..., k)."""

    def apply(self, loadings: Array) -> Array:
        """Reorder and reflect the second solution's columns, shape (..., variable, k)."""
        taken = np.take_along_axis(loadings, self.order[..., None, :], axis=-1)
        return np.asarray(taken * self.sign[..., None, :])


def match(reference: Array, candidate: Array) -> Match:
    """Match components one to one so that the sum of absolute congruences is largest.

    Parameters
    ----------
    reference
        Loadings, shape (variable, k).
    candidate
        One solution, shape (variable, m), or a stack of them, shape (b, variable, m); m ≥ k.

    References
    ----------
    .. [1] Kuhn. *The Hungarian method for the assignment problem*. 1955.
       doi:10.1002/nav.3800020109
    """
    phi = congruence(reference, candidate)
    k, m = phi.shape[-2:]
    if m < k:
        msg = f"{m} components cannot be matched to {k}; extract at least as many"
        raise AnalysisError(msg)
    flat = phi.reshape(-1, k, m)
    order = np.array([linear_sum_assignment(-np.abs(one))[1] for one in flat], dtype=np.int64)
    order = order.reshape(*phi.shape[:-2], k)
    taken = np.take_along_axis(phi, order[..., None], axis=-1)[..., 0]
    return Match(order, np.where(taken < 0, -1.0, 1.0), np.abs(taken))


class Procrustes(NamedTuple):
    """``fitted = scale · second @ rotation + translation``, as near to the first as can be."""

    rotation: Array
    """Orthogonal, shape (k, k); reflections are allowed."""
    scale: float
    """1 unless scaling was asked for."""
    translation: Array
    """Shape (k,); 0 unless translation was asked for."""
    fitted: Array
    """The second configuration, brought to the first, shape (row, k)."""
    residual: float
    """Sum of squared differences that remain."""


def procrustes(
    first: Array, second: Array, *, scale: bool = False, translate: bool = False
) -> Procrustes:
    """Turn one configuration onto another.

    Loadings are compared with rotation alone; configurations of points (vegan's ``procrustes``)
    with ``scale=True, translate=True``.

    References
    ----------
    .. [1] Schönemann. *A generalized solution of the orthogonal Procrustes problem*. 1966.
       doi:10.1007/BF02289451
    """
    X, Y = require_matrix(first), require_matrix(second)
    if X.shape != Y.shape:
        msg = f"configurations of shape {X.shape} and {Y.shape} cannot be laid on each other"
        raise AnalysisError(msg)
    to = X.mean(axis=0) if translate else np.zeros(X.shape[1])
    origin = Y.mean(axis=0) if translate else np.zeros(X.shape[1])
    u, s, vt = np.linalg.svd((Y - origin).T @ (X - to))
    rotation = u @ vt
    size = float(((Y - origin) ** 2).sum())
    factor = float(s.sum()) / size if scale and size else 1.0
    fitted = factor * (Y - origin) @ rotation + to
    shift = to - factor * origin @ rotation
    return Procrustes(rotation, factor, shift, fitted, float(((X - fitted) ** 2).sum()))

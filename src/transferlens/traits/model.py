"""One decomposition with all its choices, fitted to one matrix or to a stack of resamples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, correlation
from transferlens.traits.decompose import PCA, pca
from transferlens.traits.factor import (
    factor_analysis,
    factor_scores,
    non_negative,
    sparse_components,
)
from transferlens.traits.prepare import zscores
from transferlens.traits.rotate import Rotation, oblimin, promax, tidy, varimax
from transferlens.traits.stability import Fit, each_alone, pca_fit

__all__ = ["Decomposition", "Method", "Model", "RotationName"]

Method = Literal["pca", "minres", "ml", "nmf", "sparse"]
RotationName = Literal["none", "varimax", "promax", "oblimin"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decomposition:
    """Loadings and scores of one matrix, whatever the method."""

    loadings: Array
    """Shape (target, k): change of a target per SD of a trait; for ``nmf`` and ``sparse`` the
    basis itself."""
    scores: Array
    """Shape (source, k): SD units for PCA and factor analysis, else the method's own unit."""
    explained: Array
    """Share of the variance per trait, shape (k,)."""
    communalities: Array
    """Share of each target's variance (``nmf``: of its sum of squares) that the traits explain,
    shape (target,); NaN where it has none."""
    phi: Array
    """Correlations between traits, shape (k, k)."""
    pca: PCA | None
    """U, S and V where the method is PCA, unrotated."""
    words: tuple[str, ...]
    """Warnings: Heywood cases, no convergence, too many factors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The choices of a decomposition."""

    method: Method
    """How to decompose."""
    n_components: int
    """How many traits."""
    rotation: RotationName = "none"
    """How to rotate; only for PCA and factor analysis."""
    kaiser: bool = True
    """Whether rotations give every target the same weight."""
    standardise: bool = False
    """Whether PCA and sparse PCA work on z-scores; factor analysis always does."""
    n_starts: int = 10
    """Random starts of oblimin."""

    def __post_init__(self) -> None:
        if self.rotation != "none" and self.method in {"nmf", "sparse"}:
            msg = f"{self.method} has no freedom of rotation; use rotation='none'"
            raise AnalysisError(msg)
        if self.standardise and self.method == "nmf":
            msg = "nmf takes scores as they are, z-scores are negative; use standardise=False"
            raise AnalysisError(msg)

    @property
    def standardised(self) -> bool:
        """Whether every target has the same variance in this decomposition."""
        return self.standardise or self.method in {"minres", "ml"}

    def fit(self, matrix: Array, *, rng: np.random.Generator) -> Decomposition:
        """Decompose one complete matrix, shape (source, target)."""
        if self.method == "pca":
            return self._pca(matrix, rng)
        if self.method in {"minres", "ml"}:
            return self._factors(matrix, rng)
        return self._parts(matrix, rng)

    def batch(self, *, rng: np.random.Generator) -> Fit:
        """Fit stacks of resamples, one by one where the method has no batched form."""
        # One start keeps a thousand resamples affordable; one that ends in another minimum counts
        # against the stability of the traits.
        quick = replace(self, n_starts=1)
        if self.method != "pca":
            return each_alone(lambda matrix: quick.fit(matrix, rng=rng).loadings)
        extract = pca_fit(self.n_components, standardise=self.standardise)
        if not self.rotates:
            return extract
        turn = each_alone(lambda loadings: quick.rotate(loadings, rng).loadings)
        return lambda stack: turn(extract(stack))

    @property
    def rotates(self) -> bool:
        """Whether there is anything to rotate."""
        return self.rotation != "none" and self.n_components > 1

    def rotate(self, loadings: Array, rng: np.random.Generator) -> Rotation:
        """Rotate unrotated loadings, shape (target, k); the identity where nothing rotates."""
        if not self.rotates:
            return Rotation(
                loadings=loadings,
                transform=np.eye(loadings.shape[1]),
                phi=np.eye(loadings.shape[1]),
                criterion=np.nan,
                converged=True,
            )
        if self.rotation == "varimax":
            return tidy(varimax(loadings, kaiser=self.kaiser))
        if self.rotation == "promax":
            return tidy(promax(loadings, kaiser=self.kaiser))
        return tidy(oblimin(loadings, rng=rng, kaiser=self.kaiser, n_starts=self.n_starts))

    def _pca(self, matrix: Array, rng: np.random.Generator) -> Decomposition:
        parts = pca(matrix, self.n_components, standardise=self.standardise)
        rotation = self.rotate(parts.loadings, rng)
        return Decomposition(
            loadings=rotation.loadings,
            scores=rotation.scores(parts.standard_scores),
            explained=_accounted(rotation) / float(parts.column_variance.sum()),
            communalities=parts.communalities,
            phi=rotation.phi,
            pca=parts,
            words=_convergence(rotation),
        )

    def _factors(self, matrix: Array, rng: np.random.Generator) -> Decomposition:
        method: Literal["minres", "ml"] = "ml" if self.method == "ml" else "minres"
        parts = factor_analysis(correlation(matrix), self.n_components, method=method)
        words = self._doubts(matrix.shape[1], parts.heywood, converged=parts.converged)
        rotation = self.rotate(parts.loadings, rng)
        return Decomposition(
            loadings=rotation.loadings,
            scores=factor_scores(zscores(matrix), rotation.loadings, phi=rotation.phi),
            explained=_accounted(rotation) / len(rotation.loadings),
            communalities=parts.communalities,
            phi=rotation.phi,
            pca=None,
            words=words + _convergence(rotation),
        )

    def _parts(self, matrix: Array, rng: np.random.Generator) -> Decomposition:
        if self.method == "nmf":
            used = matrix
            parts = non_negative(matrix, self.n_components)
        else:
            used = zscores(matrix) if self.standardise else matrix - matrix.mean(axis=0)
            parts = sparse_components(used, self.n_components, rng=rng)
        whole = (used**2).sum(axis=0)
        lost = ((used - parts.scores @ parts.loadings.T) ** 2).sum(axis=0)
        return Decomposition(
            loadings=parts.loadings,
            scores=parts.scores,
            explained=parts.explained,
            communalities=1 - lost / np.where(whole > 0, whole, np.nan),
            phi=np.eye(self.n_components),
            pca=None,
            words=(),
        )

    def _doubts(self, p: int, heywood: tuple[int, ...], *, converged: bool) -> tuple[str, ...]:
        k = self.n_components
        words = []
        if (p - k) ** 2 < p + k:
            words.append(f"{k} factors of {p} targets are more than their correlations determine")
        if heywood:
            words.append(
                f"Heywood case: targets {list(heywood)} have a communality of 1;"
                " too many factors or too few sources"
            )
        if not converged:
            words.append("factor extraction did not converge; do not read these loadings")
        return tuple(words)


def _accounted(rotation: Rotation) -> Array:
    return np.asarray(np.diag(rotation.phi @ rotation.loadings.T @ rotation.loadings))


def _convergence(rotation: Rotation) -> tuple[str, ...]:
    return () if rotation.converged else ("the rotation did not converge; try another",)

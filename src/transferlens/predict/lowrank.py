"""Additive effects and a few directions of what they leave, shrunk as much as hidden cells ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from transferlens.predict.effects import two_way
from transferlens.predict.problem import Fitted, Problem
from transferlens.stats.arrays import BoolArray, FloatArray
from transferlens.traits.impute import held_out_folds
from transferlens.traits.spectra import leading_triplets

__all__ = ["LowRank", "soft_impute"]

_ROUNDS = 200
_SHARES = (0.8, 0.6, 0.45, 0.33, 0.24, 0.17, 0.12, 0.08, 0.05, 0.03)
_WORSE = 2
# So many hidden cells tell the thresholds apart; further folds would only cost time.
_ENOUGH = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """Source and target effects, and a soft-thresholded SVD of the residual.

    The threshold is the share of the largest singular value that predicts hidden cells
    best; where no share beats the effects alone, nothing is added to them.

    References
    ----------
    .. [1] Mazumder, Hastie, Tibshirani. *Spectral regularization algorithms for learning large
       incomplete matrices*. 2010. https://www.jmlr.org/papers/v11/mazumder10a.html
    """

    name: ClassVar[str] = "low rank"
    n_folds: int = 5
    """Folds of measured cells that choose the threshold."""
    max_rank: int = 10
    """Directions that are followed."""
    tolerance: float = 1e-3
    """Change of a filled cell, in standard deviations, at which filling stops."""

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:
        """Choose the threshold, and predict by effects and directions."""
        known = problem.require_known()
        share = self._share(problem.gains, known, rng)
        effects = two_way(problem.gains, known).fitted
        if share is None:
            return Fitted(values=effects, words="source and target effects alone predict best")
        rest = np.where(known, problem.gains - effects, 0.0)
        penalty = share * np.sqrt(leading_triplets(rest[None], 1).squared[:, 0])
        found = soft_impute(
            rest[None],
            known[None],
            penalty,
            max_rank=self.max_rank,
            tolerance=self.tolerance / 10,
        )
        words = f"{found.rank} directions beside the effects, threshold {share:.0%} of the largest"
        return Fitted(values=effects + found.values[0], words=words)

    def _share(self, gains: FloatArray, known: BoolArray, rng: np.random.Generator) -> float | None:
        hidden = held_out_folds(known, rng=rng, n_folds=self.n_folds)
        if not len(hidden):
            return None
        hidden = hidden[: max(1, -(-_ENOUGH // int(hidden[0].sum())))]
        seen = known & ~hidden
        effects = np.stack([two_way(gains, part).fitted for part in seen])
        rest = np.where(known, gains - effects, 0.0)
        largest = np.sqrt(leading_triplets(rest * seen, 1).squared[:, 0])
        errors = [float((rest[hidden] ** 2).sum())]
        start = None
        for share in _SHARES:
            found = soft_impute(
                rest, seen, share * largest, max_rank=self.max_rank, start=start,
                tolerance=self.tolerance,
            )  # fmt: skip
            start = found.left, found.right
            errors.append(float(((rest - found.values)[hidden] ** 2).sum()))
            # Less shrinkage only fits more noise from here on, and costs the most rounds.
            if min(errors[-_WORSE:]) > min(errors):
                break
        best = int(np.argmin(errors))
        return _SHARES[best - 1] if best else None


class Imputed(NamedTuple):
    """Low-rank matrices near the known cells, (matrix, row, column): ``left @ right.T``."""

    values: FloatArray
    left: FloatArray
    """Shape (matrix, row, direction)."""
    right: FloatArray
    """Shape (matrix, column, direction)."""

    @property
    def rank(self) -> int:
        """Directions of the first matrix that are not shrunk to nothing."""
        triangle = np.linalg.qr(self.left[0])[1] @ np.linalg.qr(self.right[0])[1].T
        size = np.linalg.svd(triangle, compute_uv=False)
        return int((size > 1e-2 * size.max(initial=1e-300)).sum())


def soft_impute(
    values: FloatArray,
    known: BoolArray,
    penalty: FloatArray,
    *,
    max_rank: int,
    tolerance: float,
    start: tuple[FloatArray, FloatArray] | None = None,
) -> Imputed:
    """Fit matrices to their known cells with a penalty on the sum of its singular values.

    It minimises half the squared errors plus ``penalty`` times that sum, by ridge regressions
    of rows and columns in turn, which settle in far fewer rounds than filling and
    thresholding where most cells are unknown.

    Parameters
    ----------
    values
        Shape (matrix, row, column), not centred here; unknown cells are ignored.
    known
        Which cells are known, same shape.
    penalty
        Subtracted from every singular value of a matrix, (matrix,).
    max_rank
        Directions that are followed.
    tolerance
        It stops where cells move by less than this share of the known cells' root mean square.
    start
        First guess, such as ``left`` and ``right`` of a fit with another penalty.

    References
    ----------
    .. [1] Hastie, Mazumder, Lee, Zadeh. *Matrix completion and low-rank SVD via fast alternating
       least squares*. 2015. arXiv:1410.2596
    """
    weight = known.astype(np.float64)
    filled = np.where(known, values, 0.0)
    left, right = _start(filled, max_rank) if start is None else start
    unit = np.sqrt((filled**2).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))) + 1e-300
    current = left @ right.swapaxes(1, 2)
    for _ in range(_ROUNDS):
        left = _regressed(filled, weight, right, penalty)
        right = _regressed(filled.swapaxes(1, 2), weight.swapaxes(1, 2), left, penalty)
        new = left @ right.swapaxes(1, 2)
        moved = np.sqrt(((new - current) ** 2).mean(axis=(1, 2))) / unit
        current = new
        if moved.max() < tolerance:
            break
    return Imputed(current, left, right)


def _start(values: FloatArray, max_rank: int) -> tuple[FloatArray, FloatArray]:
    parts = leading_triplets(values, min(max_rank, *values.shape[1:]))
    root = parts.squared[:, None] ** 0.25
    return parts.left * root, parts.right * root


def _regressed(
    values: FloatArray, weight: FloatArray, other: FloatArray, penalty: FloatArray
) -> FloatArray:
    """Return the best places of the rows for given places of the columns."""
    count, n, width = len(values), values.shape[1], other.shape[2]
    products = (other[..., :, None] * other[..., None, :]).reshape(count, -1, width**2)
    table = (weight @ products).reshape(count, n, width, width)
    # Where nothing is left to explain, the penalty is 0 and would leave a singular table.
    table += np.maximum(penalty, 1e-12)[:, None, None, None] * np.eye(width)
    return np.asarray(np.linalg.solve(table, (values @ other)[..., None])[..., 0])

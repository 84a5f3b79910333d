"""Effects and a few directions with their posterior uncertainty, for intervals and plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from transferlens.predict.effects import two_way
from transferlens.predict.problem import Fitted, Problem
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray
from transferlens.traits.spectra import leading_triplets

__all__ = ["Bayes", "Posterior", "Side"]


class Side(NamedTuple):
    """Posterior of the sources, or of the targets: an effect and a place in each direction."""

    mean: FloatArray
    """Shape (name, 1 + direction): the effect first."""
    covariance: FloatArray
    """Shape (name, 1 + direction, 1 + direction)."""
    prior: FloatArray
    """Prior variance of the effect and of each direction, (1 + direction,)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """``gain = grand + source + target + places · places``, with what is not known of it."""

    grand: float
    sources: Side
    targets: Side
    noise_variance: float
    """Of a measurement around the sum, squared unit."""

    @property
    def mean(self) -> FloatArray:
        """Expected gain of each cell, (source, target)."""
        left, right = _with_constant(self.sources.mean, 1), _with_constant(self.targets.mean, 0)
        return np.asarray(self.grand + left @ right.T)

    @property
    def variance(self) -> FloatArray:
        """Variance of the true gain of each cell, (source, target)."""
        left, right = _moments(self.sources, 1), _moments(self.targets, 0)
        size = left.shape[1] ** 2
        square = left.reshape(-1, size) @ right.reshape(-1, size).T
        return np.asarray(np.maximum(square - (self.mean - self.grand) ** 2, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bayes:
    """Variational Bayesian factorisation with source and target effects.

    Directions that the measured cells do not support are switched off by their own prior
    (automatic relevance determination); effects are shrunk by how much they vary.

    References
    ----------
    .. [1] Ilin, Raiko. *Practical approaches to principal component analysis in the presence of
       missing values*. 2010. https://www.jmlr.org/papers/v11/ilin10a.html
    """

    name: ClassVar[str] = "Bayesian low rank"
    max_rank: int = 6
    """Directions before those without support are dropped."""
    rounds: int = 150
    """Rounds at most."""
    tolerance: float = 3e-4
    """Change of a cell, in standard deviations of the measured ones, at which it stops."""

    def fit(self, problem: Problem, *, rng: np.random.Generator) -> Fitted:  # noqa: ARG002 - the interface
        """Predict the posterior mean of each cell, with its standard deviation."""
        found = self.posterior(problem.gains, problem.require_known())
        spread = np.sqrt(found.variance + found.noise_variance)
        rank = found.sources.mean.shape[1] - 1
        return Fitted(
            values=found.mean, spread=spread, words=f"{rank} directions beside the effects"
        )

    def posterior(self, gains: FloatArray, known: BoolArray) -> Posterior:
        """Return the posterior given the known cells of (source, target), at least one."""
        values = np.where(known, gains, 0.0)
        unit = float(values[known].std()) or 1.0
        now = self._start(values, known, unit)
        before = now.mean
        for _ in range(self.rounds):
            now = _pruned(_round(now, values, known, floor=(1e-6 * unit) ** 2))
            mean = now.mean
            if float(np.abs(mean - before).max()) < self.tolerance * unit:
                break
            before = mean
        return now

    def _start(self, values: FloatArray, known: BoolArray, unit: float) -> Posterior:
        effects = two_way(values, known)
        rest = np.where(known, values - effects.fitted, 0.0)
        rank = max(min(self.max_rank, (min(values.shape) - 1) // 2), 0)
        parts = leading_triplets(rest[None], max(rank, 1))
        # Unknown cells stand as 0 in the matrix and shrink it by the share of the known ones.
        size = np.sqrt(parts.squared[0, :rank]) / known.mean()
        root = np.sqrt(len(values))
        left, right = parts.left[0, :, :rank] * root, parts.right[0, :, :rank] * size / root
        sources = np.column_stack([effects.source, left])
        targets = np.column_stack([effects.target, right])
        return Posterior(
            grand=effects.grand,
            sources=_side(sources, np.concatenate([[unit**2], np.ones(rank)])),
            targets=_side(targets, np.concatenate([[unit**2], (right**2).mean(axis=0) + 1e-300])),
            noise_variance=float((rest[known] ** 2).mean()) + (1e-3 * unit) ** 2,
        )


def _side(mean: FloatArray, prior: FloatArray) -> Side:
    width = mean.shape[1]
    return Side(mean, np.zeros((len(mean), width, width)), prior)


def _round(now: Posterior, values: FloatArray, known: BoolArray, *, floor: float) -> Posterior:
    """Update sources, targets, their priors, the level and the noise once."""
    weight = known.astype(np.float64)
    rest = values - now.grand
    sources = _updated(now.sources, now.targets, rest, weight, now.noise_variance, places=False)
    targets = _updated(now.targets, sources, rest.T, weight.T, now.noise_variance, places=True)
    found = Posterior(
        grand=now.grand, sources=sources, targets=targets, noise_variance=now.noise_variance
    )
    error = (values - found.mean)[known]
    shift = float(error.mean())
    noise = float(((error - shift) ** 2 + found.variance[known]).mean())
    return Posterior(
        grand=now.grand + shift,
        sources=sources,
        targets=targets,
        noise_variance=max(noise, floor),
    )


def _updated(
    side: Side, other: Side, rest: FloatArray, weight: FloatArray, noise: float, *, places: bool
) -> Side:
    """Return the posterior of one side given the other.

    ``rest`` and ``weight`` are (name, other name); the prior variance of the places is
    estimated for one side only, because their scale is free.
    """
    width = side.mean.shape[1]
    # What multiplies the effect is 1, what multiplies the places are the other's places.
    design = np.column_stack([np.ones(len(other.mean)), other.mean[:, 1:]])
    square = design[:, :, None] * design[:, None, :]
    square[:, 1:, 1:] += other.covariance[:, 1:, 1:]
    cross = np.column_stack([np.zeros(len(other.mean)), other.covariance[:, 1:, 0]])
    outcome = (rest - other.mean[:, 0]) * weight
    side_sums = outcome @ design - weight @ cross
    precision = (weight @ square.reshape(len(design), -1)).reshape(-1, width, width) / noise
    precision += np.diag(1.0 / side.prior)
    covariance = np.linalg.inv(precision)
    mean = np.einsum("nij,nj->ni", covariance, side_sums / noise)
    seen = weight.any(axis=1)
    moment = (mean**2 + np.diagonal(covariance, axis1=1, axis2=2))[seen].mean(axis=0)
    prior = side.prior.copy()
    estimated = slice(None) if places else slice(0, 1)
    prior[estimated] = np.maximum(moment[estimated], 1e-12 * noise)
    return Side(mean, covariance, prior)


def _pruned(now: Posterior) -> Posterior:
    """Drop directions whose contribution is nothing beside the noise."""
    size = now.targets.prior[1:] * (now.sources.mean[:, 1:] ** 2).mean(axis=0)
    kept = np.concatenate([[True], size > 1e-4 * now.noise_variance])
    if kept.all():
        return now
    sources, targets = (
        Side(side.mean[:, kept], side.covariance[:, kept][:, :, kept], side.prior[kept])
        for side in (now.sources, now.targets)
    )
    return Posterior(
        grand=now.grand, sources=sources, targets=targets, noise_variance=now.noise_variance
    )


def _with_constant(mean: FloatArray, place: int) -> FloatArray:
    """Put the 1 beside the effect that multiplies the other side's effect."""
    wide = np.ones((len(mean), mean.shape[1] + 1))
    wide[:, _others(place, wide.shape[1])] = mean
    return wide


def _moments(side: Side, place: int) -> FloatArray:
    """Return the expected products of a side's numbers and the constant, (name, number, number)."""
    mean = _with_constant(side.mean, place)
    products = mean[:, :, None] * mean[:, None, :]
    at = _others(place, mean.shape[1])
    products[:, at[:, None], at] += side.covariance
    return np.asarray(products)


def _others(place: int, width: int) -> IntArray:
    numbers = np.arange(width)
    return np.asarray(numbers[numbers != place])

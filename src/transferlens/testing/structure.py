"""What is true of a simulated matrix: traits, donors, recipients, one-way transfer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from transferlens.errors import SpecError, did_you_mean

__all__ = ["Structure", "Truth", "draw_truth", "missing_cells", "task_names"]

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Pattern = Literal["simple", "dense"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What makes some gains larger than others; all sizes are in scores from 0 to 1."""

    n_sources: int = 30
    n_targets: int = 30
    strengths: tuple[float, ...] = (0.06, 0.05, 0.04)
    """For each trait the SD over sources of what it adds to a score (root mean
    square over targets). Their number is the number of traits; none are allowed."""
    pattern: Pattern = "simple"
    """``simple``: each target loads on one trait; ``dense``: each loads on all."""
    skew: float = 0.0
    """Skewness of the trait scores over sources: above 0 a few sources have much of a trait."""
    mean_gain: float = 0.0
    """Gain of the average source on the average target."""
    source_sd: float = 0.0
    """SD of the sources' effects on all targets alike. It is one more direction of variance,
    with equal loadings, beside the traits."""
    target_sd: float = 0.0
    """SD of the targets' mean gains; centring columns removes it."""
    one_way_sd: float = 0.0
    """SD of one-way transfer: what first → second gains, second → first loses. Between tasks
    that are both source and target. It is a further source of variance, without low rank."""
    base: tuple[float, float] = (0.35, 0.65)
    """Range of the base model's scores, drawn evenly."""

    def __post_init__(self) -> None:
        if min(self.n_sources, self.n_targets) < 1:
            msg = f"{self.n_sources} sources × {self.n_targets} targets: at least 1 × 1 are needed"
            raise SpecError(msg)
        limit = min(self.n_sources - 1, self.n_targets)
        if len(self.strengths) > limit:
            msg = (
                f"{len(self.strengths)} traits do not fit in {self.n_sources} sources ×"
                f" {self.n_targets} targets; at most {limit} do"
            )
            raise SpecError(msg)
        if self.pattern not in get_args(Pattern):
            hint = did_you_mean(self.pattern, get_args(Pattern))
            msg = f"unknown pattern {self.pattern!r}.{hint}"
            raise SpecError(msg)
        sizes = (*self.strengths, self.source_sd, self.target_sd, self.one_way_sd)
        if min(sizes) < 0 or not all(map(math.isfinite, sizes)):
            msg = f"strengths and standard deviations must be finite and at least 0: {sizes}"
            raise SpecError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """What was planted. Gains count upwards: above 0 the adapter is better than the base."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    """Sources and targets with the same name are the same task."""
    families: tuple[str, ...]
    """Of each target: the trait on which it loads most; empty where there is no trait."""
    trait_scores: Array
    """Shape (source, k): mean 0, variance 1 (n - 1) and uncorrelated over the sources."""
    loadings: Array
    """Shape (target, k), orthogonal columns: change of a score per SD of a trait."""
    source_effect: Array
    """Shape (source,), mean 0."""
    target_effect: Array
    """Shape (target,), around the mean gain."""
    one_way: Array
    """Shape (source, target): skew-symmetric over the common tasks, 0 elsewhere."""
    base: Array
    """The base model's true quality, shape (target,)."""
    gain: Array
    """The sum of all parts, shape (source, target)."""

    @property
    def n_traits(self) -> int:
        """Number of traits."""
        return int(self.loadings.shape[1])

    @property
    def expected(self) -> Array:
        """Base plus gain: the true quality of each adapter, shape (source, target)."""
        return np.asarray(self.base + self.gain)


def draw_truth(structure: Structure, *, rng: np.random.Generator) -> Truth:
    """Draw traits, effects and a base; the same generator state gives the same truth.

    The trait scores are made exactly uncorrelated and the loadings exactly
    orthogonal. With traits only, the column-centred gains therefore have the
    singular values ``strength * sqrt(n_targets * (n_sources - 1))``.
    """
    n, p, k = structure.n_sources, structure.n_targets, len(structure.strengths)
    names = task_names(max(n, p))
    scores = _trait_scores(n, k, structure.skew, rng)
    loadings = _loadings(structure, rng)
    source = rng.standard_normal(n)
    source_effect = structure.source_sd * (source - source.mean())
    target_effect = structure.mean_gain + structure.target_sd * rng.standard_normal(p)
    one_way = _one_way(structure, rng)
    main = np.abs(loadings).argmax(axis=1) if k else np.zeros(p, dtype=int)
    return Truth(
        sources=names[:n],
        targets=names[:p],
        families=tuple(f"ability {at + 1}" if k else "" for at in main),
        trait_scores=scores,
        loadings=loadings,
        source_effect=source_effect,
        target_effect=target_effect,
        one_way=one_way,
        base=rng.uniform(*structure.base, p),
        gain=scores @ loadings.T + source_effect[:, None] + target_effect + one_way,
    )


def task_names(n: int) -> tuple[str, ...]:
    """Return names whose alphabetical order is their order."""
    width = len(str(max(n - 1, 0)))
    return tuple(f"task_{at:0{width}d}" for at in range(n))


def _trait_scores(n: int, k: int, skew: float, rng: np.random.Generator) -> Array:
    raw = rng.standard_normal((n, k))
    if skew:
        # A gamma variable of this shape has skewness |skew|.
        shape = 4.0 / skew**2
        raw = np.sign(skew) * (rng.gamma(shape, size=(n, k)) - shape) / np.sqrt(shape)
    if k == 0:
        return raw
    # The nearest orthonormal columns keep each trait closest to what was drawn.
    left, _, right = np.linalg.svd(raw - raw.mean(axis=0), full_matrices=False)
    return np.asarray(left @ right * np.sqrt(n - 1))


def _loadings(structure: Structure, rng: np.random.Generator) -> Array:
    p, k = structure.n_targets, len(structure.strengths)
    if structure.pattern == "dense":
        directions = np.linalg.qr(rng.standard_normal((p, k)))[0]
    else:
        size = rng.uniform(0.6, 1.4, p)
        member = np.arange(p)[:, None] % max(k, 1) == np.arange(k)
        directions = np.where(member, size[:, None], 0.0)
        directions /= np.sqrt((directions**2).sum(axis=0))
    return np.asarray(directions * np.array(structure.strengths) * np.sqrt(p))


def _one_way(structure: Structure, rng: np.random.Generator) -> Array:
    n, p = structure.n_sources, structure.n_targets
    common = min(n, p)
    upper = np.triu(rng.standard_normal((common, common)), 1)
    whole = np.zeros((n, p))
    whole[:common, :common] = structure.one_way_sd * (upper - upper.T)
    return whole


def missing_cells(shape: tuple[int, ...], share: float, *, rng: np.random.Generator) -> BoolArray:
    """Draw which cells of (source, target) are missing: an exact share, never an own task.

    No source and no target is without any cell.

    Raises
    ------
    SpecError
        The share is so large that a source or target would have no cell.
    """
    n_sources, n_targets = shape
    kept = np.zeros(shape, dtype=np.bool_)
    rows, columns = np.arange(n_sources), np.arange(n_targets)
    kept[rows, rows % n_targets] = True
    kept[columns % n_sources, columns] = True
    free = np.flatnonzero(~kept)
    n_missing = round(share * kept.size)
    if not 0 <= n_missing <= free.size:
        most = free.size / kept.size
        msg = f"a share of {share} of the cells cannot be missing; 0 to {most:.3f} can"
        raise SpecError(msg)
    missing = np.zeros(kept.size, dtype=np.bool_)
    missing[rng.choice(free, size=n_missing, replace=False)] = True
    return missing.reshape(kept.shape)

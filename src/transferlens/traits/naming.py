"""Names for traits, from the families and metrics of the tasks that load on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import hypergeom

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, BoolArray

__all__ = ["TraitName", "label_of", "name_trait"]

Strength = Literal["strong", "moderate", "weak", "given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitName:
    """A name and the tasks that speak for and against it."""

    name: str
    strength: Strength
    """``given`` by the user, or how well the tasks bear the name out."""
    for_: tuple[str, ...]
    """Tasks of the named kind that load on the named side, largest loading first."""
    against: tuple[str, ...]
    """Tasks of the kind that do not load on that side, and others that do."""
    pole: Literal["high", "low"] = "high"
    """Whether sources with high or with low scores have the named trait."""

    def sentence(self) -> str:
        """Give the name with its evidence."""
        if self.strength == "given":
            return f"{self.name} (named by the user)"
        against = f"; against: {', '.join(self.against)}" if self.against else ""
        side = ", at its low end" if self.pole == "low" else ""
        return f"{self.name} ({self.strength}{side}; for: {', '.join(self.for_)}{against})"


@dataclass(frozen=True)
class _Evidence:
    kind: str
    pole: Literal["high", "low"]
    members: BoolArray
    hits: BoolArray
    strength: Strength
    mass: float
    against: BoolArray


def name_trait(
    loadings: Array,
    *,
    targets: Sequence[str],
    families: Sequence[str | None],
    metrics: Sequence[str | None] | None = None,
    significant: BoolArray | None = None,
    given: str | None = None,
) -> TraitName | None:
    """Name a trait by what its tasks have in common, or not at all.

    A task speaks for a trait when its loading is at least that of an even trait
    (``|v| ≥ 1/√p`` of the unit direction) and, where intervals are known, when its interval
    does not hold 0. A family gives its name when at least two of its tasks load on one side,
    they are most of what loads there, and most of the family is there. Where families say
    nothing, a metric may ("tasks scored by exact match"), by the same rule and never as strong.

    Parameters
    ----------
    loadings
        One trait's loadings, shape (target,).
    targets
        Names of the targets.
    families
        Family of each target, None where unknown.
    metrics
        Metric of each target, None where unknown.
    significant
        Whether a loading's interval excludes 0, shape (target,).
    given
        The user's own name, which wins.

    Returns
    -------
    TraitName or None
        None when nothing supports a name.

    Raises
    ------
    AnalysisError
        The arguments differ in length.
    """
    values = np.asarray(loadings, dtype=np.float64)
    sizes = {len(values), len(targets), len(families), len(metrics or families)}
    if len(sizes) > 1:
        msg = f"loadings, targets, families and metrics differ in length: {sorted(sizes)}"
        raise AnalysisError(msg)
    if given is not None:
        return TraitName(name=given, strength="given", for_=(), against=())
    length = float(np.sqrt((values**2).sum()))
    if not length > 0:
        return None
    unit = values / length
    salient = np.abs(unit) >= 1 / np.sqrt(len(unit))
    if significant is not None:
        salient &= significant
    found = [_judge(unit, salient, family, families) for family in _kinds(families)]
    best = _best(found)
    prefix = ""
    if best is None and metrics is not None:
        best = _best([_judge(unit, salient, metric, metrics) for metric in _kinds(metrics)])
        prefix = "tasks scored by "
    if best is None:
        return None
    by_size = np.argsort(-np.abs(unit), kind="stable")
    return TraitName(
        name=prefix + best.kind.replace("_", " "),
        strength="weak" if prefix else best.strength,
        for_=tuple(targets[at] for at in by_size if best.hits[at]),
        against=tuple(targets[at] for at in by_size if best.against[at]),
        pole=best.pole,
    )


def _kinds(labels: Sequence[str | None]) -> list[str]:
    known = {label for label in labels if label}
    # One kind for all tasks cannot tell a trait from any other.
    return sorted(known) if len(known) > 1 else []


def _best(found: list[_Evidence | None]) -> _Evidence | None:
    real = [one for one in found if one is not None]
    return max(real, key=lambda one: (one.mass, one.kind), default=None)


def _judge(
    unit: Array, salient: BoolArray, kind: str, labels: Sequence[str | None]
) -> _Evidence | None:
    members = np.array([label == kind for label in labels], dtype=np.bool_)
    direction = 1.0 if (unit[members] ** 2 * np.sign(unit[members])).sum() >= 0 else -1.0
    side = salient & (unit * direction > 0)
    hits = side & members
    if hits.sum() < 2:
        return None
    mass = float((unit[hits] ** 2).sum())
    purity = mass / float((unit[side] ** 2).sum())
    coverage = float(hits.sum() / members.sum())
    chance = float(hypergeom.sf(hits.sum() - 1, len(unit), members.sum(), side.sum()))
    strength = _strength(purity, coverage, chance)
    if strength is None:
        return None
    return _Evidence(
        kind=kind,
        pole="high" if direction > 0 else "low",
        members=members,
        hits=hits,
        strength=strength,
        mass=mass,
        against=(members & ~hits) | (side & ~members),
    )


def _strength(purity: float, coverage: float, chance: float) -> Strength | None:
    if purity >= 0.8 and coverage >= 0.75 and chance <= 0.05:
        return "strong"
    if purity >= 0.6 and coverage >= 0.5 and chance <= 0.2:
        return "moderate"
    if purity >= 0.5 and coverage >= 0.5 and chance <= 0.5:
        return "weak"
    return None


def label_of(name: TraitName | None, index: int) -> str:
    """Label of a trait for tables and plots: its name or "unnamed trait 2"."""
    return f"unnamed trait {index + 1}" if name is None else name.name

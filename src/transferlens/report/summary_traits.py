"""The traits as a page needs them: loadings, scores, scree, stability, names with evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transferlens.report.analysis import Analyses
from transferlens.report.claim import Claim, Lacking, Verdict, counted, listed
from transferlens.traits import Stability, TraitName, Traits

__all__ = ["Loading", "Scree", "TraitView", "TraitsView", "traits_view"]

GOOD, FAIR = 0.95, 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """One target's loading on a trait, in the unit of the matrix per SD of the trait."""

    target: str
    value: float
    low: float
    high: float
    """Interval over examples where it is known, else over sources."""
    significant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitView:
    """One trait."""

    label: str
    explained: float
    stability: tuple[tuple[str, float], ...]
    """What was drawn anew, and the median congruence."""
    verdict: Verdict
    words: str
    """Its name with the tasks for and against; empty without a name."""
    loadings: tuple[Loading, ...]
    """The largest first."""
    scores: tuple[tuple[str, float], ...]
    """Each source's score in SD, the highest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scree:
    """Eigenvalues as shares of the variance, against chance."""

    explained: tuple[float, ...]
    threshold: tuple[float, ...]
    """What permuted columns reach once in twenty times, as a share too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitsView:
    """All traits."""

    claims: tuple[Claim, ...]
    """The first one says how many there are and how sure that is."""
    traits: tuple[TraitView, ...]
    scree: Scree
    rules: tuple[tuple[str, int], ...]
    """How many traits each rule finds."""
    interval_over: str
    unit: str
    """Unit of the loadings: ``points`` where all targets are fractions."""
    notes: tuple[str, ...]


def traits_view(found: Analyses) -> TraitsView | Lacking:
    """Arrange the traits."""
    traits = found.traits
    if isinstance(traits, Lacking):
        return traits
    interval = traits.over_examples or traits.over_sources
    units = {t.unit for t in found.study.targets}
    parallel = traits.number.parallel
    total = max(float(parallel.eigenvalues.sum()), 1e-300)
    return TraitsView(
        claims=(_how_many(traits), *_doubts(traits)),
        traits=tuple(_trait(traits, interval, at) for at in range(traits.n_traits)),
        scree=Scree(
            explained=tuple(float(v) / total for v in parallel.eigenvalues[:12]),
            threshold=tuple(float(v) / total for v in parallel.threshold[:12]),
        ),
        rules=(
            ("parallel analysis", parallel.n_components),
            ("cross-validation", traits.number.cross_validation.n_components),
            ("MAP", traits.number.map_components),
            ("Kaiser", traits.number.kaiser_components),
        ),
        unit="points" if units == {"fraction"} else "the metric's unit",
        interval_over="examples and seeds" if traits.over_examples else "sources",
        notes=tuple(traits.notes),
    )


def _how_many(traits: Traits) -> Claim:
    number = traits.number
    first, second = number.parallel.n_components, number.cross_validation.n_components
    share = float(traits.decomposition.explained.sum())
    if second == 0:
        text = (
            f"Number of abilities: cannot tell. Cross-validation supports none, parallel analysis "
            f"{first}, of {len(traits.sources)} sources; the first component explains {share:.0%} "
            "of the variance."
        )
        return Claim(text=text, verdict="cannot tell", section="traits")
    few = len(traits.sources) < 12
    least = min(_least(traits, at) for at in range(traits.n_traits))
    sure = number.agreed and not few and least >= FAIR
    doubt = (
        "both rules agree"
        if number.agreed
        else f"parallel analysis finds {first}, cross-validation {second}"
    )
    rows = f", and {len(traits.sources)} sources are few" if few else ""
    labels = "; ".join(traits.labels)
    return Claim(
        text=f"{counted(traits.n_traits, 'ability', 'abilities')} explain {share:.0%} of the "
        f"variance: {labels}. {doubt[0].upper()}{doubt[1:]}{rows}; lowest congruence "
        f"{least:.2f}.",
        verdict="significant" if sure else "suggestive",
        section="traits",
    )


def _doubts(traits: Traits) -> Iterator[Claim]:
    for one in traits.dominance:
        text = one.sentence(list(traits.sources), list(traits.targets))
        yield Claim(text=f"{text[0].upper()}{text[1:]}.", verdict="cannot tell", section="traits")
    if traits.completion.n_missing:
        text = traits.completion.sentence()
        yield Claim(text=f"{text[0].upper()}{text[1:]}.", section="traits")
    for word in traits.decomposition.words:
        yield Claim(text=f"{word[0].upper()}{word[1:]}.", verdict="cannot tell", section="traits")


def _trait(traits: Traits, interval: Stability, at: int) -> TraitView:
    name = traits.names[at]
    values = traits.decomposition.loadings[:, at]
    loadings = [
        Loading(
            target=traits.targets[j],
            value=float(values[j]),
            low=float(interval.low[j, at]),
            high=float(interval.high[j, at]),
            significant=bool(interval.significant[j, at]),
        )
        for j in np.argsort(-np.abs(values), kind="stable")
    ]
    scores = traits.decomposition.scores[:, at]
    order = np.argsort(-scores, kind="stable")
    return TraitView(
        label=traits.labels[at],
        explained=float(traits.decomposition.explained[at]),
        stability=tuple(_stability(traits, at)),
        verdict=_verdict(traits, at),
        words="" if name is None else _name(name),
        loadings=tuple(loadings),
        scores=tuple((traits.sources[i], float(scores[i])) for i in order),
    )


def _name(name: TraitName) -> str:
    if name.strength == "given":
        return name.sentence()
    against = f"; against: {listed(name.against, 6)}" if name.against else ""
    side = ", at its low end" if name.pole == "low" else ""
    return f"{name.name} ({name.strength}{side}; for: {listed(name.for_, 6)}{against})"


def _stability(traits: Traits, at: int) -> Iterator[tuple[str, float]]:
    if traits.over_examples is not None:
        yield "examples and seeds", float(traits.over_examples.median[at])
    yield "sources", float(traits.over_sources.median[at])


def _least(traits: Traits, at: int) -> float:
    return min(value for _, value in _stability(traits, at))


def _verdict(traits: Traits, at: int) -> Verdict:
    """Return significant for what both rules support and resamples show again."""
    number = traits.number
    least = _least(traits, at)
    supported = at < min(number.parallel.n_components, number.cross_validation.n_components)
    if supported and least >= GOOD:
        return "significant"
    some = at < max(number.parallel.n_components, number.cross_validation.n_components)
    return "suggestive" if some and least >= FAIR else "cannot tell"

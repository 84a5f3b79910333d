"""The traits of a matrix with everything that says whether to believe them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import xarray as xr

from transferlens.traits.dominance import Dominance
from transferlens.traits.impute import Completion
from transferlens.traits.model import Decomposition, Model
from transferlens.traits.naming import TraitName, label_of
from transferlens.traits.number import NumberOfTraits
from transferlens.traits.seriate import Clusters
from transferlens.traits.stability import FAIR, GOOD, LeaveOneOut, Stability

__all__ = ["Traits"]

# Groups that come back less often are not worth a line; the clusters hold them all.
SUPPORTED = 0.7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traits:
    """Latent traits behind a transfer matrix.

    Numbers are NumPy arrays in the order of ``sources`` and ``targets``; ``to_xarray`` and
    ``to_frame`` put the names on.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    families: tuple[str | None, ...]
    model: Model
    """The choices that were made."""
    decomposition: Decomposition
    """Loadings, scores, explained variance."""
    completion: Completion
    """The matrix that was decomposed, with its guessed cells."""
    number: NumberOfTraits
    """What each rule says about the number of traits."""
    asked: int | None
    """Number of traits that the caller asked for; None if the rules chose."""
    over_sources: Stability
    """Bootstrap over sources."""
    over_examples: Stability | None
    """Bootstrap over examples and seeds; None where neither is known."""
    left_out: LeaveOneOut
    """Congruence without each source."""
    dominance: tuple[Dominance, ...]
    """Traits that one cell or one source makes."""
    names: tuple[TraitName | None, ...]
    source_clusters: Clusters
    """Order and groups of the sources by their scores, in the unit that was decomposed."""
    target_clusters: Clusters
    """Order and groups of the targets by the profiles of their z-scores over the sources."""
    notes: tuple[str, ...] = ()
    """What was left out or turned round, and what the bootstraps cannot say."""

    @property
    def n_traits(self) -> int:
        """Number of traits."""
        return self.model.n_components

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each trait, or "unnamed trait 2"; numbered where a name occurs twice."""
        raw = [label_of(name, at) for at, name in enumerate(self.names)]
        return tuple(
            f"{label} ({raw[: at + 1].count(label)})" if raw.count(label) > 1 else label
            for at, label in enumerate(raw)
        )

    def to_xarray(self) -> xr.Dataset:
        """Everything over named axes: source, target, trait and component (of the scree).

        ``loading`` is the change of a target per SD of a trait; ``score`` a source's trait
        score; with PCA also ``weight`` (U), ``singular_value`` (S) and ``axis`` (V) of the
        unrotated components. Guessed cells are True in ``missing``.
        """
        parts = self.decomposition
        data: dict[str, tuple[tuple[str, ...], object]] = {
            "matrix": (("source", "target"), self.completion.values),
            "missing": (("source", "target"), self.completion.missing),
            "loading": (("target", "trait"), parts.loadings),
            "score": (("source", "trait"), parts.scores),
            "explained": (("trait",), parts.explained),
            "communality": (("target",), parts.communalities),
            "correlation": (("trait", "other_trait"), parts.phi),
            "source_cluster": (("source",), self.source_clusters.labels),
            "target_cluster": (("target",), self.target_clusters.labels),
            "left_out_congruence": (("source", "trait"), self.left_out.congruence),
            "eigenvalue": (("component",), self.number.parallel.eigenvalues),
            "eigenvalue_threshold": (("component",), self.number.parallel.threshold),
            **_stability_data(self.over_sources),
            **(_stability_data(self.over_examples) if self.over_examples else {}),
        }
        if parts.pca is not None:
            data["weight"] = (("source", "trait"), parts.pca.left)
            data["singular_value"] = (("trait",), parts.pca.singular)
            data["axis"] = (("target", "trait"), parts.pca.right)
        number = np.arange(1, self.n_traits + 1)
        return xr.Dataset(
            data,
            coords={
                "source": list(self.sources),
                "target": list(self.targets),
                "family": ("target", [family or "" for family in self.families]),
                "trait": number,
                "other_trait": number,
                "name": ("trait", list(self.labels)),
                "component": np.arange(1, len(self.number.parallel.eigenvalues) + 1),
            },
            attrs={
                "method": self.model.method,
                "rotation": self.model.rotation,
                "standardised": int(self.model.standardised),
            },
        )

    def to_frame(self) -> pl.DataFrame:
        """One row per target and trait: loading, intervals, whether they exclude 0."""
        p, k = len(self.targets), self.n_traits
        columns: dict[str, object] = {
            "target": np.repeat(self.targets, k),
            "family": [family for family in self.families for _ in range(k)],
            "trait": np.tile(np.arange(1, k + 1), p),
            "name": list(self.labels) * p,
            "loading": self.decomposition.loadings.ravel(),
        }
        for stability in (self.over_examples, self.over_sources):
            if stability is not None:
                columns[f"low_over_{stability.kind}"] = stability.low.ravel()
                columns[f"high_over_{stability.kind}"] = stability.high.ravel()
                columns[f"significant_over_{stability.kind}"] = stability.significant.ravel()
        return pl.DataFrame(columns)

    def scores_frame(self) -> pl.DataFrame:
        """One row per source and trait: its trait score."""
        n, k = len(self.sources), self.n_traits
        return pl.DataFrame(
            {
                "source": np.repeat(self.sources, k),
                "trait": np.tile(np.arange(1, k + 1), n),
                "name": list(self.labels) * n,
                "score": self.decomposition.scores.ravel(),
            }
        )

    def summary(self) -> tuple[str, ...]:
        """Say what was found and how far to believe it, a sentence per line."""
        lines = [self._what(), self._how_many(), *self.number.words]
        if self.completion.n_missing:
            lines.append(self.completion.sentence())
        lines += [self._trait_line(at) for at in range(self.n_traits)]
        lines += [
            "warning: " + one.sentence(list(self.sources), list(self.targets))
            for one in self.dominance
        ]
        lines += ["warning: " + word for word in self.decomposition.words]
        lines += self._groups()
        return (*lines, *self.notes)

    def _what(self) -> str:
        share = float(self.decomposition.explained.sum())
        rotated = "" if self.model.rotation == "none" else f", {self.model.rotation} rotation"
        traits, verb = ("trait", "explains") if self.n_traits == 1 else ("traits", "explain")
        return (
            f"{self.n_traits} {traits} of {len(self.sources)} sources ×"
            f" {len(self.targets)} targets by {self.model.method}{rotated} {verb} {share:.0%}"
            " of the variance"
        )

    def _how_many(self) -> str:
        rules = (
            f"parallel analysis {self.number.parallel.n_components}, cross-validation"
            f" {self.number.cross_validation.n_components}, MAP {self.number.map_components},"
            f" Kaiser {self.number.kaiser_components}"
        )
        if self.asked is not None:
            return f"{self.asked} traits were asked for; the rules would keep: {rules}"
        if self.number.n_components == 0:
            return f"no trait is supported ({rules}); the first component is shown unread"
        return f"number of traits: {rules}"

    def _trait_line(self, at: int) -> str:
        name = self.names[at]
        title = label_of(None, at) if name is None else f"trait {at + 1}: {name.sentence()}"
        phi = [f"sources {self.over_sources.median[at]:.2f}"]
        if self.over_examples is not None:
            phi.insert(0, f"examples and seeds {self.over_examples.median[at]:.2f}")
        worst = self.left_out.worst_row[at]
        return (
            f"{title}; explains {self.decomposition.explained[at]:.0%}; congruence over"
            f" {', over '.join(phi)} ({_verdict(self._least(at))}); without"
            f" {self.sources[worst]} {self.left_out.congruence[worst, at]:.2f}"
        )

    def _groups(self) -> list[str]:
        parts = (
            ("sources", self.sources, self.source_clusters),
            ("targets", self.targets, self.target_clusters),
        )
        return [line for part in parts if (line := _supported(*part))]

    def _least(self, at: int) -> float:
        known = [one for one in (self.over_sources, self.over_examples) if one is not None]
        return min(float(one.median[at]) for one in known)


def _supported(kind: str, names: tuple[str, ...], clusters: Clusters) -> str:
    support = clusters.cluster_support
    groups = []
    for label in np.flatnonzero(support >= SUPPORTED):
        members = (name for name, at in zip(names, clusters.labels, strict=True) if at == label)
        groups.append(f"{', '.join(members)} ({support[label]:.0%})")
    return f"groups of {kind} with their support: {'; '.join(groups)}" if groups else ""


def _verdict(phi: float) -> str:
    if phi >= GOOD:
        return "stable"
    return "fairly stable" if phi >= FAIR else "unstable: do not interpret"


def _stability_data(stability: Stability) -> dict[str, tuple[tuple[str, ...], object]]:
    kind = stability.kind
    return {
        f"loading_low_over_{kind}": (("target", "trait"), stability.low),
        f"loading_high_over_{kind}": (("target", "trait"), stability.high),
        f"significant_over_{kind}": (("target", "trait"), stability.significant),
        f"congruence_over_{kind}": (("trait",), stability.median),
        f"recovered_over_{kind}": (("trait",), stability.recovered),
    }

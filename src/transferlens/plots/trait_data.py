"""What every picture of traits shows beside its own numbers."""

from __future__ import annotations

import numpy as np
import xarray as xr

from transferlens.traits import Stability, Traits

__all__ = ["known_intervals", "trait_table"]


def known_intervals(traits: Traits) -> list[Stability]:
    """Return the bootstraps that were made, that over sources first."""
    return [one for one in (traits.over_sources, traits.over_examples) if one is not None]


def trait_table(traits: Traits) -> xr.Dataset:
    """Return name, explained share, least median congruence and what alone makes each trait."""
    congruence = np.min([one.median for one in known_intervals(traits)], axis=0)
    return xr.Dataset(
        {
            "explained": ("trait", traits.decomposition.explained),
            "congruence": ("trait", congruence),
        },
        coords={
            "trait": np.arange(1, traits.n_traits + 1),
            "name": ("trait", _titles(traits)),
            "made_by": ("trait", _made_by(traits)),
        },
        attrs={
            "method": traits.model.method,
            "rotation": traits.model.rotation,
            "standardised": traits.model.standardised,
        },
    )


def _titles(traits: Traits) -> list[str]:
    # A name alone would be read as that of the end above 0.
    low = [name is not None and name.pole == "low" for name in traits.names]
    return [
        f"{label} (low end)" if at_low_end else label
        for label, at_low_end in zip(traits.labels, low, strict=True)
    ]


def _made_by(traits: Traits) -> list[str]:
    makers = [""] * traits.n_traits
    # One cell or row is looked for behind principal components, which a rotation mixes.
    if traits.model.method == "pca" and traits.model.rotation == "none":
        for one in traits.dominance:
            makers[one.component] = "one cell" if one.kind == "cell" else "one adapter"
    return makers

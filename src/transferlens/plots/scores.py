"""Trait scores: how much of each trait an adapter has."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from transferlens.plots.heat import Order, draw_table, similar_order
from transferlens.plots.trait_data import trait_table
from transferlens.traits import Traits
from transferlens.traits.stability import FAIR

__all__ = ["plot_trait_scores"]


@overload
def plot_trait_scores(
    traits: Traits,
    *,
    order: Order = ...,
    title: str | None = ...,
    backend: Literal["matplotlib"] = ...,
) -> Figure: ...
@overload
def plot_trait_scores(
    traits: Traits,
    *,
    order: Order = ...,
    title: str | None = ...,
    backend: Literal["none"],
) -> xr.Dataset: ...
def plot_trait_scores(
    traits: Traits,
    *,
    order: Order = "similar",
    title: str | None = None,
    backend: Literal["matplotlib", "none"] = "matplotlib",
) -> Figure | xr.Dataset:
    """Draw the trait scores of the adapters.

    A box marks an adapter on which a trait hangs: without it the most similar trait has a
    congruence below .85.

    Parameters
    ----------
    traits
        See `transferlens.traits.decompose_traits`.
    order
        ``"similar"`` puts adapters with like scores side by side, ``"study"`` keeps the order.
    title
        Line above the table.
    backend
        ``"none"`` returns a dataset instead: ``value``, ``left_out_congruence`` and ``boxed``
        over (source, trait).
    """
    scores, without = traits.decomposition.scores, traits.left_out.congruence
    shape = ("source", "trait")
    data = trait_table(traits).assign(
        value=(shape, scores),
        mark=(shape, np.zeros(scores.shape, dtype=np.int64)),
        left_out_congruence=(shape, without),
        boxed=(shape, without < FAIR),
    )
    data = data.assign_coords(source=list(traits.sources)).isel(source=similar_order(scores, order))
    if backend == "none":
        return data
    own_unit = traits.model.method in {"nmf", "sparse"}
    return draw_table(
        data,
        rows=[str(name) for name in data["source"].to_numpy()],
        title=title or "Trait scores of the adapters",
        unit=f"numbers: trait score{'' if own_unit else ' in SD over the adapters'}",
        notes=[
            "boxed: without this adapter the trait is another one (φ < .85)",
            "above: share of variance, and congruence φ of resampled traits (grey: < .85)",
        ],
    )

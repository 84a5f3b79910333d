"""Loadings: what each trait does to each task, marked where the sign is sure."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from transferlens.plots.heat import Order, draw_table, similar_order
from transferlens.plots.trait_data import known_intervals, trait_table
from transferlens.traits import Traits

__all__ = ["plot_loadings"]


@overload
def plot_loadings(
    traits: Traits,
    *,
    order: Order = ...,
    title: str | None = ...,
    backend: Literal["matplotlib"] = ...,
) -> Figure: ...
@overload
def plot_loadings(
    traits: Traits,
    *,
    order: Order = ...,
    title: str | None = ...,
    backend: Literal["none"],
) -> xr.Dataset: ...
def plot_loadings(
    traits: Traits,
    *,
    order: Order = "similar",
    title: str | None = None,
    backend: Literal["matplotlib", "none"] = "matplotlib",
) -> Figure | xr.Dataset:
    """Draw what a standard deviation of each trait does to each task.

    Above each trait: the share of variance that it explains, and its least median congruence φ
    over the bootstraps; a trait below .85 has a grey head and should not be read.

    Parameters
    ----------
    traits
        See `transferlens.traits.decompose_traits`.
    order
        ``"similar"`` puts tasks with like loadings side by side, ``"study"`` keeps the order.
    title
        Line above the table.
    backend
        ``"none"`` returns a dataset instead: ``value`` (target, trait), ``low_over_…`` and
        ``high_over_…`` of each interval, and ``mark``: 2 if all known intervals exclude 0, 1 if
        one of two does, else 0.
    """
    data = _loading_data(traits, order)
    if backend == "none":
        return data
    rows = [
        f"{target} · {family}" if family else str(target)
        for target, family in zip(data["target"].to_numpy(), data["family"].to_numpy(), strict=True)
    ]
    return draw_table(
        data,
        rows=rows,
        title=title or "Loadings of the tasks",
        unit=_unit(data),
        notes=_notes(data),
    )


def _loading_data(traits: Traits, order: Order) -> xr.Dataset:
    stabilities = known_intervals(traits)
    shape = ("target", "trait")
    count = np.sum([one.significant for one in stabilities], axis=0)
    data = trait_table(traits).assign(
        value=(shape, traits.decomposition.loadings),
        mark=(shape, np.where(count == len(stabilities), 2, count)),
        boxed=(shape, np.zeros(count.shape, dtype=np.bool_)),
        communality=("target", traits.decomposition.communalities),
    )
    for one in stabilities:
        data[f"low_over_{one.kind}"] = (shape, one.low)
        data[f"high_over_{one.kind}"] = (shape, one.high)
    data = data.assign_coords(
        target=list(traits.targets), family=("target", [name or "" for name in traits.families])
    )
    data.attrs["intervals"] = [one.kind for one in stabilities]
    data.attrs["level"] = stabilities[0].level
    return data.isel(target=similar_order(traits.decomposition.loadings, order))


def _unit(data: xr.Dataset) -> str:
    if data.attrs["method"] in {"nmf", "sparse"}:
        return "numbers: the basis of the method"
    scaled = "in SD of the task" if data.attrs["standardised"] else "in the unit of the matrix"
    return f"numbers: change per SD of the trait, {scaled}"


def _notes(data: xr.Dataset) -> list[str]:
    kinds, level = data.attrs["intervals"], f"{data.attrs['level']:.0%} interval"
    if len(kinds) == 1:
        marks = [f"● {level} over {kinds[0]} excludes 0"]
    else:
        marks = [
            f"● {level}s over {' and over '.join(kinds)} exclude 0",
            "○ only one of them does",
        ]
    return [*marks, "above: share of variance, and congruence φ of resampled traits (grey: < .85)"]

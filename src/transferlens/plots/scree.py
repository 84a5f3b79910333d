"""How many traits: the scree beside what chance gives, and the error of hidden cells."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from transferlens.plots.figure import new_figure
from transferlens.plots.heat import HIGH, LOW, footnote
from transferlens.traits import NumberOfTraits, Traits

__all__ = ["plot_scree"]

# Beyond these a scree is a flat tail.
_SHOWN = 20


@overload
def plot_scree(
    number: Traits | NumberOfTraits,
    *,
    title: str | None = ...,
    backend: Literal["matplotlib"] = ...,
) -> Figure: ...
@overload
def plot_scree(
    number: Traits | NumberOfTraits, *, title: str | None = ..., backend: Literal["none"]
) -> xr.Dataset: ...
def plot_scree(
    number: Traits | NumberOfTraits,
    *,
    title: str | None = None,
    backend: Literal["matplotlib", "none"] = "matplotlib",
) -> Figure | xr.Dataset:
    """Draw the two rules that choose the number of traits.

    Left: the share of variance of each component above the band that unrelated columns give
    (parallel analysis). Right: the error of predicting hidden cells with so many components
    (cross-validation).

    Parameters
    ----------
    number
        Traits, or what the rules said about a matrix.
    title
        Line above the picture.
    backend
        ``"none"`` returns a dataset instead: ``explained``, ``eigenvalue`` and ``threshold`` over
        component; ``rmse`` over n_components (0, 1, …); attributes ``parallel``,
        ``cross_validation`` and ``chosen``.
    """
    rules = number.number if isinstance(number, Traits) else number
    chosen = number.n_traits if isinstance(number, Traits) else rules.n_components
    data = _scree_data(rules, chosen)
    if backend == "none":
        return data
    figure = new_figure(8.2, 3.7)
    left, right = figure.subplots(1, 2)
    _draw_scree(left, data)
    _draw_error(right, data)
    figure.suptitle(title or f"How many traits? {chosen} kept", fontsize=11, x=0.01, ha="left")
    footnote(figure, list(rules.words))
    return figure


def _scree_data(rules: NumberOfTraits, chosen: int) -> xr.Dataset:
    eigenvalues = rules.parallel.eigenvalues
    rmse = rules.cross_validation.rmse
    return xr.Dataset(
        {
            "eigenvalue": ("component", eigenvalues),
            "threshold": ("component", rules.parallel.threshold),
            "explained": ("component", rules.explained),
            "rmse": ("n_components", rmse),
        },
        coords={
            "component": np.arange(1, len(eigenvalues) + 1),
            "n_components": np.arange(len(rmse)),
        },
        attrs={
            "parallel": rules.parallel.n_components,
            "cross_validation": rules.cross_validation.n_components,
            "chosen": chosen,
            "quantile": rules.parallel.quantile,
        },
    )


def _draw_scree(axes: Axes, data: xr.Dataset) -> None:
    part = data.isel(component=slice(_SHOWN))
    total = float(data["eigenvalue"].sum()) or 1.0
    at = part["component"].to_numpy()
    share = 100 * part["eigenvalue"].to_numpy() / total
    chance = 100 * part["threshold"].to_numpy() / total
    label = f"chance: {data.attrs['quantile']:.0%} of permuted matrices"
    axes.fill_between(at, 0, chance, color="0.85", linewidth=0, label=label)
    axes.plot(at, chance, color="0.45", linewidth=1, linestyle="--")
    axes.plot(at, share, color=HIGH, linewidth=1)
    kept = at <= data.attrs["parallel"]
    axes.plot(at[kept], share[kept], "o", color=HIGH, label="beyond chance")
    axes.plot(at[~kept], share[~kept], "o", color=HIGH, markerfacecolor="white", label="not kept")
    axes.set_title(f"parallel analysis: {data.attrs['parallel']}", fontsize=9)
    axes.set_xlabel("component")
    axes.set_ylabel("share of variance, %")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, frameon=False)
    _tidy(axes)


def _draw_error(axes: Axes, data: xr.Dataset) -> None:
    at, rmse = data["n_components"].to_numpy(), data["rmse"].to_numpy()
    best = data.attrs["cross_validation"]
    axes.plot(at, rmse, "o-", color=LOW, linewidth=1, markerfacecolor="white")
    axes.plot(at[best], rmse[best], "o", color=LOW, label="least error")
    axes.set_title(f"cross-validation: {best}", fontsize=9)
    axes.set_xlabel("number of components")
    axes.set_ylabel("error of hidden cells (RMSE)")
    axes.legend(fontsize=7, frameon=False)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)

"""Groups of alike tasks or adapters as a tree, with the support of each branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, overload

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from transferlens.errors import AnalysisError
from transferlens.plots.figure import new_figure
from transferlens.plots.heat import HIGH, LOW, footnote
from transferlens.traits import Clusters

__all__ = ["plot_dendrogram"]

_OUTSIDE = "0.45"
_FIRM = 0.7


@overload
def plot_dendrogram(
    clusters: Clusters,
    *,
    names: Sequence[str],
    title: str | None = ...,
    unit: str = ...,
    backend: Literal["matplotlib"] = ...,
) -> Figure: ...
@overload
def plot_dendrogram(
    clusters: Clusters,
    *,
    names: Sequence[str],
    title: str | None = ...,
    unit: str = ...,
    backend: Literal["none"],
) -> xr.Dataset: ...
def plot_dendrogram(
    clusters: Clusters,
    *,
    names: Sequence[str],
    title: str | None = None,
    unit: str = "distance",
    backend: Literal["matplotlib", "none"] = "matplotlib",
) -> Figure | xr.Dataset:
    """Draw the tree of a clustering with the bootstrap support of its branches.

    A number is the percentage of resamples in which exactly the names to its right form a group;
    a filled dot stands for at least 70. Clusters of the best cut have the two colours in turn.

    Parameters
    ----------
    clusters
        See `transferlens.traits.cluster`.
    names
        Name of each row that was clustered, in the order of the rows.
    title
        Line above the tree.
    unit
        Label of the distances.
    backend
        ``"none"`` returns a dataset instead: ``height``, ``support``, ``position`` and
        ``cluster`` (-1: above the cut) over node, ``children`` (node, child), where a child below
        the number of leaves is a leaf; ``leaf_cluster`` over leaf, which are in the order of the
        picture.

    Raises
    ------
    AnalysisError
        There are more or fewer names than rows.
    """
    if len(names) != len(clusters.labels):
        msg = f"{len(names)} names for {len(clusters.labels)} rows; give one for each row"
        raise AnalysisError(msg)
    data = _tree_data(clusters, names)
    if backend == "none":
        return data
    n = len(names)
    row = float(np.clip(13.0 / n, 0.13, 0.3))
    figure = new_figure(6.4 + 0.075 * max(map(len, names)), 1.7 + n * row)
    axes = figure.add_subplot()
    font = float(np.clip(row * 34, 5.5, 9.0))
    _draw_tree(axes, data, font)
    _draw_leaves(axes, data, font)
    axes.set_xlabel(unit)
    figure.suptitle(title or "Groups and their support", fontsize=11, x=0.01, ha="left")
    notes = [
        "number: % of resamples with exactly this group",
        f"filled: at least {100 * _FIRM:.0f}",
        "coloured: groups of the best cut, each in the other colour than its neighbours",
        f"silhouette {clusters.silhouette:.2f}",
    ]
    footnote(figure, notes)
    return figure


def _tree_data(clusters: Clusters, names: Sequence[str]) -> xr.Dataset:
    tree, order = clusters.seriation.tree, clusters.seriation.order
    n = len(order)
    position = np.empty(2 * n - 1)
    position[order] = np.arange(n)
    children = tree[:, :2].astype(np.int64)
    for node, pair in enumerate(children):
        position[n + node] = position[pair].mean()
    inside = [np.unique(clusters.labels[rows]) for rows in clusters.members]
    return xr.Dataset(
        {
            "height": ("node", tree[:, 2]),
            "support": ("node", clusters.support),
            "position": ("node", position[n:]),
            "cluster": ("node", [int(one[0]) if len(one) == 1 else -1 for one in inside]),
            "children": (("node", "child"), children),
            "leaf_cluster": ("leaf", clusters.labels[order]),
            "row": ("leaf", order),
        },
        coords={"node": np.arange(n, 2 * n - 1), "leaf": [names[at] for at in order]},
    )


class _Ends(NamedTuple):
    """Every leaf and node by its number: where it stands, and how high."""

    position: NDArray[np.float64]
    height: NDArray[np.float64]

    @classmethod
    def of(cls, data: xr.Dataset) -> _Ends:
        n = data.sizes["leaf"]
        leaves = np.empty(n)
        leaves[data["row"].to_numpy()] = np.arange(n)
        return cls(
            np.concatenate([leaves, data["position"].to_numpy()]),
            np.concatenate([np.zeros(n), data["height"].to_numpy()]),
        )


def _draw_tree(axes: Axes, data: xr.Dataset, font: float) -> None:
    ends, n = _Ends.of(data), data.sizes["leaf"]
    for at in range(data.sizes["node"]):
        node = data.isel(node=at)
        height, colour = float(node["height"]), _colour(int(node["cluster"]))
        first, second = node["children"].to_numpy()
        path = [(first, ends.height[first]), (first, height), (second, height)]
        path.append((second, ends.height[second]))
        axes.plot(
            [x for _, x in path],
            [ends.position[child] for child, _ in path],
            color=colour,
            linewidth=1.2,
        )
        # The root holds every row in every resample.
        if at < data.sizes["node"] - 1:
            _mark(axes, node, colour, font=font, with_number=n <= 40)
    axes.set_xlim(1.04 * float(ends.height.max()) or 1.0, 0)


def _mark(axes: Axes, node: xr.Dataset, colour: str, *, font: float, with_number: bool) -> None:
    support, place = float(node["support"]), (float(node["height"]), float(node["position"]))
    face = colour if support >= _FIRM else "white"
    axes.plot(*place, "o", markersize=4, color=colour, markerfacecolor=face, zorder=3)
    if with_number:
        axes.annotate(
            f"{100 * support:.0f}", place, (-4, 2), textcoords="offset points", ha="right",
            fontsize=max(5.5, font - 2), color="0.2",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8},
        )  # fmt: skip


def _draw_leaves(axes: Axes, data: xr.Dataset, font: float) -> None:
    n = data.sizes["leaf"]
    axes.set_ylim(n - 0.4, -0.6)
    axes.yaxis.tick_right()
    axes.set_yticks(range(n), [str(name) for name in data["leaf"].to_numpy()], fontsize=font)
    for text, label in zip(axes.get_yticklabels(), data["leaf_cluster"].to_numpy(), strict=True):
        text.set_color(_colour(int(label)))
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "left", "right"]].set_visible(False)


def _colour(cluster: int) -> str:
    if cluster < 0:
        return _OUTSIDE
    return HIGH if cluster % 2 == 0 else LOW

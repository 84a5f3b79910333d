"""Adapters and tasks in the plane of two traits."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from transferlens.errors import AnalysisError
from transferlens.plots.figure import new_figure
from transferlens.plots.heat import HIGH, LOW, footnote
from transferlens.plots.trait_data import known_intervals, trait_table
from transferlens.traits import Traits

__all__ = ["plot_biplot"]

_FINE = 300.0

# Where a label may stand beside its point, in points of type; the first that is free is taken.
_PLACES = (
    (6, -3), (-6, -3), (0, 6), (0, -11), (5, 4), (-5, 4), (5, -10), (-5, -10),
    (12, 4), (-12, 4), (12, -10), (-12, -10),
)  # fmt: skip


@overload
def plot_biplot(
    traits: Traits,
    *,
    pair: tuple[int, int] = ...,
    title: str | None = ...,
    backend: Literal["matplotlib"] = ...,
) -> Figure: ...
@overload
def plot_biplot(
    traits: Traits,
    *,
    pair: tuple[int, int] = ...,
    title: str | None = ...,
    backend: Literal["none"],
) -> xr.Dataset: ...
def plot_biplot(
    traits: Traits,
    *,
    pair: tuple[int, int] = (1, 2),
    title: str | None = None,
    backend: Literal["matplotlib", "none"] = "matplotlib",
) -> Figure | xr.Dataset:
    """Draw adapters as points (trait scores) and tasks as arrows (loadings) on two traits.

    An adapter far along an arrow does well on that task, as far as these two traits go. An arrow
    is dashed where no interval of its two loadings excludes 0. Labels that would
    overlap are left out, the shortest arrows and innermost points first, and counted.

    Parameters
    ----------
    traits
        At least two.
    pair
        Numbers of the traits on the horizontal and the vertical axis, from 1.
    title
        Line above the picture.
    backend
        ``"none"`` returns a dataset instead: ``score`` (source, axis), ``loading`` and
        ``significant`` (target, axis), and ``scale``, by which arrows were stretched.

    Raises
    ------
    AnalysisError
        There are not two traits, or not these two.
    """
    data = _biplot_data(traits, pair)
    if backend == "none":
        return data
    size = float(np.clip(5.5 + (data.sizes["source"] + data.sizes["target"]) / 20, 6.2, 11.0))
    figure = new_figure(size, 0.96 * size)
    axes = figure.add_subplot()
    spots = [*_draw_sources(axes, data), *_draw_targets(axes, data)]
    _frame(axes, data)
    figure.suptitle(title or "Adapters and tasks on two traits", fontsize=11, x=0.01, ha="left")
    notes = ["● adapters (trait scores)", "→ tasks (loadings, stretched to fit)"]
    notes.append("dashed: no interval excludes 0")
    phi = float(traits.decomposition.phi[pair[0] - 1, pair[1] - 1])
    if abs(phi) > 0.005:
        notes.append(f"the traits correlate at {phi:.2f}")
    # The space for the notes must be taken before labels can be placed.
    footnote(figure, [*notes, "labels left out for lack of room: 000"])
    # Letters have their true width only at a high resolution; a coarse one rounds it.
    screen = figure.get_dpi()
    figure.set_dpi(_FINE)
    figure.draw_without_rendering()
    # From here on nothing may move, or labels that were apart could meet.
    figure.set_layout_engine("none")
    omitted = _place(axes, spots, data)
    figure.set_dpi(screen)
    footnote(figure, [*notes, f"labels left out for lack of room: {omitted}"])
    return figure


def _biplot_data(traits: Traits, pair: tuple[int, int]) -> xr.Dataset:
    k = traits.n_traits
    if k < 2:
        msg = "a biplot needs two traits and there is one; ask for 2 components"
        raise AnalysisError(msg)
    if pair[0] == pair[1] or not all(1 <= number <= k for number in pair):
        msg = f"traits {pair[0]} and {pair[1]} are no pair; choose two different ones from 1 to {k}"
        raise AnalysisError(msg)
    at = [number - 1 for number in pair]
    score = traits.decomposition.scores[:, at]
    loading = traits.decomposition.loadings[:, at]
    longest = float(np.hypot(*loading.T).max(initial=0.0))
    farthest = float(np.abs(score).max(initial=0.0))
    sure = np.any([one.significant[:, at] for one in known_intervals(traits)], axis=0)
    return (
        trait_table(traits)
        .isel(trait=at)
        .rename(trait="axis")
        .assign(
            score=(("source", "axis"), score),
            loading=(("target", "axis"), loading),
            significant=(("target", "axis"), sure),
            scale=((), farthest / longest if longest > 0 else 1.0),
        )
        .assign_coords(source=list(traits.sources), target=list(traits.targets))
    )


Spot = tuple[float, float, str, str]
"""Where a label belongs, its text and its colour."""


def _draw_sources(axes: Axes, data: xr.Dataset) -> list[Spot]:
    score = data["score"].to_numpy()
    size = 26 if len(score) <= 40 else 12
    axes.scatter(
        score[:, 0], score[:, 1], s=size, color=LOW, edgecolor="white", linewidth=0.5, zorder=3
    )
    names = data["source"].to_numpy()
    return [(x, y, str(name), LOW) for (x, y), name in zip(score, names, strict=True)]


def _draw_targets(axes: Axes, data: xr.Dataset) -> list[Spot]:
    tips = data["loading"].to_numpy() * float(data["scale"])
    sure = data["significant"].any("axis").to_numpy()
    for tip, is_sure in zip(tips, sure, strict=True):
        style = "-" if is_sure else (0, (3, 2))
        axes.plot(*np.stack([np.zeros(2), tip]).T, color=HIGH, linewidth=1, linestyle=style)
        axes.annotate(
            "", xy=tip, xytext=tip * 0.97, annotation_clip=False,
            arrowprops={"arrowstyle": "-|>", "color": HIGH, "linewidth": 0, "shrinkB": 0},
        )  # fmt: skip
    names = data["target"].to_numpy()
    return [(x, y, str(name), HIGH) for (x, y), name in zip(tips, names, strict=True)]


def _frame(axes: Axes, data: xr.Dataset) -> None:
    tips = data["loading"].to_numpy() * float(data["scale"])
    every = np.vstack([data["score"].to_numpy(), tips])
    low, high = np.minimum(every.min(axis=0), 0), np.maximum(every.max(axis=0), 0)
    # Labels stand outside the outermost points.
    reach = 0.62 * (float((high - low).max()) or 1.0)
    middle = (low + high) / 2
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    labels = [
        f"{'' if str(name).startswith('unnamed') else f'trait {int(one)}: '}{name}"
        f" ({share:.0%} of variance)"
        for one, name, share in zip(
            data["axis"].to_numpy(), data["name"].to_numpy(), data["explained"].to_numpy(),
            strict=True,
        )
    ]  # fmt: skip
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)


def _place(axes: Axes, spots: list[Spot], data: xr.Dataset) -> int:
    """Write labels from the outside in, where there is room; return how many had none."""
    order = sorted(range(len(spots)), key=lambda at: (-np.hypot(*spots[at][:2]), at))
    taken = _obstacles(axes, data)
    frame = np.array(axes.get_window_extent().extents)
    size = float(np.clip(160 / len(spots), 6.0, 8.0))
    omitted = 0
    for at in order:
        x, y, name, colour = spots[at]
        for dx, dy in _PLACES:
            text = axes.annotate(
                name, (x, y), (dx, dy), textcoords="offset points", color=colour, fontsize=size,
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
            )  # fmt: skip
            # Room for the rounding of coarser files.
            box = np.array(text.get_window_extent().expanded(1.15, 1.2).extents)
            if _is_free(box, taken, frame):
                taken = np.vstack([taken, box])
                break
            text.remove()
        else:
            omitted += 1
    return omitted


def _obstacles(axes: Axes, data: xr.Dataset) -> NDArray[np.float64]:
    """Return boxes (left, bottom, right, top) in pixels: the points, and steps along arrows."""
    tips = data["loading"].to_numpy() * float(data["scale"])
    steps = np.linspace(0, 1, 40)[:, None, None] * tips
    every = np.vstack([data["score"].to_numpy(), steps.reshape(-1, 2)])
    pixels = axes.transData.transform(every)
    half = 1.5 * axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    return np.hstack([pixels - half, pixels + half])


def _is_free(
    box: NDArray[np.float64], taken: NDArray[np.float64], frame: NDArray[np.float64]
) -> bool:
    inside = (box[:2] >= frame[:2]).all() and (box[2:] <= frame[2:]).all()
    overlap = ((box[:2] < taken[:, 2:]) & (box[2:] > taken[:, :2])).all(axis=1)
    return bool(inside) and not bool(overlap.any())

"""The transfer matrix as a heat map, from 3 × 3 to 100 × 100."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, overload

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from transferlens.plots.figure import new_figure
from transferlens.plots.heat import DIVERGING, MINUS, MISSING, footnote, inks, label_step
from transferlens.results import TransferStudy, Values, format_value, matrix_values
from transferlens.transfer import TransferMatrix

__all__ = ["plot_matrix"]

_SCORE = "cividis"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Sizes in inches and points that keep a matrix of a shape readable."""

    cell: float
    font: float
    annotate: bool
    step: int

    @classmethod
    def of(cls, rows: int, columns: int) -> _Layout:
        """Shrink the cells as they become many; drop first the numbers, then labels."""
        cell = float(np.clip(13.0 / max(rows, columns), 0.08, 0.62))
        font = float(np.clip(cell * 16, 4.5, 9.0))
        step = label_step(font, cell)
        return cls(cell=cell, font=font, annotate=cell >= 0.36, step=step)


@overload
def plot_matrix(
    study: TransferStudy | xr.Dataset,
    *,
    values: Values = ...,
    seed: int | None = ...,
    title: str | None = ...,
    evidence: TransferMatrix | None = ...,
    level: float = ...,
    backend: Literal["matplotlib"] = ...,
) -> Figure: ...
@overload
def plot_matrix(
    study: TransferStudy | xr.Dataset,
    *,
    values: Values = ...,
    seed: int | None = ...,
    title: str | None = ...,
    evidence: TransferMatrix | None = ...,
    level: float = ...,
    backend: Literal["none"],
) -> xr.Dataset: ...
def plot_matrix(
    study: TransferStudy | xr.Dataset,
    *,
    values: Values = "gain",
    seed: int | None = None,
    title: str | None = None,
    evidence: TransferMatrix | None = None,
    level: float = 0.05,
    backend: Literal["matplotlib", "none"] = "matplotlib",
) -> Figure | xr.Dataset:
    """Draw what each source (row) does to each target (column).

    Gains are centred on 0 in a palette that the colour-blind can read, and
    carry their sign; the score of the base stands above them. The colours
    reach as far as the other tasks do, so that a large gain on an adapter's
    own task, which is outlined, does not hide them. Grey: no result. A target
    that is not measured in points is printed but not coloured.

    Parameters
    ----------
    study
        A study, or a dataset as its ``scores`` are.
    values, seed
        See `matrix_values`.
    title
        Line above the matrix.
    evidence
        The study's transfer matrix: significant cells get a star, or a dot where
        numbers do not fit.
    level
        Adjusted p-value up to which a cell is significant.
    backend
        ``"none"`` returns the numbers (see `matrix_values`; with evidence also
        ``significant``) instead of a figure.

    Raises
    ------
    AnalysisError
        The seed is not one of the study's, or there is nothing to show.
    """
    data = matrix_values(study, values=values, seed=seed)
    if evidence is not None:
        starred = evidence.significant(level).transpose("source", "target")
        data["significant"] = (("source", "target"), starred.to_numpy())
    if backend == "none":
        return data
    rows, columns = data.sizes["source"], data.sizes["target"]
    layout = _Layout.of(rows + 1, columns)
    figure = new_figure(3.0 + columns * layout.cell, 2.0 + (rows + 1) * layout.cell)
    # Gains of the base do not exist; its scores are worth a row only where they can be read.
    with_base = values == "score" or layout.annotate
    heights = (1 if values == "score" else 0.5, rows)
    grid = figure.add_gridspec(2, 1, height_ratios=heights) if with_base else None
    main = figure.add_subplot(grid[1] if grid else 111)
    top = figure.add_subplot(grid[0]) if grid else main
    if with_base:
        _draw_base(top, data, layout)
    image = _draw_cells(main, data, layout)
    label = "gain over the base, points" if values == "gain" else "score, points"
    bar = figure.colorbar(image, ax=main, label=label, extend=_extend(image), aspect=30)
    bar.ax.tick_params(labelsize=max(layout.font, 7))
    top.set_title(title or _title(data), fontsize=11, loc="left")
    footnote(figure, _notes(data, level))
    return figure


def _draw_base(axes: Axes, data: xr.Dataset, layout: _Layout) -> None:
    """Draw the scores of the base as a row of its own: they are no gains."""
    base = data["base"].to_numpy()[np.newaxis]
    if data.attrs["values"] == "score":
        image = _heat(axes, base, data, _norm(data))
        colours = inks(image, base)
    else:
        axes.imshow(np.ones_like(base), cmap="gray", vmin=0, vmax=1, aspect="auto")
        colours = np.full(base.shape, "black")
    if layout.annotate:
        _write(axes, base, colours, layout=layout, signed=False)
    _label(axes, ["base (score)" if data.attrs["values"] == "gain" else "base"], [], layout)


def _draw_cells(axes: Axes, data: xr.Dataset, layout: _Layout) -> AxesImage:
    value = data["value"].to_numpy()
    image = _heat(axes, value, data, _norm(data))
    if layout.annotate:
        colours = inks(image, value)
        colours[:, _uncoloured(data)] = "black"
        signed = data.attrs["values"] == "gain"
        _write(axes, value, colours, layout=layout, signed=signed, starred=_significant(data))
    else:
        places = np.argwhere(_significant(data))
        axes.scatter(places[:, 1], places[:, 0], s=layout.font / 2, c="black", linewidths=0)
    for row, column in np.argwhere(data["own"].to_numpy()):
        corner = (column - 0.5, row - 0.5)
        width = 1.6 if layout.annotate else 0.7
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=width))
    names = [
        name if better else f"{name} (lower is better)"
        for name, better in zip(
            data["target"].to_numpy(), data["higher_is_better"].to_numpy(), strict=True
        )
    ]
    _label(axes, list(data["source"].to_numpy()), names, layout)
    axes.set_ylabel("trained on")
    axes.set_xlabel("evaluated on")
    return image


def _heat(axes: Axes, value: NDArray[np.float64], data: xr.Dataset, norm: Normalize) -> AxesImage:
    shown = np.where(_uncoloured(data), np.nan, value)
    return axes.imshow(
        np.ma.masked_invalid(shown), cmap=_palette(data), norm=norm, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip


def _palette(data: xr.Dataset) -> Colormap:
    name = DIVERGING if data.attrs["values"] == "gain" else _SCORE
    return mpl.colormaps[name].with_extremes(bad=MISSING)


def _norm(data: xr.Dataset) -> Normalize:
    value = data["value"].to_numpy()[:, ~_uncoloured(data)]
    own = data["own"].to_numpy()[:, ~_uncoloured(data)]
    others = value[~own & np.isfinite(value)]
    reach = others if others.size else value[np.isfinite(value)]
    if data.attrs["values"] == "score":
        return Normalize(vmin=0, vmax=100)
    # A matrix without any effect is drawn pale, not in full colour.
    limit = max(1.0, float(np.abs(reach).max(initial=0.0)))
    return TwoSlopeNorm(vcenter=0.0, vmin=-limit, vmax=limit)


def _extend(image: AxesImage) -> Literal["neither", "both", "min", "max"]:
    shown = image.get_array()
    array = np.ma.masked_invalid(shown).compressed() if shown is not None else np.empty(0)
    below = bool((array < (image.norm.vmin or 0.0)).any())
    beyond = bool((array > (image.norm.vmax or 0.0)).any())
    if below and beyond:
        return "both"
    return "min" if below else "max" if beyond else "neither"


def _uncoloured(data: xr.Dataset) -> NDArray[np.bool_]:
    """Targets in another unit: their colours could not be compared."""
    other: NDArray[np.bool_] = (data["unit"] != "points").to_numpy()
    return other


def _write(
    axes: Axes,
    value: NDArray[np.float64],
    colours: NDArray[np.str_],
    *,
    layout: _Layout,
    signed: bool,
    starred: NDArray[np.bool_] | None = None,
) -> None:
    """Write each number in its colour."""
    for (row, column), number in np.ndenumerate(value):
        if np.isfinite(number):
            text = format_value(number, signed=signed).replace("-", MINUS)
            text += "*" if starred is not None and starred[row, column] else ""
            axes.text(
                column, row, text,
                ha="center", va="center", fontsize=layout.font,
                color=str(colours[row, column]),
            )  # fmt: skip


def _label(axes: Axes, rows: list[str], columns: list[str], layout: _Layout) -> None:
    step, crowded = layout.step, len(columns) > 20
    axes.set_yticks(range(0, len(rows), step), rows[::step], fontsize=layout.font)
    axes.set_xticks(range(0, len(columns), step), columns[::step], fontsize=layout.font)
    for text in axes.get_xticklabels():
        text.set_rotation(90 if crowded else 40)
        text.set_horizontalalignment("center" if crowded else "right")
        text.set_rotation_mode("default" if crowded else "anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _title(data: xr.Dataset) -> str:
    what = "Gain over the base" if data.attrs["values"] == "gain" else "Score"
    return f"{what} of each adapter on each task"


def _significant(data: xr.Dataset) -> NDArray[np.bool_]:
    """Cells to mark; none without evidence."""
    if "significant" not in data:
        return np.zeros(data["value"].shape, dtype=np.bool_)
    marked: NDArray[np.bool_] = data["significant"].to_numpy()
    return marked


def _notes(data: xr.Dataset, level: float) -> list[str]:
    seeds = data.attrs["seeds"]
    spread = (
        "one seed: the variance of training is unknown"
        if len(seeds) == 1
        else f"mean of {len(seeds)} seeds"
    )
    unscored = int(data["n_unscored"].sum() + data["base_n_unscored"].sum())
    parts = ["outlined: own task", spread]
    if "significant" in data:
        mark = "*" if _Layout.of(data.sizes["source"] + 1, data.sizes["target"]).annotate else "dot"
        parts.append(f"{mark}: differs from the base, adjusted p ≤ {level:g}")
    if data["value"].isnull().any():
        parts.append("grey: no result")
    if unscored:
        parts.append(f"{unscored} examples unscored")
    return parts

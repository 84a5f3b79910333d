"""A table of traits as a heat map: rows are tasks or adapters, columns are traits."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from transferlens.plots.figure import new_figure
from transferlens.traits import seriate
from transferlens.traits.stability import FAIR

__all__ = [
    "DIVERGING",
    "HIGH",
    "LOW",
    "MARKS",
    "MINUS",
    "MISSING",
    "Order",
    "draw_table",
    "footnote",
    "inks",
    "label_step",
    "similar_order",
]

Order = Literal["similar", "study"]
"""Rows so that alike ones are neighbours, or as the study has them."""

# The diverging palette whose two ends stay farthest apart under colour blindness.
DIVERGING = "PuOr"
MISSING = "0.88"
HIGH, LOW = "#542788", "#b35806"
"""The palette's two ends: above and below 0."""

MARKS = {2: "●", 1: "○", 0: ""}
"""All known intervals exclude 0; one of several does; none does."""

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Sizes in inches and points that keep a table of a shape readable."""

    width: float
    height: float
    font: float
    annotate: bool
    step: int

    @classmethod
    def of(cls, rows: int, columns: int) -> _Layout:
        """Make cells narrower as traits become many, lower as rows become many."""
        width = float(np.clip(9.0 / columns, 0.12, 1.15))
        height = float(np.clip(13.0 / rows, 0.13, 0.34))
        font = float(np.clip(height * 27, 5.5, 9.0))
        step = label_step(font, height)
        return cls(width=width, height=height, font=font, annotate=width >= 0.55, step=step)


def label_step(font: float, height: float) -> int:
    """Return every how many rows of a height in inches a label of a font in points fits."""
    # A label needs its own height; 72 points are an inch.
    return max(1, int(np.ceil(font * 1.05 / (height * 72))))


def inks(image: AxesImage, value: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return black or white for each number, whichever is easier to read on its cell."""
    colours = np.asarray(image.cmap(image.norm(np.ma.masked_invalid(value))))
    luminance = colours[..., :3] @ np.array([0.299, 0.587, 0.114])
    return np.where(luminance > 0.5, "black", "white")


def similar_order(values: NDArray[np.float64], order: Order) -> NDArray[np.int64]:
    """Return row indices: as given, or so that rows with like values are neighbours."""
    if order == "study" or len(values) < 3:
        return np.arange(len(values))
    return seriate(values).order


def draw_table(
    data: xr.Dataset, *, rows: list[str], title: str, unit: str, notes: list[str]
) -> Figure:
    """Draw ``value`` (row, trait) with its marks, boxes and the traits' heads.

    Parameters
    ----------
    data
        ``value``, ``mark`` (0 to 2) and ``boxed`` over (row, trait); ``explained``,
        ``congruence`` and the coordinate ``name`` over trait.
    rows
        Label of each row.
    title
        Line above the table.
    unit, notes
        What the numbers are, and what else a reader must know; below the table.
    """
    value = data["value"].to_numpy()
    layout = _Layout.of(*value.shape)
    names = max(map(len, rows)) * layout.font * 0.6 / 72
    figure = new_figure(
        names + 1.6 + value.shape[1] * layout.width, 1.9 + len(rows) * layout.height
    )
    axes = figure.add_subplot()
    limit = float(np.nanmax(np.abs(value), initial=0.0)) or 1.0
    image = axes.imshow(
        np.ma.masked_invalid(value),
        cmap=mpl.colormaps[DIVERGING].with_extremes(bad=MISSING),
        norm=TwoSlopeNorm(vcenter=0.0, vmin=-limit, vmax=limit),
        aspect="auto",
        interpolation="nearest",
    )
    _write(axes, image, data, layout)
    for row, column in np.argwhere(data["boxed"].to_numpy()):
        _box(axes, row, column)
    _label(axes, data, rows, layout)
    bar = figure.colorbar(image, ax=axes, aspect=30)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    footnote(figure, [unit, *notes])
    return figure


def _box(axes: Axes, row: int, column: int) -> None:
    # White under black, so that the line shows on dark cells as on pale ones.
    for colour, width in (("white", 2.6), ("black", 1.1)):
        corner = (column - 0.47, row - 0.43)
        axes.add_patch(Rectangle(corner, 0.94, 0.86, fill=False, edgecolor=colour, linewidth=width))


def _write(axes: Axes, image: AxesImage, data: xr.Dataset, layout: _Layout) -> None:
    """Write numbers and marks, or where there is no room only marks."""
    value, mark = data["value"].to_numpy(), data["mark"].to_numpy()
    digits = _digits(value)
    colours = inks(image, value)
    for (row, column), number in np.ndenumerate(value):
        parts = [_number(number, digits)] if layout.annotate and np.isfinite(number) else []
        text = " ".join([*parts, MARKS[int(mark[row, column])]]).strip()
        if text:
            axes.text(
                column, row, text,
                ha="center", va="center", fontsize=layout.font,
                color=str(colours[row, column]),
            )  # fmt: skip


def _digits(value: NDArray[np.float64]) -> int:
    """Return how many decimals show two figures of the largest value."""
    largest = float(np.nanmax(np.abs(value), initial=0.0))
    return (
        1 if largest >= 10 or largest == 0 else int(np.clip(1 - np.floor(np.log10(largest)), 2, 4))
    )


def _number(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text[1:] if not text.strip("+-0.") else text.replace("-", MINUS)


def _label(axes: Axes, data: xr.Dataset, rows: list[str], layout: _Layout) -> None:
    # Before the labels are coloured: at the other side there are other labels.
    axes.xaxis.tick_top()
    step = layout.step
    axes.set_yticks(range(0, len(rows), step), rows[::step], fontsize=layout.font)
    # At this width a line of the head holds about so many letters.
    letters = max(8, int(layout.width * 72 / (8 * 0.55)))
    heads = [
        _head(data.isel(trait=at), letters, full=layout.annotate)
        for at in range(data.sizes["trait"])
    ]
    gap = 1 if layout.width >= 0.2 else 2
    axes.set_xticks(range(0, len(heads), gap), heads[::gap], fontsize=8)
    for text, phi in zip(axes.get_xticklabels(), data["congruence"].to_numpy()[::gap], strict=True):
        if phi < FAIR:
            text.set_color("0.55")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _head(trait: xr.Dataset, letters: int, *, full: bool) -> str:
    if not full:
        return str(int(trait["trait"]))
    # The two words belong together.
    label = str(trait["name"].item()).replace("(low end)", "(low\N{NO-BREAK SPACE}end)")
    name = textwrap.fill(label, letters)
    maker = str(trait["made_by"].item())
    numbers = f"{float(trait['explained']):.0%}, φ {float(trait['congruence']):.2f}"
    return "\n".join([name, numbers, *([f"made by {maker}!"] if maker else [])])


def footnote(figure: Figure, notes: list[str]) -> None:
    """Write what a reader must know below the picture, folded to its width."""
    # At this size an inch holds about 17 letters.
    note = textwrap.fill("; ".join(notes), max(30, int(17 * figure.get_figwidth())))
    figure.supxlabel(note, fontsize=7, color="0.35")

"""``transferlens plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from transferlens.cli.options import Folder, Seed, ValuesOption
from transferlens.cli.traits import TraitPicture, trait_picture
from transferlens.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

_Picture = Literal[
    "matrix", "loadings", "scores", "scree", "biplot", "dendrogram", "source-dendrogram"
]


def plot(
    folder: Folder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Picture: .png, .svg or .pdf.", show_default="DIR/WHAT.png"
        ),
    ] = None,
    what: Annotated[
        _Picture,
        typer.Option(help="The transfer matrix, or one of the pictures of its traits."),
    ] = "matrix",
    values: ValuesOption = "gain",
    seed: Seed = None,
) -> None:
    """Draw the transfer matrix as a heat map, or the traits behind it.

    `transferlens traits --plot` draws traits with options of your own.
    """
    from transferlens.plots import write_figure

    figure = _matrix(folder, values, seed) if what == "matrix" else _traits(folder, what, seed)
    typer.echo(write_figure(figure, output or folder / f"{what}.png"))


def _matrix(folder: Path, values: Literal["gain", "score"], seed: int | None) -> Figure:
    from transferlens.plots import plot_matrix
    from transferlens.results import open_study
    from transferlens.transfer import transfer_matrix

    study = open_study(folder)
    # One seed alone has no evidence of its own, and without a base there is no gain to test.
    testable = seed is None and bool(study.scores["base_score"].notnull().any())
    evidence = transfer_matrix(study) if testable else None
    return plot_matrix(study, values=values, seed=seed, evidence=evidence)


def _traits(folder: Path, what: TraitPicture, seed: int | None) -> Figure:
    import numpy as np

    from transferlens.results import open_study
    from transferlens.traits import decompose_traits

    if seed is not None:
        msg = f"--seed shows one seed of the matrix; a picture of {what} is over all of them"
        raise AnalysisError(msg)
    return trait_picture(decompose_traits(open_study(folder), rng=np.random.default_rng(0)), what)

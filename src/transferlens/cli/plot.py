"""``transferlens plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferlens.cli.options import Folder, Seed, ValuesOption

__all__ = ["plot"]


def plot(
    folder: Folder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Picture: .png, .svg or .pdf.", show_default="DIR/matrix.png"
        ),
    ] = None,
    values: ValuesOption = "gain",
    seed: Seed = None,
) -> None:
    """Draw the transfer matrix as a heat map."""
    from transferlens.plots import plot_matrix, write_figure
    from transferlens.results import open_study

    figure = plot_matrix(open_study(folder), values=values, seed=seed)
    typer.echo(write_figure(figure, output or folder / "matrix.png"))

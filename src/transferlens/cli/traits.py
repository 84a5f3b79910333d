"""``transferlens traits``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from transferlens.cli.options import Folder
from transferlens.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from transferlens.traits import Traits

__all__ = ["TraitPicture", "trait_picture", "traits"]

TraitPicture = Literal["loadings", "scores", "scree", "biplot", "dendrogram", "source-dendrogram"]

_PAPER_TRAITS = 4

_Method = Annotated[
    Literal["pca", "minres", "ml", "nmf", "sparse"] | None,
    typer.Option(help="How to decompose.", show_default="pca"),
]
_Components = Annotated[
    int | None,
    typer.Option(min=1, help="Number of traits.", show_default="what the rules find"),
]
_Rotation = Annotated[
    Literal["none", "varimax", "promax", "oblimin"] | None,
    typer.Option(help="How to rotate.", show_default="none"),
]
_Transform = Annotated[
    Literal["raw", "gain", "normalized_gain", "z", "logit"] | None,
    typer.Option(help="What is decomposed; z: each task has the same say.", show_default="raw"),
]
_BaseRow = Annotated[
    bool | None,
    typer.Option("--base-row/--no-base-row", help="Is the base a row too?", show_default="no"),
]
_Paper = Annotated[
    bool, typer.Option("--paper", help="As arXiv:2509.13624: PCA, base row, 4 traits; U and V.")
]
_Names = Annotated[
    list[str] | None,
    typer.Option(metavar="NUMBER=NAME", help="Your name for a trait; may be repeated."),
]
_Bootstrap = Annotated[
    int | None,
    typer.Option(min=2, help="Number of resamples.", show_default="1000; 200 if not PCA"),
]
_Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]
_Format = Annotated[Literal["table", "json", "csv"], typer.Option(help="How to print it.")]
_Plot = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw a picture: .png, .svg or .pdf.")
]
_What = Annotated[TraitPicture, typer.Option(help="What the picture shows.")]


def traits(
    folder: Folder,
    *,
    method: _Method = None,
    components: _Components = None,
    rotation: _Rotation = None,
    transform: _Transform = None,
    base_row: _BaseRow = None,
    paper: _Paper = False,
    name: _Names = None,
    bootstrap: _Bootstrap = None,
    seed: _Seed = 0,
    format: _Format = "table",  # noqa: A002 - the name of the option
    plot: _Plot = None,
    what: _What = "loadings",
) -> None:
    """Print the latent traits of a study: how many, what they are, whether to believe them.

    CSV has the loadings with their intervals; JSON has everything.
    """
    import numpy as np

    from transferlens.cli import trait_output
    from transferlens.results import open_study
    from transferlens.traits import decompose_traits

    if paper:
        _refuse_beside_paper(
            {"--method": method, "--rotation": rotation, "--transform": transform}, base_row
        )
    found = decompose_traits(
        open_study(folder),
        rng=np.random.default_rng(seed),
        transform=transform or "raw",
        include_base=paper or bool(base_row),
        method=method or "pca",
        n_components=components or (_PAPER_TRAITS if paper else "auto"),
        rotation=rotation or "none",
        n_resamples=bootstrap,
        names=_parse_names(name or []),
    )
    if format == "table":
        trait_output.print_tables(found, paper=paper)
    elif format == "json":
        typer.echo(trait_output.as_json(found))
    else:
        sys.stdout.write(found.to_frame().write_csv())
    if plot is not None:
        from transferlens.plots import write_figure

        # On stderr: what is printed may go into a file.
        typer.echo(write_figure(trait_picture(found, what), plot), err=True)


def trait_picture(found: Traits, what: TraitPicture) -> Figure:
    """Draw one of the pictures of traits."""
    from transferlens import plots

    if what == "dendrogram":
        return plots.plot_dendrogram(
            found.target_clusters,
            names=found.targets,
            title="Groups of tasks and their support",
            unit="distance between standardised tasks",
        )
    if what == "source-dendrogram":
        return plots.plot_dendrogram(
            found.source_clusters,
            names=found.sources,
            title="Groups of adapters and their support",
            unit="distance in the unit of the matrix",
        )
    if what == "loadings":
        return plots.plot_loadings(found)
    if what == "scores":
        return plots.plot_trait_scores(found)
    return plots.plot_scree(found) if what == "scree" else plots.plot_biplot(found)


def _refuse_beside_paper(given: dict[str, str | None], base_row: bool | None) -> None:
    beside = [option for option, value in given.items() if value is not None]
    if base_row is False:
        beside.append("--no-base-row")
    if beside:
        msg = f"--paper decides what {beside[0]} asks for; give one of the two"
        raise AnalysisError(msg)


def _parse_names(texts: list[str]) -> dict[int, str]:
    names = {}
    for text in texts:
        number, _, name = text.partition("=")
        if not (number.strip().isdecimal() and name.strip()):
            msg = f"--name {text!r} is no NUMBER=NAME, such as 1=arithmetic"
            raise AnalysisError(msg)
        names[int(number)] = name.strip()
    return names

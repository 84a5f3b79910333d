"""Static pictures for papers, as SVG and as PDF with embedded fonts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from transferlens.plots import (
    plot_biplot,
    plot_dendrogram,
    plot_loadings,
    plot_matrix,
    plot_scree,
    plot_trait_scores,
    write_figure,
)
from transferlens.report.analysis import Analyses
from transferlens.report.claim import Lacking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_figures"]


def write_figures(found: Analyses, folder: Path) -> tuple[Path, ...]:
    """Draw the matrix and, where there are traits, what describes them.

    Raises
    ------
    AnalysisError
        The system refuses to write.
    """
    return tuple(
        write_figure(figure, folder / f"{name}.{kind}")
        for name, figure in _figures(found)
        for kind in ("svg", "pdf")
    )


def _figures(found: Analyses) -> Iterator[tuple[str, Figure]]:
    if isinstance(found.matrix, Lacking):
        yield "matrix", plot_matrix(found.study, values="score")
    else:
        yield "matrix", plot_matrix(found.study, evidence=found.matrix, level=found.depth.level)
    if isinstance(found.traits, Lacking):
        return
    yield "scree", plot_scree(found.traits)
    yield "loadings", plot_loadings(found.traits)
    yield "trait_scores", plot_trait_scores(found.traits)
    yield (
        "dendrogram",
        plot_dendrogram(
            found.traits.target_clusters,
            names=found.traits.targets,
            title="Groups of tasks and their support",
            unit="distance between standardised tasks",
        ),
    )
    if found.traits.n_traits > 1:
        yield "biplot", plot_biplot(found.traits)

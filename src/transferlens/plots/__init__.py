"""Pictures: one function per result; ``backend="none"`` returns what would be drawn."""

from __future__ import annotations

from transferlens.plots.biplot import plot_biplot
from transferlens.plots.dendrogram import plot_dendrogram
from transferlens.plots.figure import write_figure
from transferlens.plots.loadings import plot_loadings
from transferlens.plots.matrix import plot_matrix
from transferlens.plots.scores import plot_trait_scores
from transferlens.plots.scree import plot_scree

__all__ = [
    "plot_biplot",
    "plot_dendrogram",
    "plot_loadings",
    "plot_matrix",
    "plot_scree",
    "plot_trait_scores",
    "write_figure",
]

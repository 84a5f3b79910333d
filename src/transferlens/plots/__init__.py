"""Pictures: one function per result; ``backend="none"`` returns what would be drawn."""

from __future__ import annotations

from transferlens.plots.figure import write_figure
from transferlens.plots.matrix import plot_matrix

__all__ = ["plot_matrix", "write_figure"]

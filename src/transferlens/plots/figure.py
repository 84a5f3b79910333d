"""Figures without global state, and files that are the same bytes every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from transferlens.errors import AnalysisError

__all__ = ["FORMATS", "new_figure", "write_figure"]

FORMATS = ("png", "svg", "pdf")
"""File formats of pictures, by their suffix."""

# TrueType outlines in PDF, so that journals and editors take them; no random ids in SVG.
_STYLE: Any = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "transferlens",
}

_WITHOUT_DATE: dict[str, dict[str, Any]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix of the path.

    The same figure gives the same bytes: no date and no random ids. Fonts are
    embedded in PDF; letters are outlines in SVG.

    Raises
    ------
    AnalysisError
        The suffix is of another format, or the system refuses to write.
    """
    file = Path(path)
    kind = file.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        msg = f"{file}: pictures are written as .{', .'.join(FORMATS)}; change the suffix"
        raise AnalysisError(msg)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(_STYLE):
            figure.savefig(file, format=kind, dpi=dpi, metadata=_WITHOUT_DATE[kind])
    except OSError as error:
        msg = f"{file}: cannot write the picture ({error.strerror or error})"
        raise AnalysisError(msg) from None
    return file

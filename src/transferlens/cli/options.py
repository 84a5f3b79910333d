"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["Alpha", "Folder", "Seed", "Strict", "ValuesOption"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.")]

ValuesOption = Annotated[
    Literal["gain", "score"],
    typer.Option(help="Gain over the base, or the score itself."),
]

Seed = Annotated[
    int | None, typer.Option(help="Show this seed.", show_default="the mean of all seeds")
]

Alpha = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Adjusted p-value up to which a gain is significant."),
]

Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Bound the chance of any false discovery (max-T; Holm with several seeds) "
        "instead of the false-discovery rate (Benjamini-Hochberg).",
    ),
]

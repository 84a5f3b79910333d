"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["Folder", "Seed", "ValuesOption"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.")]

ValuesOption = Annotated[
    Literal["gain", "score"],
    typer.Option(help="Gain over the base, or the score itself."),
]

Seed = Annotated[
    int | None, typer.Option(help="Show this seed.", show_default="the mean of all seeds")
]

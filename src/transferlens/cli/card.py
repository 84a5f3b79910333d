"""``transferlens card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferlens.cli.console import plain
from transferlens.cli.options import Alpha, Folder

__all__ = ["card"]


def card(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    source: Annotated[str, typer.Argument(help="Dataset that the adapter was trained on.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File, or a folder that gets a README.md.",
            show_default="printed",
        ),
    ] = None,
    licence: Annotated[
        str, typer.Option("--license", help="Licence of the adapter, as the hub names it.")
    ] = "",
    margin: Annotated[
        float, typer.Option(help="Loss in points that a safe task must exclude.")
    ] = 5.0,
    alpha: Alpha = 0.05,
) -> None:
    """Write an adapter's transfer passport, as a model card of the Hugging Face hub.

    It says what the adapter helps and harms, on which tasks it is safe to load, the length and
    the labels of its answers, how it was trained and how to load it.
    """
    from transferlens.report.passport import passport
    from transferlens.report.passport_card import model_card, write_card
    from transferlens.results import open_study

    study = open_study(folder)
    text = model_card(passport(study, source, level=alpha, margin=margin), study, licence=licence)
    if output is None:
        typer.echo(text, nl=False)
    else:
        plain(str(write_card(text, output)))

"""``transferlens export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from transferlens.cli.console import plain
from transferlens.cli.options import Folder

__all__ = ["export"]


def export(  # noqa: PLR0917 - each is an argument or option of the command
    kind: Annotated[Literal["vllm"], typer.Argument(metavar="vllm", help="For which server.")],
    folder: Folder,
    served_name: Annotated[str, typer.Option(help="Name of the base at the server.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    model: Annotated[
        str | None,
        typer.Option(help="The base as the server loads it.", show_default="the study's"),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="Export this one (source or source@seed); can be repeated.",
            show_default="one per source",
        ),
    ] = None,
    licence: Annotated[
        str, typer.Option("--license", help="Licence of the adapters, as the hub names it.")
    ] = "",
) -> None:
    """Write the adapters as vLLM loads them, each with its passport, and the command.

    vLLM serves LoRA and rsLoRA; other methods are refused.
    """
    from transferlens.results import open_study
    from transferlens.serve.export import export_vllm

    found = export_vllm(
        open_study(folder),
        output,
        served_name=served_name,
        model=model,
        adapters=adapter or (),
        licence=licence,
    )
    plain(f"{len(found.adapters)} adapters for {kind} in {found.folder}; serve them with")
    plain(f"  cd {found.folder} && {found.command}")

"""``transferlens init``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from transferlens.errors import SpecError

__all__ = ["init"]


def init(
    path: Annotated[Path, typer.Argument(help="File to write, or a folder to put it in.")] = Path(
        "study.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Write a commented study file that runs as it is."""
    file = path / "study.yaml" if path.is_dir() else path
    write_template(file, force=force)
    typer.echo(f"Wrote {file}. Try: transferlens run {file} --dry-run")


def write_template(file: Path, *, force: bool) -> None:
    """Write the study file that `init` offers.

    Raises
    ------
    SpecError
        The file exists and ``force`` is not set, or the system refuses.
    """
    text = files("transferlens.cli").joinpath("study.yaml").read_text(encoding="utf-8")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        msg = f"{file} exists already; choose another name or overwrite it with --force"
        raise SpecError(msg) from None
    except OSError as error:
        msg = f"{file}: cannot write the study file ({error.strerror})"
        raise SpecError(msg) from None

"""Run a grid: the study of every base and method, one after another."""

from __future__ import annotations

from pathlib import Path

from transferlens.engine.progress import LogKind
from transferlens.engine.run import run
from transferlens.results import TransferStudy, write_grid
from transferlens.study import GridSpec

__all__ = ["run_grid"]


def run_grid(grid: GridSpec, out: str | Path, *, log: LogKind = "rich") -> dict[str, TransferStudy]:
    """Run every study of a grid in a folder of its own, and open them.

    As `run`: stopped at any moment, the same call goes on, and a changed grid runs only what is
    new. Variants of one base stand together, and load it once.

    Parameters
    ----------
    grid
        The studies.
    out
        Folder that gets a folder for each variant, under the variant's name.
    log
        See `run`.

    Returns
    -------
    dict[str, TransferStudy]
        Name of the variant -> its study.

    Raises
    ------
    SpecError, DataError, EngineError
        As `run`.
    ResultsError
        The folder holds something else, or the system refuses to write.
    """
    from transferlens.engine.base import keeping_base

    folder = write_grid(out, name=grid.name, variants=list(grid.variants))
    with keeping_base():
        return {
            name: run(spec, folder.variants[name], log=log) for name, spec in grid.variants.items()
        }

"""Everything that can be verified, in one call."""

from __future__ import annotations

from pathlib import Path

from transferlens.errors import DataError
from transferlens.verify import fusion, paper, prompts, scaling
from transferlens.verify.figure import Verification
from transferlens.verify.tables import shipped_table

__all__ = ["verify"]


def verify(data: str | Path | None = None) -> Verification:
    """Compute published numbers again.

    Parameters
    ----------
    data
        Folder of published matrices that may not be shipped, with the folders
        ``paper_2509_13624``, ``fusion_bench``, ``prompt_transferability`` and
        ``obs_scaling``. Without it only the shipped facts are checked.

    Returns
    -------
    Verification
        A figure for each published number; ``failed`` holds those that differ.

    Raises
    ------
    DataError
        The folder does not hold a table.
    """
    full, lora = shipped_table("fusion_bench_full"), shipped_table("fusion_bench_lora16")
    figures = [*paper.paper_figures(*paper.shipped_paper())]
    figures += [*fusion.full_figures(full), *fusion.lora_figures(lora)]
    if data is None:
        left_out = (fusion.OTHERS, prompts.ORIGIN, scaling.ORIGIN)
        return Verification(figures=tuple(figures), left_out=left_out)
    folder = Path(data)
    if not folder.is_dir():
        msg = f"{folder} is no folder; give the folder that holds the published matrices"
        raise DataError(msg)
    figures += [*paper.paper_copies(folder), *fusion.fusion_copies(folder, full, lora)]
    figures += [*fusion.fusion_averages(folder)]
    figures += [*prompts.prompt_figures(folder), *scaling.scaling_figures(folder)]
    return Verification(figures=tuple(figures), left_out=())

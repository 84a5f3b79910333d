"""The tables of FusionBench: averages, gains, and a component that one cell makes.

Averages are printed there. Gains and the component are not: the numbers beside
ours were derived from the tables by another program.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import xarray as xr

from transferlens.results import BASE, TargetInfo
from transferlens.traits import find_dominance, pca
from transferlens.transfer import transfer_matrix
from transferlens.verify.figure import Figure
from transferlens.verify.tables import given_table, numbers, study_of

__all__ = ["full_figures", "fusion_averages", "fusion_copies", "lora_figures"]

FULL = "FusionBench (Flan-T5 base, full fine-tuning)"
LORA = "FusionBench (Flan-T5 base, LoRA r16)"
DERIVED = "derived from FusionBench (Flan-T5 base, LoRA r16)"
OTHERS = "FusionBench (other tables)"

PERCENT = TargetInfo(name="", metric="accuracy", unit="percent", ceiling=100.0)


def _parts(table: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of rows and of tasks; the last column is the printed average."""
    rows = [BASE if name in {"Pre-trained", "Pretrained"} else name for name in table["Model"]]
    return rows, table.columns[1:-1]


def _gains(table: pl.DataFrame) -> xr.Dataset:
    rows, tasks = _parts(table)
    return transfer_matrix(study_of(numbers(table, tasks), rows, tasks, PERCENT)).data


def full_figures(table: pl.DataFrame) -> Iterator[Figure]:
    """Check the averages of the fully fine-tuned models."""
    data = _gains(table)
    average = data["score"].mean("target")
    rows, _ = _parts(table)
    for name, published in zip(rows, table["Average"], strict=True):
        row = data["base_score"].mean() if name == BASE else average.sel(source=name)
        # Cells and averages are both rounded to the sixth digit.
        yield _figure(FULL, f"average of {name}", published, float(row), 1e-6)
    best, worst = (str(average["source"].values[at]) for at in _ends(average.values))
    yield _figure(FULL, "best source on average", "GLUE-MNLI", best)
    yield _figure(FULL, "worst source on average", "GLUE-COLA", worst)


def lora_figures(table: pl.DataFrame) -> Iterator[Figure]:
    """Check the gains of the LoRA adapters, and that the one-cell component is flagged."""
    data = _gains(table)
    others = data["gain"].where(~data["own"]).values
    known = others[np.isfinite(others)]
    yield _figure(LORA, "average of base", table["Average"][0], float(data["base_score"].mean()))
    yield _figure(DERIVED, "mean gain on other tasks", "-2.02", float(known.mean()))
    yield _figure(DERIVED, "share of other tasks that gain", "0.357", float((known > 0).mean()))
    for what, at, cell, size in (
        ("largest", np.nanargmax(others), "GLUE-QQP → GLUE-STSB", "13.1"),
        ("worst", np.nanargmin(others), "GLUE-STSB → GLUE-MNLI", "-54.8"),
    ):
        yield _figure(DERIVED, f"{what} gain on another task", size, float(others.ravel()[at]))
        yield _figure(
            DERIVED, f"{what} gain: where", cell, _cell(data, *divmod(int(at), others.shape[1]))
        )
    column = data["score"].sel(target="GLUE-COLA").values
    winner = str(data["source"].values[column.argmax()])
    yield _figure(LORA, "best source on GLUE-COLA is not its own", "GLUE-MNLI", winner)
    yield from _component(data)


def _component(data: xr.Dataset) -> Iterator[Figure]:
    gains = np.asarray(data["gain"].values, dtype=np.float64)
    share = float(pca(gains, 1).explained[0])
    yield _figure(DERIVED, "variance explained by the first component", "0.812", share)
    flagged = [one for one in find_dominance(gains, 1) if one.column is not None]
    ours = _cell(data, flagged[0].row, flagged[0].column or 0) if flagged else "none flagged"
    yield _figure(DERIVED, "cell that makes the first component", "GLUE-STSB → GLUE-MNLI", ours)


def _cell(data: xr.Dataset, row: int, column: int) -> str:
    return f"{data['source'].values[row]} → {data['target'].values[column]}"


def _ends(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[int, int]:
    return int(values.argmax()), int(values.argmin())


def _figure(
    origin: str, quantity: str, published: str, ours: float | str, tolerance: float | None = None
) -> Figure:
    return Figure(
        origin=origin, quantity=quantity, published=published, ours=ours, tolerance=tolerance
    )


def fusion_copies(folder: Path, full: pl.DataFrame, lora: pl.DataFrame) -> Iterator[Figure]:
    """Compare the shipped tables with those of the user's folder."""
    for origin, shipped, name in (
        (FULL, full, "flan_t5_base_glue_fullft"),
        (LORA, lora, "flan_t5_base_glue_lora16"),
    ):
        given = given_table(folder / "fusion_bench", name)
        ours, same = (numbers(one, one.columns[1:-1]) for one in (given, shipped))
        differ = (ours != same).sum() if ours.shape == same.shape else max(ours.size, same.size)
        yield _figure(origin, "cells that differ from the shipped copy", "0", float(differ))


def fusion_averages(folder: Path) -> Iterator[Figure]:
    """Check the printed averages of the other single-task tables.

    Raises
    ------
    DataError
        The folder does not hold them.
    """
    for name in (
        "clip_vit_b16_8tasks",
        "clip_vit_b16_llora16",
        "clip_vit_b16_lora16",
        "clip_vit_b32_8tasks",
        "clip_vit_l14_8tasks",
        "flan_t5_large_glue_lora16",
        "gpt2_glue_fullft",
    ):
        table = given_table(folder / "fusion_bench", name)
        printed = numbers(table, table.columns[-1:])[:, 0]
        off = numbers(table, table.columns[1:-1]).mean(axis=1) - printed
        worst = float(off[np.nanargmax(np.abs(off))])
        # Cells and averages are both rounded to a tenth.
        yield _figure(OTHERS, f"{name}: printed averages, largest error", "0.0", worst, 0.1)

"""Transfer of soft prompts: within types of tasks more than between them, and one-way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from transferlens.results import BASE, TargetInfo
from transferlens.verify.figure import Figure
from transferlens.verify.tables import given_table, numbers, study_of

__all__ = ["prompt_figures"]

ORIGIN = "arXiv:2111.06719 (transfer of soft prompts, means of its tables)"

TYPES = {
    "sentiment": (
        "IMDB",
        "SST2",
        "laptop",
        "restaurant",
        "movierationales",
        "tweetevalsentiment",
    ),
    "inference": ("MNLI", "QNLI", "snli"),
    "ethics": ("ethicsdeontology", "ethicsjustice"),
    "paraphrase": ("QQP", "MRPC"),
}

RATIOS = (
    ("Roberta", "0.808", "0.566"),
    ("RobertaLarge", "0.760", "0.530"),
    ("T5", "0.871", "0.638"),
    ("T5Small", "0.834", "0.638"),
)


def prompt_figures(folder: Path) -> Iterator[Figure]:
    """Check the relative scores of four backbones and one asymmetric pair.

    A score is relative to that of the target's own prompt. Means are over
    pairs of different tasks.

    Raises
    ------
    DataError
        The folder does not hold the tables.
    """
    type_of = {task: kind for kind, tasks in TYPES.items() for task in tasks}
    for backbone, within, between in RATIOS:
        scores = _scores(folder, backbone)
        tasks = [str(name) for name in scores["target"].values if str(name) in type_of]
        square = scores.sel(source=tasks, target=tasks).values
        relative = square / np.diag(square)
        kinds = np.array([type_of[task] for task in tasks])
        same = kinds[:, None] == kinds
        pairs = same & ~np.eye(len(tasks), dtype=np.bool_)
        for what, where, published in (("within", pairs, within), ("between", ~same, between)):
            quantity = f"{backbone}: relative score {what} types of tasks"
            yield _figure(quantity, published, float(relative[where].mean()))
    scores = _scores(folder, "Roberta")
    for source, target, published in (("MNLI", "MRPC", "0.6589"), ("MRPC", "MNLI", "0.3271")):
        ours = float(scores.sel(source=source, target=target))
        yield _figure(f"Roberta: score of {source} → {target}", published, ours)


def _scores(folder: Path, backbone: str) -> xr.DataArray:
    # Rows of these files are targets; a random prompt is what comes nearest to a base.
    table = given_table(folder / "prompt_transferability", f"target_x_source_{backbone}")
    sources = table.columns[1:]
    names = [BASE if name == "random" else name for name in sources]
    info = TargetInfo(name="", metric="accuracy", ceiling=1.0)
    study = study_of(numbers(table, sources).T, names, table["target"].to_list(), info)
    return study.scores["score"].isel(seed=0)


def _figure(quantity: str, published: str, ours: float) -> Figure:
    return Figure(origin=ORIGIN, quantity=quantity, published=published, ours=ours)

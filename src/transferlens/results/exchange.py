"""Write any study into a folder, so that every command can take it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from transferlens.errors import ResultsError
from transferlens.results.container import TransferStudy, open_study
from transferlens.results.plan import Cell, Plan, PlannedAdapter
from transferlens.results.store import StudyStore
from transferlens.study import BASE

__all__ = ["write_study"]


def write_study(study: TransferStudy, path: str | Path) -> TransferStudy:
    """Store a study in a new folder and return it as opened from there.

    Raises
    ------
    ResultsError
        The folder holds another study or other files, or the system refuses.
    """
    if (Path(path) / "plan.json").exists():
        msg = f"{path} holds a study already; choose another folder or remove it"
        raise ResultsError(msg)
    study = study.with_twins()
    store = StudyStore.create(path)
    cells: list[Cell] = []
    if study.predictions is None:
        store.write_scores(study.score_rows)
    else:
        cells = _write_predictions(store, study.predictions.collect())
    # Last, because a folder with a plan counts as complete.
    store.write_plan(_plan(study, cells))
    return open_study(path)


def _write_predictions(store: StudyStore, frame: pl.DataFrame) -> list[Cell]:
    cells: list[Cell] = []
    order = frame.sort("source", "seed", "target", "example")
    for rows in order.partition_by("source", "seed", maintain_order=True):
        source, seed = rows["source"][0], rows["seed"][0]
        counts = rows.group_by("target", maintain_order=True).len()
        own = [_cell(source, target, seed, n) for target, n in counts.iter_rows()]
        store.write_merged(own, rows)
        cells += own
    return cells


def _cell(source: str, target: str, seed: int, n_examples: int) -> Cell:
    return Cell(
        id=_identify(source, target, str(seed)),
        adapter_id=_identify(source, str(seed)),
        source=source,
        target=target,
        seed=seed,
        n_examples=n_examples,
    )


def _plan(study: TransferStudy, cells: list[Cell]) -> Plan:
    trained = dict.fromkeys((c.adapter_id, c.source, c.seed) for c in cells if c.source != BASE)
    rows = {info.name: info.n_rows or 0 for info in study.sources}
    adapters = tuple(
        PlannedAdapter(id=key, source=source, seed=seed, n_rows=rows.get(source, 0))
        for key, source, seed in trained
    )
    return Plan(
        spec=dict(study.origin),
        study_hash=_identify(*(cell.id for cell in cells)),
        base=dict(study.plan.base) if study.plan else {},
        adapters=adapters if study.plan is None else study.plan.adapters,
        cells=tuple(cells),
        targets=study.targets,
        sources=study.sources,
    )


def _identify(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

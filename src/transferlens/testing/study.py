"""Whole studies with predictions, in memory or in a folder, beside their truth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from transferlens.errors import ResultsError
from transferlens.results import (
    BASE,
    Cell,
    Plan,
    PlannedAdapter,
    SourceInfo,
    StudyStore,
    TargetInfo,
    TransferStudy,
    open_study,
)
from transferlens.testing.answers import (
    LOWEST,
    ExampleSet,
    Sampling,
    draw_answers,
    draw_examples,
    prediction_rows,
)
from transferlens.testing.structure import (
    Array,
    BoolArray,
    Structure,
    Truth,
    draw_truth,
    missing_cells,
)

__all__ = ["SimulatedStudy", "StudyTruth", "simulate_study"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyTruth:
    """What was planted in a study."""

    matrix: Truth
    """Traits and effects. Where `clipped` is True their sum left the range of a score."""
    gain: Array
    """True gain of each source on each target, counted upwards, shape (source, target):
    ``matrix.gain``, kept within the range of scores."""
    quality: Array
    """True quality of each training run, shape (source, target, seed)."""
    clipped: BoolArray
    """Cells whose gain is not the sum of its planted parts, shape (source, target)."""
    missing: BoolArray
    """Cells that were never run, shape (source, target)."""
    difficulty: Array
    """Difficulty of each example, standard normal, shape (target, example)."""

    @property
    def base(self) -> Array:
        """True quality of the base model, shape (target,)."""
        return self.matrix.base


class SimulatedStudy(NamedTuple):
    """A study and its truth."""

    study: TransferStudy
    truth: StudyTruth


class _Run(NamedTuple):
    """One model to evaluate."""

    source: str
    seed: int
    quality: Array
    run: BoolArray
    unscored: float


def simulate_study(
    structure: Structure | None = None,
    sampling: Sampling | None = None,
    *,
    rng: np.random.Generator,
    path: str | Path | None = None,
) -> SimulatedStudy:
    """Make a study with predictions whose truth is known.

    Parameters
    ----------
    structure
        What is true of the matrix; the defaults by default.
    sampling
        How it is observed; the defaults by default.
    rng
        Source of everything random: the same state gives the same files, byte by byte.
    path
        Folder to write the study to, adapter after adapter, so that ten
        million predictions need little memory. In memory by default.

    Returns
    -------
    SimulatedStudy
        ``study`` and ``truth``.

    Raises
    ------
    SpecError
        Too many cells would be missing.
    ResultsError
        The folder holds a study already, or the system refuses.
    """
    structure, sampling = structure or Structure(), sampling or Sampling()
    of_truth, of_examples, of_cells, of_runs = rng.spawn(4)
    matrix = draw_truth(structure, rng=of_truth)
    examples = draw_examples(matrix.targets, sampling, rng=of_examples)
    truth = _study_truth(matrix, examples, sampling, of_cells)
    frames = _frames(truth, examples, sampling, of_runs)
    targets, sources = _infos(truth, examples, sampling)
    if path is not None:
        return SimulatedStudy(_stored(frames, Path(path), targets, sources), truth)
    study = TransferStudy.from_predictions(
        pl.concat(list(frames)), targets=targets, sources=sources, origin={"name": "simulated"}
    )
    return SimulatedStudy(study, truth)


def _study_truth(
    matrix: Truth, examples: ExampleSet, sampling: Sampling, rng: np.random.Generator
) -> StudyTruth:
    expected = np.clip(matrix.expected, LOWEST, 1.0 - LOWEST)
    shift = sampling.seed_sd * rng.standard_normal((*expected.shape, sampling.n_seeds))
    return StudyTruth(
        matrix=matrix,
        gain=expected - matrix.base,
        quality=np.clip(expected[:, :, None] + shift, LOWEST, 1.0 - LOWEST),
        clipped=expected != matrix.expected,
        missing=missing_cells(expected.shape, sampling.missing, rng=rng),
        difficulty=examples.difficulty,
    )


def _frames(
    truth: StudyTruth, examples: ExampleSet, sampling: Sampling, rng: np.random.Generator
) -> Iterator[pl.DataFrame]:
    """Yield the predictions of the base and of each adapter."""
    runs = list(_runs(truth, sampling))
    for run, luck in zip(runs, rng.spawn(len(runs)), strict=True):
        answers = draw_answers(
            run.quality,
            examples,
            difficulty=sampling.difficulty,
            unscored=run.unscored,
            rng=luck,
        )
        yield prediction_rows(
            run.source,
            run.seed,
            answers,
            examples,
            run=run.run,
            likelihoods=sampling.likelihoods,
        )


def _runs(truth: StudyTruth, sampling: Sampling) -> Iterator[_Run]:
    yield _Run(BASE, 0, truth.base, np.ones_like(truth.base, dtype=np.bool_), 0.0)
    for at, source in enumerate(truth.matrix.sources):
        for seed in range(sampling.n_seeds):
            quality = truth.quality[at, :, seed]
            yield _Run(source, seed, quality, ~truth.missing[at], sampling.unscored)


def _infos(
    truth: StudyTruth, examples: ExampleSet, sampling: Sampling
) -> tuple[tuple[TargetInfo, ...], tuple[SourceInfo, ...]]:
    targets = tuple(
        TargetInfo(
            name=name,
            metric=("graded" if graded else "accuracy") if not down else "errors",
            higher_is_better=not down,
            family=family,
            ceiling=0.0 if down else 1.0,
            n_examples=sampling.n_examples,
        )
        for name, family, graded, down in zip(
            truth.matrix.targets,
            truth.matrix.families,
            examples.graded.tolist(),
            examples.lower_is_better.tolist(),
            strict=True,
        )
    )
    return targets, tuple(SourceInfo(name=name) for name in truth.matrix.sources)


def _stored(
    frames: Iterator[pl.DataFrame],
    path: Path,
    targets: tuple[TargetInfo, ...],
    sources: tuple[SourceInfo, ...],
) -> TransferStudy:
    if (path / "plan.json").exists():
        msg = f"{path} holds a study already; choose another folder or remove it"
        raise ResultsError(msg)
    store = StudyStore.create(path)
    cells: list[Cell] = []
    for frame in frames:
        own = _cells(frame)
        store.write_merged(own, frame)
        cells += own
    adapters = dict.fromkeys((c.adapter_id, c.source, c.seed) for c in cells if c.source != BASE)
    # Last, because a folder with a plan counts as complete.
    store.write_plan(
        Plan(
            spec={"name": "simulated"},
            study_hash=_identify(*(cell.id for cell in cells)),
            base={"model": "simulated"},
            adapters=tuple(
                PlannedAdapter(id=key, source=source, seed=seed, n_rows=0)
                for key, source, seed in adapters
            ),
            cells=tuple(cells),
            targets=targets,
            sources=sources,
        )
    )
    return open_study(path)


def _cells(frame: pl.DataFrame) -> list[Cell]:
    source, seed = frame["source"][0], frame["seed"][0]
    counts = frame.group_by("target", maintain_order=True).len()
    return [
        Cell(
            id=_identify(source, target, str(seed)),
            adapter_id=_identify(source, str(seed)),
            source=source,
            target=target,
            seed=seed,
            n_examples=n_examples,
        )
        for target, n_examples in counts.iter_rows()
    ]


def _identify(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

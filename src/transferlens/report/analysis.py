"""Everything that a report is made from: each analysis once, and why one could not be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError, TransferLensError
from transferlens.explain import Story, surprises, tell_stories, with_linguistics
from transferlens.explain.factors import FactorEvidence, Factors
from transferlens.explain.linguistics import user_cache
from transferlens.explain.twins import TwinEffect, TwinEffects
from transferlens.report.claim import Lacking
from transferlens.results import BASE, TransferStudy
from transferlens.results.stored import InMemory
from transferlens.traits import Traits, decompose_traits
from transferlens.transfer import Effects, TransferMatrix, transfer_effects, transfer_matrix

__all__ = ["Analyses", "Depth", "analyse"]

CellName = tuple[str, str]

# Beyond this many cells, traits are resampled less: the bootstrap over examples of a hundred by
# a hundred matrix costs more than everything else on the page.
LARGE = 2_500
RESAMPLES_OF_LARGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much is computed."""

    level: float = 0.05
    """Adjusted p-value up to which an effect is significant."""
    cells: int = 10
    """Cells whose story is told."""
    linguistic_cells: int = 1
    """Cells, of these, whose linguistic features are tested: the first ones."""
    factors: bool = False
    """Whether to test hidden factors of the data."""
    texts: bool = True
    """Whether to show examples; without them the page can be passed on where the data cannot."""
    n_resamples: int = 199
    """Resamples behind the intervals of a story."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analyses:
    """What is known of a study; a `Lacking` says why something is not."""

    study: TransferStudy
    depth: Depth
    matrix: TransferMatrix | Lacking
    effects: Effects | Lacking
    traits: Traits | Lacking
    surprising: pl.DataFrame
    """See `transferlens.explain.surprises`; empty without evidence."""
    stories: tuple[Story, ...] | Lacking
    """Most surprising cells first, then own tasks."""
    factors: FactorEvidence | Lacking
    twins: TwinEffects | Lacking


def analyse(study: TransferStudy, depth: Depth) -> Analyses:
    """Run every analysis that the study allows."""
    matrix = _matrix(study)
    effects: Effects | Lacking
    if isinstance(matrix, Lacking):
        effects, surprising = matrix, pl.DataFrame()
    else:
        effects = transfer_effects(matrix, level=depth.level)
        surprising = surprises(study, matrix, level=depth.level)
    # Side by side: both spend much of their time outside the interpreter.
    with ThreadPoolExecutor(1) as pool:
        traits = pool.submit(_traits, study, depth)
        stories = _stories(study, matrix, surprising, depth)
        return Analyses(
            study=study,
            depth=depth,
            matrix=matrix,
            effects=effects,
            traits=traits.result(),
            surprising=surprising,
            stories=stories,
            factors=_factors(study, depth),
            twins=_twins(study),
        )


def _factors(study: TransferStudy, depth: Depth) -> FactorEvidence | Lacking:
    if not depth.factors:
        return Lacking(
            why="Hidden factors of the data take longer to compute: "
            "`transferlens report DIR --deep` puts them here, `transferlens factors DIR` prints "
            "them."
        )
    try:
        return Factors()(study, rng=np.random.default_rng(depth.seed))
    except TransferLensError as error:
        return Lacking(why=f"Hidden factors cannot be tested: {error}.")


def _twins(study: TransferStudy) -> TwinEffects | Lacking:
    if not study.twins:
        return Lacking(
            why="The study has no twins. Adapters on data that differ in one property alone turn a "
            "correlation into an experiment: name them under `controls` in the study file."
        )
    try:
        return TwinEffect()(study)
    except AnalysisError as error:
        return Lacking(why=f"Twins cannot be compared: {error}.")


def _matrix(study: TransferStudy) -> TransferMatrix | Lacking:
    try:
        return transfer_matrix(study)
    except AnalysisError as error:
        return Lacking(why=f"Gains are not known: {error}.")


def _traits(study: TransferStudy, depth: Depth) -> Traits | Lacking:
    large = len(study.sources) * len(study.targets) > LARGE
    try:
        return decompose_traits(
            study,
            rng=np.random.default_rng(depth.seed),
            n_resamples=RESAMPLES_OF_LARGE if large else None,
        )
    except AnalysisError as error:
        return Lacking(why=f"Traits cannot be computed: {error}.")


def _stories(
    study: TransferStudy,
    matrix: TransferMatrix | Lacking,
    surprising: pl.DataFrame,
    depth: Depth,
) -> tuple[Story, ...] | Lacking:
    if study.predictions is None:
        return Lacking(
            why="The study has scores only. Import per-example results (`transferlens import` of "
            "lm-eval samples), or run the study, to see why an adapter helps or harms."
        )
    if isinstance(matrix, Lacking):
        return matrix
    chosen = _chosen(matrix, surprising, depth.cells)
    part = _in_memory(study, chosen)
    stories = tell_stories(
        part,
        chosen,
        rng=np.random.default_rng(depth.seed),
        n_resamples=depth.n_resamples,
        matrix=matrix,
    )
    return tuple(_completed(stories, part, depth))


def _completed(stories: Sequence[Story], part: TransferStudy, depth: Depth) -> Iterator[Story]:
    """Add linguistic features to the first stories; take texts away where nobody may see them."""
    for at, told in enumerate(stories):
        story = told
        if at < depth.linguistic_cells:
            story = with_linguistics(told, part, parser=None, cache=user_cache())
        shown = story.examples
        yield story if depth.texts else replace(story, examples=replace(shown, gained=(), lost=()))


def _chosen(matrix: TransferMatrix, surprising: pl.DataFrame, most: int) -> list[CellName]:
    """Return surprising cells, helps and harms in turn, and fill up with own tasks."""
    kinds = surprising.partition_by("surprise", maintain_order=True) if surprising.height else []
    columns = [list(kind.select("source", "target").iter_rows()) for kind in kinds]
    longest = max(map(len, columns), default=0)
    in_turn = [column[at] for at in range(longest) for column in columns if at < len(column)]
    cells = matrix.to_frame().filter(pl.col("gain").is_not_nan())
    own = cells.filter(pl.col("own")).sort(-pl.col("gain").abs(), maintain_order=True)
    other = cells.filter(~pl.col("own")).sort(-pl.col("gain").abs(), maintain_order=True)
    rest = [
        *own.select("source", "target").iter_rows(),
        *other.select("source", "target").head(most).iter_rows(),
    ]
    # A third for own tasks, so that a study with many surprises still shows what was learnt.
    kept = in_turn[: max(most - min(len(own), most // 3), 0)]
    return list(dict.fromkeys([*kept, *rest, *in_turn]))[:most]


def _in_memory(study: TransferStudy, chosen: Sequence[CellName]) -> TransferStudy:
    """Return the study with the rows of the chosen sources and targets in memory.

    Every mechanism reads them, and a study has many files.
    """
    if study.predictions is None or not chosen:
        return study
    sources, targets = ({cell[at] for cell in chosen} for at in (0, 1))
    rows = study.predictions.filter(
        pl.col("source").is_in([BASE, *sources]), pl.col("target").is_in(list(targets))
    ).collect()
    return replace(study, _rows=InMemory(rows.lazy()))

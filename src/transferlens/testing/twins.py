"""Studies with twins whose effects are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from transferlens.results import SourceInfo, TargetInfo, TransferStudy
from transferlens.study import Property
from transferlens.testing.mechanisms import Behaviour, simulate_mechanisms

__all__ = ["PlantedTwins", "simulate_twins"]


class PlantedTwins(NamedTuple):
    """A study of one source, ``"source"``, with twins on targets ``"task0"``, ``"task1"``, ..."""

    study: TransferStudy
    truth: dict[str, float]
    """Twin -> expected difference of its score and the source's, on every target."""


def simulate_twins(
    source: Behaviour,
    twins: Mapping[Property, Behaviour],
    *,
    rng: np.random.Generator,
    n_examples: int = 400,
    n_targets: int = 1,
    likelihoods: bool = True,
) -> PlantedTwins:
    """Make a study of a source and its twins; the base answers as the source does.

    Parameters
    ----------
    source, twins
        How the adapter of the source and that of the twin of each property answer. A twin
        is named ``source-<property>``.
    rng
        Source of everything random.
    n_examples, n_targets
        Size of the study.
    likelihoods
        Whether two labels are compared; else answers are written and have a length.

    Returns
    -------
    PlantedTwins
        ``study`` and ``truth``.
    """
    infos = [SourceInfo(name=f"source-{kind}", twin_of="source", control=kind) for kind in twins]
    ways = {"source": source} | {f"source-{kind}": way for kind, way in twins.items()}
    targets = [f"task{number}" for number in range(n_targets)]
    rows = []
    truth: dict[str, float] = {}
    for target in targets:
        made = simulate_mechanisms(
            source, ways, rng=rng, n_examples=n_examples, likelihoods=likelihoods
        )
        # The truth is about the expected score, the same for every target.
        truth = {info.name: sum(made.truth[info.name].values()) for info in infos}
        if made.study.predictions is not None:
            rows.append(made.study.predictions.with_columns(target=pl.lit(target)).collect())
    study = TransferStudy.from_predictions(
        pl.concat(rows),
        sources=[SourceInfo(name="source"), *infos],
        targets=[TargetInfo(name=name, metric="accuracy", ceiling=1.0) for name in targets],
        origin={"name": "simulated"},
    )
    return PlantedTwins(study, truth)

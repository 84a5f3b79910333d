"""Studies whose truth is known: for tests of analyses, for benchmarks, and to learn from.

::

    from transferlens.testing import Sampling, Structure, simulate_study

    study, truth = simulate_study(
        Structure(n_sources=10, n_targets=10, strengths=(0.08, 0.05)),
        Sampling(n_examples=500, n_seeds=3, seed_sd=0.02),
        rng=np.random.default_rng(0),
    )

`Structure` says what is true of a matrix and `Sampling` how it is observed. A
cause of gains enters as a part of `Truth.gain`; a way of answering enters in
`transferlens.testing.answers`, which knows nothing of where gains come from.
"""

from __future__ import annotations

from transferlens.testing.answers import Sampling
from transferlens.testing.mechanisms import (
    Behaviour,
    PlantedMechanisms,
    simulate_mechanisms,
)
from transferlens.testing.scores import SimulatedScores, simulate_scores
from transferlens.testing.structure import Structure, Truth, draw_truth
from transferlens.testing.study import SimulatedStudy, StudyTruth, simulate_study
from transferlens.testing.twins import PlantedTwins, simulate_twins

__all__ = [
    "Behaviour",
    "PlantedMechanisms",
    "PlantedTwins",
    "Sampling",
    "SimulatedScores",
    "SimulatedStudy",
    "Structure",
    "StudyTruth",
    "Truth",
    "draw_truth",
    "simulate_mechanisms",
    "simulate_scores",
    "simulate_study",
    "simulate_twins",
]

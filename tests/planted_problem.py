"""Matrices of which the truth, or every cell, is known."""

from __future__ import annotations

import numpy as np

from transferlens.predict import Problem
from transferlens.testing import Structure, simulate_scores


def problem(gains, **more):
    """Return a problem without own tasks."""
    gains = np.asarray(gains, dtype=float)
    n, p = gains.shape
    names = {
        "sources": tuple(f"s{i:02d}" for i in range(n)),
        "targets": tuple(f"t{i:02d}" for i in range(p)),
        "own": np.zeros((n, p), dtype=bool),
    }
    return Problem(gains=gains, **{**names, **more})


def planted(n=30, p=24, *, seed=0, noise=0.02, strengths=(0.06, 0.04), share=1.0):
    """Return a problem with traits and effects, in points, and the whole matrix with noise."""
    rng = np.random.default_rng(seed)
    structure = Structure(
        n_sources=n, n_targets=p, strengths=strengths, source_sd=0.03, target_sd=0.03
    )
    drawn = simulate_scores(structure, rng=rng, noise=noise)
    whole = 100 * (drawn.scores.values - drawn.base.values)
    measured = rng.random((n, p)) < share
    return problem(np.where(measured, whole, np.nan)), whole

"""Observational scaling laws: the spectrum of benchmarks after one-component imputation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transferlens.traits import complete_by_one_component, pca
from transferlens.verify.figure import Figure
from transferlens.verify.tables import given_table, numbers

__all__ = ["scaling_figures"]

ORIGIN = "arXiv:2405.10938 (observational scaling laws)"

BENCHMARKS = (
    "MMLU",
    "ARC-C",
    "HellaSwag",
    "Winograd",
    "TruthfulQA",
    "GSM8K",
    "XWinograd",
    "HumanEval",
)


def scaling_figures(folder: Path) -> Iterator[Figure]:
    """Check the variance that the first three components explain.

    Raises
    ------
    DataError
        The folder does not hold the table.
    """
    table = given_table(folder / "obs_scaling", "base_llm_benchmark_eval_first_commit")
    completed = complete_by_one_component(numbers(table, BENCHMARKS))
    for what, standardise, published in (
        ("centred", False, ("0.8100", "0.1166", "0.0401")),
        ("standardised", True, ("0.7546", "0.148", "0.0491")),
    ):
        explained = pca(completed, 3, standardise=standardise).explained
        for at, printed in enumerate(published):
            yield Figure(
                origin=ORIGIN,
                quantity=f"variance explained by component {at + 1}, {what}",
                published=printed,
                ours=float(explained[at]),
            )

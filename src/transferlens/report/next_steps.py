"""Which cells or seeds to add, to settle what is open."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy import stats

from transferlens.report.analysis import Analyses
from transferlens.report.claim import Claim, Lacking, counted, gain_in_words, listed

__all__ = ["examples_needed", "next_steps"]

LEVEL = 0.05


def next_steps(found: Analyses, cells: pl.DataFrame) -> Iterator[Claim]:
    """Yield what would make the study say more, the most telling first."""
    study = found.study
    if isinstance(found.matrix, Lacking):
        yield Claim(text="Evaluate the untuned base model: without it there are no gains.")
    elif not cells["p_value"].is_not_nan().any():
        yield Claim(
            text="Import the answers to single examples, or scores of two seeds and more: with one "
            "score per cell nothing can be tested.",
            section="matrix",
        )
    elif not cells["training_known"].any():
        yield Claim(
            text="Add two seeds (`transferlens run STUDY 'seeds=[0,1,2]'`): "
            f"{counted(len(study.sources) * 2, 'training')} that show how much training varies.",
            section="findings",
        )
    missing = cells.filter(pl.col("score").is_nan())
    if missing.height:
        names = [f"{s} → {t}" for s, t in missing.select("source", "target").rows()]
        yield Claim(text=f"Finish {listed(names)}.", section="matrix")
    yield from _undecided(cells)
    few = 12 - len(study.sources)
    if few > 0:
        yield Claim(
            text=f"Add {counted(few, 'source')}, so that traits can be counted (12 or more).",
            section="traits",
        )


def _undecided(cells: pl.DataFrame) -> Iterator[Claim]:
    tested = cells.filter(pl.col("p_value").is_not_nan())
    open_ = tested.filter(pl.col("verdict") == "suggestive", pl.col("n_scored") > 0)
    if not open_.height:
        return
    sure = tested.filter(pl.col("verdict") == "significant")["p_value"]
    # What passes the adjustment today; without any significant cell, what the first one needs.
    threshold = float(np.max(sure.to_numpy(), initial=LEVEL / tested.height))
    rows = [
        (examples_needed(row["gain"], row["standard_error"], row["n_scored"], threshold), row)
        for row in open_.iter_rows(named=True)
    ]
    known = sorted(
        ((n, row) for n, row in rows if math.isfinite(n)),
        key=lambda pair: pair[0] / pair[1]["n_scored"],
    )
    for n, row in known[:3]:
        yield Claim(
            text=f"{row['source']} on {row['target']}, {gain_in_words(row)}: about {n:,.0f} "
            f"examples in place of {row['n_scored']:,.0f} would show an effect of this size four "
            "times in five.",
            verdict="suggestive",
            section="matrix",
        )
    if len(known) > 3:
        yield Claim(
            text=f"And {counted(len(known) - 3, 'more suggestive cell')}.", section="matrix"
        )


def examples_needed(gain: float, error: float, n: float, threshold: float) -> float:
    """Return how many examples find a gain with 80 % power.

    Parameters
    ----------
    gain, error
        The observed gain and its standard error on ``n`` examples, which falls with their
        square root; training variance, where it counts, does not, so that it is a lower bound.
    threshold
        Unadjusted p-value that passes the adjustment.

    Returns
    -------
    float
        Rounded up to tens; infinite for no gain, NaN without an error.
    """
    if gain == 0:
        return math.inf
    wanted = stats.norm.isf(threshold / 2) + stats.norm.isf(0.2)
    return float(10 * np.ceil(n * (wanted * error / gain) ** 2 / 10))

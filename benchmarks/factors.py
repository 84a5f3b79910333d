"""Measure how often the tests of factors err, and how long 100 × 100 cells take.

``python benchmarks/factors.py`` simulates matrices in which a factor has nothing to do with
the gains, and some in which it has, and measures a study of 100 sources and 100 targets with
the rows of all of them. It writes ``benchmarks/results/factors.json`` and ``factors.md``. The test
suite runs the same simulations on fewer matrices. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from calibration import RESULTS, hardware
from scipy import stats as sps

from transferlens.explain.factors.blocks import block_fit, folds_of
from transferlens.explain.factors.needed import paired_t, sources_for_share
from transferlens.stats import mrqap, source_regression
from transferlens.stats.orders import task_orders

LEVEL = 0.05
GOAL = 25.0


@dataclass(frozen=True, kw_only=True)
class World:
    """A matrix of gains with levels of sources and targets, two traits, and noise."""

    n: int = 12
    """Tasks, each as source and as target."""
    missing: float = 0.0
    """Share of the cells, besides own tasks, that are not known."""
    effect: float = 0.0
    """What a standard deviation of the pair factor adds, in standard deviations of the noise."""


def draw(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw gains and a pair factor that has levels and a trait of its own."""
    n = world.n
    level = rng.standard_normal((2, n))
    traits = rng.standard_normal((2, n, 2))
    x = rng.standard_normal((n, n)) + traits[0, :, :1] * traits[1, :, 0]
    x += level[0][:, None] + rng.standard_normal(n)
    other = rng.standard_normal((2, n, 2))
    y = level[1][:, None] + 2.0 * rng.standard_normal(n) + other[0] @ other[1].T
    y += rng.standard_normal((n, n)) + world.effect * x
    y[rng.random((n, n)) < world.missing] = np.nan
    return y, x


def dyadic_rates(world: World, n_runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Return how often a pair factor is called significant, by permutation and by OLS."""
    hits = {"MRQAP": 0, "least squares over cells": 0}
    cover = 0
    for _ in range(n_runs):
        y, x = draw(world, rng)
        fit = mrqap(y, x[None], rng=rng, own=np.arange(world.n), n_permutations=199)
        hits["MRQAP"] += fit.p_value[0] <= LEVEL
        cover += fit.low[0] <= world.effect <= fit.high[0]
        known = ~np.isnan(y) & ~np.eye(world.n, dtype=bool)
        hits["least squares over cells"] += sps.linregress(x[known], y[known]).pvalue <= LEVEL
    return {name: count / n_runs for name, count in hits.items()} | {"coverage": cover / n_runs}


def source_rates(n: int, share: float, n_runs: int, rng: np.random.Generator) -> float:
    """Return how often a factor of sources that explains a share of the variance is found."""
    hits = 0
    for _ in range(n_runs):
        x = rng.standard_normal(n)
        y = np.sqrt(share) * x + np.sqrt(1.0 - share) * rng.standard_normal(n)
        hits += source_regression(y, x[None], rng=rng, n_permutations=199).p_value[0] <= LEVEL
    return hits / n_runs


def block_rates(
    n: int, n_runs: int, rng: np.random.Generator, *, hidden: float = 0.0, surface: float = 0.0
) -> dict[str, float]:
    """Return how often each block beats chance, and how often one is called better.

    Three surface and seven hidden factors, pair and source; ``hidden`` and ``surface``: what a
    standard deviation of the first factor of a block adds.
    """
    hits = dict.fromkeys(("surface", "hidden", "difference", "verdict"), 0)
    own = np.arange(n)
    active = np.ones((n, n), dtype=np.bool_)
    for _ in range(n_runs):
        y, first = draw(World(n=n), rng)
        second = draw(World(n=n), rng)[1]
        y = y + surface * first + hidden * second
        y[own, own] = np.nan
        of_sources = [np.broadcast_to(rng.standard_normal((n, 1)), (n, n)) for _ in range(4)]
        pairs = [draw(World(n=n), rng)[1] for _ in range(4)]
        blocks = {
            "surface": np.stack([first, *pairs[:2]]),
            "hidden": np.stack([second, *pairs[2:], *of_sources]),
        }
        folds = folds_of(n, rng=rng)
        orders = task_orders(own, n, rng=rng, n=99, active=active)
        fits = {k: block_fit(y, x, folds=folds, orders=orders) for k, x in blocks.items()}
        scale = n / fits["surface"].total.sum()
        test = paired_t(scale * (fits["surface"].error - fits["hidden"].error), confidence=0.95)
        better = fits["hidden" if test.estimate > 0 else "surface"]
        for name, fit in fits.items():
            hits[name] += fit.p_value <= LEVEL
        hits["difference"] += test.p_value <= LEVEL
        hits["verdict"] += test.p_value <= LEVEL and better.p_value <= LEVEL
    return {name: count / n_runs for name, count in hits.items()}


def large_study(n: int, n_rows: int, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """Return a study of scores with ``n`` tasks, and the rows of each."""
    from transferlens.results import SourceInfo, TargetInfo, TransferStudy

    names = [f"task_{at:03d}" for at in range(n)]
    words = np.array([f"word{at}" for at in range(5_000)])
    tables = {}
    for at, name in enumerate(names):
        common = rng.choice(5_000, 800)
        lengths = rng.poisson(rng.uniform(10, 40), n_rows) + 3
        texts = [" ".join(words[rng.choice(common, length)]) + "." for length in lengths]
        # Every third dataset has answers of several words, the others have labels.
        share = rng.uniform(0.2, 0.8)
        labels = rng.choice(["yes", "no"], n_rows, p=[share, 1 - share])
        written = [
            " ".join(text.split()[: 1 + length // 8])
            for text, length in zip(texts, lengths, strict=True)
        ]
        twice = rng.random(n_rows) < 0.01
        prompts = [texts[0] if again else text for text, again in zip(texts, twice, strict=True)]
        tables[name] = pl.DataFrame({"prompt": prompts, "gold": labels if at % 3 else written})
    rows = [
        {"source": source, "target": target, "score": float(rng.random())}
        for source in ("base", *names)
        for target in names
    ]
    study = TransferStudy.from_scores(
        pl.DataFrame(rows),
        sources=[SourceInfo(name=name, base_nll=float(rng.random())) for name in names],
        targets=[TargetInfo(name=name) for name in names],
    )
    return study, tables


def timing(n: int, n_rows: int, rng: np.random.Generator) -> dict[str, float]:
    """Return seconds of cards and of the analysis of all factors."""
    from transferlens.explain.cards import StudyCards, dataset_card, dataset_of_rows
    from transferlens.explain.factors import Factors, factor_values

    study, tables = large_study(n, n_rows, rng)
    start = time.process_time()
    data = {name: dataset_of_rows(rows, name=name) for name, rows in tables.items()}
    cards = {name: dataset_card(rows) for name, rows in data.items()}
    known = StudyCards(sources=cards, targets=cards, source_data=data, target_data=data, notes=())
    seconds = {f"cards of {n} datasets of {n_rows:,} rows": time.process_time() - start}
    start = time.process_time()
    values = factor_values(study, known)
    seconds["factors of all pairs"] = time.process_time() - start
    start = time.process_time()
    found = Factors()(study, rng=rng, cards=known, values=values)
    tested = sum(not test.reason for test in found.tests)
    # The analysis computes the values once more, which is not counted twice.
    alone = time.process_time() - start - seconds["factors of all pairs"]
    seconds[f"{tested} factors with 1,999 permutations, blocks with 499"] = alone
    return seconds


def main() -> None:
    """Simulate, measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--tasks", type=int, default=100)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    runs, blocks = given.runs, max(given.runs // 5, 1)
    needed = sources_for_share(0.25)
    report = {
        "hardware": hardware(),
        "runs": runs,
        "pair factor, nothing to find": dyadic_rates(World(), runs, rng),
        "pair factor, a fifth of the cells missing": dyadic_rates(World(missing=0.2), runs, rng),
        "pair factor with an effect of 0.3": dyadic_rates(World(effect=0.3), runs, rng),
        "source factor, nothing to find": {"N = 12": source_rates(12, 0.0, runs, rng)},
        "source factor that explains 25%": {f"N = {needed}": source_rates(needed, 0.25, runs, rng)},
        "blocks, nothing to find": block_rates(12, blocks, rng),
        "blocks, one factor as strong in each": block_rates(
            12, blocks, rng, hidden=0.5, surface=0.5
        ),
        "blocks, hidden better": block_rates(12, blocks, rng, hidden=1.0),
        "seconds": timing(given.tasks, 1_600, rng),
    }
    RESULTS.mkdir(exist_ok=True)
    text = markdown(report)
    Path(RESULTS, "factors.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    Path(RESULTS, "factors.md").write_text(text, encoding="utf-8")
    print(text)


def markdown(report: dict[str, Any]) -> str:
    """Lay the report out as a table."""
    seconds = report["seconds"]
    total = sum(list(seconds.values())[1:])
    lines = [
        "# Factors of the data",
        "",
        "; ".join(f"{name}: {value}" for name, value in report["hardware"].items()) + ".",
        "",
        f"Share of {report['runs']} simulated matrices (blocks: a fifth of them), level 5 %.",
        "",
        "| world | measure | share |",
        "|---|---|---|",
    ]
    for world, found in report.items():
        if isinstance(found, dict) and world not in {"hardware", "seconds"}:
            lines += [f"| {world} | {name} | {value:.3f} |" for name, value in found.items()]
    lines += ["", "| step, 100 sources × 100 targets | seconds |", "|---|---|"]
    lines += [f"| {name} | {value:.1f} |" for name, value in seconds.items()]
    met = "met" if total <= GOAL else "missed"
    lines += [
        "",
        f"Without the cards, one per dataset: {total:.1f} s; goal {GOAL:.0f} s, {met}.",
        "",
        "Written by `python benchmarks/factors.py`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

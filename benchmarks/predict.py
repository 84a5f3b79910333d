"""How well the rest of a matrix is predicted from a share of its cells, and how fast.

``python benchmarks/predict.py --shared FOLDER`` writes ``benchmarks/results/predict.json`` and
``predict.md``; FOLDER holds the published matrices. ``--part`` runs one part and keeps the
others of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from transferlens.predict import (
    Additive,
    Bayes,
    Complete,
    Evaluate,
    Problem,
    TargetMean,
    next_cells,
)
from transferlens.testing import Structure, simulate_scores

RESULTS = Path(__file__).parent / "results"
SHARES = (0.2, 0.4, 0.6)
CONFIDENCE = 0.9
REPEATS = 4


class Matrix(NamedTuple):
    """A matrix of which every cell that is not NaN can be measured."""

    name: str
    values: np.ndarray
    own: np.ndarray
    """Cells that are left out: a task on itself."""

    def problem(self, measured: np.ndarray) -> Problem:
        """Return the matrix as if only some cells were measured."""
        n, p = self.values.shape
        return Problem(
            gains=np.where(measured, self.values, np.nan),
            sources=tuple(f"source {i}" for i in range(n)),
            targets=tuple(f"target {i}" for i in range(p)),
            own=self.own,
        )

    @property
    def usable(self) -> np.ndarray:
        """Cells that can be measured."""
        return ~self.own & ~np.isnan(self.values)


def published(shared: Path) -> Iterator[Matrix]:
    """Yield the published matrices in points."""
    folder = shared / "matrices"
    for name in ("flan_t5_base_glue_fullft", "flan_t5_base_glue_lora16", "clip_vit_b32_8tasks"):
        table = pl.read_csv(folder / "fusion_bench" / f"{name}.csv")
        tasks = [c for c in table.columns if c not in {"Model", "Average"}]
        values = table.select(tasks).to_numpy()
        names = np.array(table["Model"][1:].to_list())
        yield Matrix(f"fusion_bench {name}", values[1:] - values[0], names[:, None] == tasks)
    for name in ("Roberta", "RobertaLarge", "T5", "T5Small"):
        file = folder / "prompt_transferability" / f"target_x_source_{name}.csv"
        table = pl.read_csv(file)
        sources = [c for c in table.columns if c not in {"target", "random"}]
        values = 100 * table.select(sources).to_numpy().T
        own = np.array(sources)[:, None] == np.array(table["target"].to_list())
        yield Matrix(f"prompt_transferability {name}", values, own)
    table = pl.read_csv(folder / "obs_scaling" / "base_llm_benchmark_eval.csv")
    values = 100 * table[:, 5:].to_numpy().astype(float)
    yield Matrix("obs_scaling base models", values, np.zeros(values.shape, dtype=bool))


def simulated(n: int, seed: int = 0) -> Matrix:
    """Return a matrix with three traits, effects and noise of two points."""
    drawn = simulate_scores(
        Structure(n_sources=n, n_targets=n, source_sd=0.03, target_sd=0.03),
        rng=np.random.default_rng(seed),
        noise=0.02,
    )
    values = 100 * (drawn.scores.values - drawn.base.values)
    return Matrix(f"simulated {n} × {n}", values, np.eye(n, dtype=bool))


def curve(matrix: Matrix, *, planned: bool, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Measure more and more cells, and predict the rest after each round."""
    usable = matrix.usable
    total = int(usable.sum())
    measured = np.zeros(usable.shape, dtype=bool)
    for share in SHARES:
        need = round(share * total) - int(measured.sum())
        problem = matrix.problem(measured)
        if planned and measured.any():
            cells = next_cells(problem, need, candidates=usable).order
        else:
            left = np.argwhere(usable & ~measured)
            cells = left[rng.permutation(len(left))[:need]]
        measured[cells[:, 0], cells[:, 1]] = True
        yield {"share": share, **scores(matrix, matrix.problem(measured), rng)}


def scores(matrix: Matrix, problem: Problem, rng: np.random.Generator) -> dict[str, float]:
    """Compare the predictions of the rest with what is known of it."""
    rest = matrix.usable & ~problem.known
    complete = Complete(predictors=(TargetMean(), Additive(), Bayes()), confidence=CONFIDENCE)
    found = complete(problem, rng=rng, cells=rest)
    error = (found.values - matrix.values)[rest]
    inside = ((found.low <= matrix.values) & (matrix.values <= found.high))[rest]
    others = {
        predictor.name: predictor.fit(problem, rng=rng).values
        for predictor in (TargetMean(), Additive(), Bayes())
    }
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "spearman": order(matrix.values, found.values, rest),
        "coverage": float(inside.mean()),
        "width": float(np.median((found.high - found.low)[rest])),
        **{
            name: float(np.sqrt(((values - matrix.values)[rest] ** 2).mean()))
            for name, values in others.items()
        },
    }


def order(truth: np.ndarray, predicted: np.ndarray, rest: np.ndarray) -> float:
    """Mean rank correlation within targets over the cells that are not measured."""
    found = []
    for column in range(truth.shape[1]):
        here = rest[:, column]
        if here.sum() > 2 and min(np.ptp(m[here, column]) for m in (truth, predicted)) > 1e-9:
            found.append(stats.spearmanr(truth[here, column], predicted[here, column])[0])
    return float(np.nanmean(found)) if found else float("nan")


def curves(shared: Path) -> list[dict[str, Any]]:
    """Run every matrix with random and with planned cells."""
    rows = []
    for matrix in [*published(shared), simulated(30), simulated(60)]:
        repeats = REPEATS
        for planned in (False, True):
            for repeat in range(repeats):
                rng = np.random.default_rng(repeat)
                if matrix.name.startswith("simulated"):
                    chosen = simulated(len(matrix.values), repeat)
                else:
                    chosen = matrix
                start = {"matrix": matrix.name, "planned": planned, "repeat": repeat}
                rows += [start | row for row in curve(chosen, planned=planned, rng=rng)]
        print(matrix.name, flush=True)
    return rows


def evaluations(shared: Path) -> list[dict[str, Any]]:
    """Compare all predictors on every published matrix, under every protocol."""
    rows = []
    for matrix in published(shared):
        found = Evaluate(confidence=CONFIDENCE)(
            matrix.problem(matrix.usable), rng=np.random.default_rng(0)
        )
        rows += [{"matrix": matrix.name} | row for row in found.table.iter_rows(named=True)]
        print(matrix.name, flush=True)
    return rows


def timings() -> list[dict[str, Any]]:
    """Time completion and planning; memory is the peak of the whole process so far."""
    rows = []
    for n, share in ((100, 0.3), (1000, 0.05)):
        matrix = simulated(n)
        rng = np.random.default_rng(0)
        measured = matrix.usable & (rng.random(matrix.values.shape) < share)
        problem = matrix.problem(measured)
        tasks: dict[str, Callable[[Problem], Any]] = {
            "fit effects and directions": lambda p: Bayes().fit(p, rng=np.random.default_rng(0)),
            "complete with intervals": lambda p: Complete()(p, rng=np.random.default_rng(0)),
            "plan 1,000 cells": lambda p: next_cells(p, 1000),
        }
        for name, task in tasks.items():
            begin = time.perf_counter()
            task(replace(problem))
            rows.append(
                {
                    "size": f"{n} × {n}",
                    "share": share,
                    "task": name,
                    "seconds": time.perf_counter() - begin,
                    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
                    "load": os.getloadavg()[0],
                }
            )
            print(rows[-1], flush=True)
    return rows


def report(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["# Prediction and completion", "", results["machine"], ""]
    if "curves" in results:
        lines += _curves_report(pl.DataFrame(results["curves"]))
    if "evaluations" in results:
        lines += _evaluation_report(pl.DataFrame(results["evaluations"]))
    if "timings" in results:
        head = ("matrix", "measured", "task", "seconds", "peak GiB", "load")
        lines += ["## Time", "", *_table(*head)]
        lines += [
            f"| {r['size']} | {r['share']:.0%} | {r['task']} | {r['seconds']:.1f} |"
            f" {r['peak_gib']:.2f} | {r['load']:.1f} |"
            for r in results["timings"]
        ]
    return "\n".join(lines) + "\n"


_CURVE_HEAD = (
    *("measured", "target mean", "additive", "Bayesian", "chosen", "chosen, planned"),
    *("Spearman", "planned", "covered", "planned"),
)


def _table(*head: str) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]


def _curves_report(frame: pl.DataFrame) -> list[str]:
    lines = [
        "## From a share of the cells",
        "",
        f"RMSE in points of cells that were not measured; means over {REPEATS} random starts.",
        "A fifth is measured at random; then rounds are random or planned. Chosen: what predicts",
        "hidden cells best. Intervals are to cover 90 %.",
        "",
    ]
    for name in frame["matrix"].unique(maintain_order=True):
        lines += [f"### {name}", "", *_table(*_CURVE_HEAD)]
        for share in SHARES:
            part = frame.filter((pl.col("matrix") == name) & (pl.col("share") == share))
            one, two = (part.filter(pl.col("planned") == value) for value in (False, True))
            numbers = [
                *(f"{one[c].mean():.2f}" for c in ("target mean", "additive", Bayes.name, "rmse")),
                f"{two['rmse'].mean():.2f}",
                *(f"{p['spearman'].fill_nan(None).mean() or 0.0:.2f}" for p in (one, two)),
                *(f"{100 * p['coverage'].mean():.0f} %" for p in (one, two)),
            ]
            lines.append(f"| {share:.0%} | {' | '.join(numbers)} |")
        lines.append("")
    every = frame.group_by("planned", maintain_order=True).agg(pl.col("coverage").mean())
    means = {row["planned"]: row["coverage"] for row in every.iter_rows(named=True)}
    lines += [
        f"Covered over all: random {100 * means[False]:.1f} %, planned {100 * means[True]:.1f} %.",
        "",
    ]
    return lines


def _evaluation_report(frame: pl.DataFrame) -> list[str]:
    lines = [
        "## Predictors on published matrices",
        "",
        "RMSE in points and, in brackets, the rank correlation of the sources of a target.",
        "",
    ]
    predictors = frame["predictor"].unique(maintain_order=True).to_list()
    for protocol in frame["protocol"].unique(maintain_order=True):
        lines += [
            f"### {protocol}",
            "",
            *_table("matrix", *predictors),
        ]
        for name in frame["matrix"].unique(maintain_order=True):
            part = frame.filter((pl.col("matrix") == name) & (pl.col("protocol") == protocol))
            by_name = {row["predictor"]: row for row in part.iter_rows(named=True)}
            cells = [_cell(by_name[p]) if p in by_name else "–" for p in predictors]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _cell(row: dict[str, Any]) -> str:
    rmse, rank = row["rmse"], row["spearman"]
    error = "–" if np.isnan(rmse) else f"{rmse:.2f}"
    return error if np.isnan(rank) else f"{error} ({rank:.2f})"


def main() -> None:
    """Run the parts and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--part", choices=("curves", "evaluations", "timings"))
    given = parser.parse_args()
    file = RESULTS / "predict.json"
    results = json.loads(file.read_text("utf-8")) if file.exists() else {}
    cores = os.cpu_count()
    results["machine"] = f"{platform.machine()}, {cores} cores, one thread, NumPy {np.__version__}."
    parts: dict[str, Callable[[], Any]] = {
        "timings": timings,
        "curves": lambda: curves(given.shared),
        "evaluations": lambda: evaluations(given.shared),
    }
    for name, part in parts.items():
        if given.part in {None, name}:
            results[name] = part()
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            (RESULTS / "predict.md").write_text(report(results), encoding="utf-8")


if __name__ == "__main__":
    main()

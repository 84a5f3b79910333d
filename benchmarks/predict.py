"""How well the rest of a matrix is predicted from a share of its cells, and how fast.

``python benchmarks/predict.py --shared FOLDER`` writes ``benchmarks/results/predict.json`` and
``predict.md``; FOLDER holds the published matrices. ``--part`` runs one part, ``--matrix`` one
matrix of it, and keeps the others of the file.
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
DESIGNS = {
    "random": "rounds are drawn at random",
    "planned": "rounds are planned",
    "mixed": "three quarters of a round are planned, the rest is drawn at random",
}


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


def curve(matrix: Matrix, *, design: str, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Measure more and more cells, and predict the rest after each round."""
    usable = matrix.usable
    total = int(usable.sum())
    measured = np.zeros(usable.shape, dtype=bool)
    for share in SHARES:
        need = round(share * total) - int(measured.sum())
        problem = matrix.problem(measured)
        if design != "random" and measured.any():
            drawn = 0.25 if design == "mixed" else 0.0
            plan = next_cells(problem, need, candidates=usable, random_share=drawn, rng=rng)
            cells = plan.order
        else:
            left = np.argwhere(usable & ~measured)
            cells = left[rng.permutation(len(left))[:need]]
        measured[cells[:, 0], cells[:, 1]] = True
        yield {"share": share, **scores(matrix, matrix.problem(measured), rng)}


def scores(matrix: Matrix, problem: Problem, rng: np.random.Generator) -> dict[str, float]:
    """Compare the predictions of the rest with what is known of it."""
    rest = matrix.usable & ~problem.known
    predictors = (TargetMean(), Additive(), Bayes())
    complete = Complete(predictors=predictors, confidence=CONFIDENCE)
    found = complete(problem, rng=rng, cells=rest)
    error = (found.values - matrix.values)[rest]
    finite = rest & np.isfinite(found.low)
    inside = ((found.low <= matrix.values) & (matrix.values <= found.high))[finite]
    others = {predictor.name: predictor.fit(problem, rng=rng).values for predictor in predictors}
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "spearman": order(matrix.values, found.values, rest),
        "coverage": float(inside.mean()) if inside.size else float("nan"),
        "finite": float(finite.sum() / rest.sum()),
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


def curves(shared: Path, only: str | None) -> list[dict[str, Any]]:
    """Run every matrix with random, planned and mixed rounds."""
    rows = []
    for matrix in chosen(shared, only):
        for design in DESIGNS:
            for repeat in range(repeats(matrix)):
                rng = np.random.default_rng(repeat)
                # A simulated matrix is another one in each repetition.
                drawn = matrix.name.startswith("simulated")
                one = simulated(len(matrix.values), repeat) if drawn else matrix
                start = {"matrix": matrix.name, "design": design, "repeat": repeat}
                rows += [start | row for row in curve(one, design=design, rng=rng)]
        print(matrix.name, flush=True)
    return rows


def chosen(shared: Path, only: str | None) -> list[Matrix]:
    """Return the matrix of this name, or those whose names contain it."""
    every = [*published(shared), simulated(16), simulated(30), simulated(60)]
    exact = [matrix for matrix in every if matrix.name == only]
    return exact or [matrix for matrix in every if only is None or only in matrix.name]


def repeats(matrix: Matrix) -> int:
    """Return how often to begin anew: often where a matrix has few cells to count."""
    return int(np.clip(4_000 // matrix.values.size, 8, 40))


def evaluations(shared: Path, only: str | None) -> list[dict[str, Any]]:
    """Compare all predictors on every published matrix, under every protocol."""
    rows = []
    for matrix in chosen(shared, only):
        if matrix.name.startswith("simulated"):
            continue
        found = Evaluate(confidence=CONFIDENCE)(
            matrix.problem(matrix.usable), rng=np.random.default_rng(0)
        )
        rows += [{"matrix": matrix.name} | row for row in found.table.iter_rows(named=True)]
        print(matrix.name, flush=True)
    return rows


MERGES = {
    "flan_t5_base_fullft": "flan_t5_base_glue_fullft",
    "flan_t5_base_lora16": "flan_t5_base_glue_lora16",
    "flan_t5_large_lora16": "flan_t5_large_glue_lora16",
}
"""Published table of merged models -> table of the models that they are merged from."""


def merges(shared: Path) -> list[dict[str, Any]]:
    """Compare published gains of merged models with what the single ones' gains suggest."""
    folder = shared / "matrices" / "fusion_bench"
    rows = []
    for merged, single in MERGES.items():
        table = pl.read_csv(folder / f"{single}.csv")
        tasks = [c for c in table.columns if c not in {"Model", "Average"}]
        gains = table.select(tasks).to_numpy()[1:] - table.select(tasks).to_numpy()[0]
        published = pl.read_csv(folder / f"merge_{merged}.csv").drop_nulls("CoLA")
        scores = published[:, 1 : 1 + len(tasks)].to_numpy()
        guesses = {
            "nothing": np.zeros(len(tasks)),
            "mean of the gains": gains.mean(axis=0),
            "mean of the gains above 0": np.maximum(gains, 0.0).mean(axis=0),
            "own gain / 8": np.diag(gains) / len(gains),
        }
        for method, row in zip(published["Method"][2:], scores[2:] - scores[0], strict=True):
            errors = {k: float(np.sqrt(((row - v) ** 2).mean())) for k, v in guesses.items()}
            rows.append({"merged": merged, "method": method.split(" (")[0], **errors})
    return [*rows, _average_as_arithmetic(folder)]


def _average_as_arithmetic(folder: Path) -> dict[str, Any]:
    """Compare the simple average of eight with task arithmetic between 0.1 and 0.2."""
    scaling = pl.read_csv(folder / "task_arithmetic_scaling_flan_t5_base_lora16.csv")
    scores = scaling[:, 1:9].to_numpy()
    between = scores[1] + 0.25 * (scores[2] - scores[1])
    table = pl.read_csv(folder / "merge_flan_t5_base_lora16.csv").drop_nulls("CoLA")
    average = table[2, 1:9].to_numpy()[0]
    third = table[3, 1:9].to_numpy()[0]
    return {
        "merged": "flan_t5_base_lora16",
        "method": "Simple Average as task arithmetic at 1/8",
        "differences": np.abs(average - between).round(2).tolist(),
        "differences at 0.3": np.abs(third - scores[3]).round(2).tolist(),
    }


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
    if "merges" in results:
        lines += _merges_report(results["merges"])
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
    *("measured", "target mean", "additive", "Bayesian"),
    *(f"{what}, {design}" for what in ("RMSE", "covered") for design in DESIGNS),
    *("Spearman, random", "Spearman, mixed"),
)


def _table(*head: str) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]


def _curves_report(frame: pl.DataFrame) -> list[str]:
    lines = [
        "## From a share of the cells",
        "",
        "RMSE in points of the cells that were not measured: of three predictors after random",
        "rounds, then of what predicts hidden cells best. A fifth is measured at random. Then:",
        "",
        *(f"- {name}: {what}" for name, what in DESIGNS.items()),
        "",
        "± is the standard error over repetitions. Intervals are to cover 90 %; covered counts",
        "the cells that have a finite one, and where few have, their share stands in brackets.",
        "",
    ]
    for name in frame["matrix"].unique(maintain_order=True):
        part = frame.filter(pl.col("matrix") == name)
        n = part["repeat"].n_unique()
        lines += [f"### {name} ({n} repetitions)", "", *_table(*_CURVE_HEAD)]
        lines += [_curve_row(part, share) for share in SHARES]
        lines.append("")
    return [*lines, *_coverage_report(frame)]


def _curve_row(part: pl.DataFrame, share: float) -> str:
    rows = {
        design: part.filter((pl.col("share") == share) & (pl.col("design") == design))
        for design in DESIGNS
    }
    random, mixed = rows["random"], rows["mixed"]
    cells = [
        *(f"{random[name].mean():.2f}" for name in ("target mean", "additive", Bayes.name)),
        *(_with_error(one["rmse"], 1.0, 2) for one in rows.values()),
        *(_covered(one) for one in rows.values()),
        *(f"{one['spearman'].fill_nan(None).mean() or 0.0:.2f}" for one in (random, mixed)),
    ]
    return f"| {share:.0%} | {' | '.join(cells)} |"


def _covered(rows: pl.DataFrame) -> str:
    known = rows.filter(pl.col("coverage").is_not_nan())
    finite = float(rows["finite"].mean())
    if not known.height:
        return "–"
    few = f" ({finite:.0%})" if finite < 0.95 else ""
    return _with_error(known["coverage"], 100.0, 1) + few


def _with_error(values: pl.Series, scale: float, digits: int) -> str:
    numbers = scale * values.to_numpy()
    error = numbers.std(ddof=1) / np.sqrt(len(numbers)) if len(numbers) > 1 else float("nan")
    return f"{numbers.mean():.{digits}f} ± {error:.{digits}f}"


def _coverage_report(frame: pl.DataFrame) -> list[str]:
    # Shares of one repetition are not independent: one number per matrix and repetition.
    known = frame.filter(pl.col("coverage").is_not_nan())
    means = known.group_by("matrix", "design", "repeat").agg(pl.col("coverage").mean())
    lines = ["### Covered, all shares together", "", *_table("matrix", *DESIGNS)]
    for name in frame["matrix"].unique(maintain_order=True):
        cells = [
            _with_error(
                means.filter((pl.col("matrix") == name) & (pl.col("design") == design))["coverage"],
                100.0,
                1,
            )
            for design in DESIGNS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _merges_report(rows: list[dict[str, Any]]) -> list[str]:
    *compared, arithmetic = rows
    names = [name for name in compared[0] if name not in {"merged", "method"}]
    lines = [
        "## Merged models of fusion_bench",
        "",
        "Only scores are published, no adapters, so peft's arithmetic cannot be repeated here.",
        "Gains of merged models against what the single models' gains suggest, RMSE in points",
        "over eight tasks:",
        "",
        *_table("merged", "method", *names),
    ]
    for row in compared:
        cells = " | ".join(f"{row[name]:.2f}" for name in names)
        lines.append(f"| {row['merged']} | {row['method']} | {cells} |")
    apart = ", ".join(f"{x:.1f}" for x in arithmetic["differences"])
    same = max(arithmetic["differences at 0.3"])
    return [
        *lines,
        "",
        "The simple average of eight is task arithmetic with λ = 1/8. Published scores of the",
        "first differ from the published curve of the second, read at 1/8, by",
        f"{apart} points. The one",
        "large difference is RTE, 90.5 against 80.2: above that model's own fine-tune (84.4), and",
        f"probably 80.5. At λ = 0.3 both tables agree to {same:.1f} points.",
        "",
    ]


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
    parser.add_argument("--part", choices=("curves", "evaluations", "merges", "timings", "report"))
    parser.add_argument("--matrix", help="part of a name")
    given = parser.parse_args()
    file = RESULTS / "predict.json"
    results = json.loads(file.read_text("utf-8")) if file.exists() else {}
    cores = os.cpu_count()
    results["machine"] = f"{platform.machine()}, {cores} cores, one thread, NumPy {np.__version__}."
    parts: dict[str, Callable[[], Any]] = {
        "timings": timings,
        "curves": lambda: curves(given.shared, given.matrix),
        "evaluations": lambda: evaluations(given.shared, given.matrix),
        "merges": lambda: merges(given.shared),
    }
    for name, part in parts.items():
        if given.part in {None, name}:
            new = part()
            # Read again: another part may have been written meanwhile.
            results = json.loads(file.read_text("utf-8")) if file.exists() else results
            results[name] = _merged(results.get(name, []), new)
            file.write_text(_written(results), encoding="utf-8")
    (RESULTS / "predict.md").write_text(report(results), encoding="utf-8")


def _written(results: dict[str, Any]) -> str:
    """Return the results as JSON, a row to a line; four digits of what varies by far more."""

    def line(row: dict[str, Any]) -> str:
        short = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}
        return json.dumps(short, ensure_ascii=False)

    parts = [
        f"{json.dumps(name)}: " + (
            "[\n" + ",\n".join(map(line, value)) + "\n]" if isinstance(value, list)
            else json.dumps(value)
        )
        for name, value in results.items()
    ]  # fmt: skip
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of which those of the same matrix are replaced."""
    redone = {row.get("matrix") for row in new}
    return [*(row for row in old if row.get("matrix") not in redone), *new]


if __name__ == "__main__":
    main()

"""Time the attribution of every gain of a large study, and compare it with a plain loop.

``python benchmarks/explain.py`` makes a study of 100 adapters × 100 tasks × 1,000 examples with
`transferlens.testing` (half of the tasks with written answers of all lengths, half with
likelihoods of two labels) and attributes all gains with 200 resamples each. A plain loop, cell
by cell and resample by resample, does the same for a few cells; the two run in turn in this
process, and their numbers must agree. It writes ``benchmarks/results/explain.json`` and
``explain.md``. Set OMP_NUM_THREADS=1 and POLARS_MAX_THREADS=1 for one core.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from math import factorial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from calibration import RESULTS, hardware

from transferlens.explain import MECHANISMS, Attribution
from transferlens.explain.answers import TargetAnswers, iter_answers, read_answers
from transferlens.explain.attribution import _contributions, _parts, _prior_effects, _worth
from transferlens.explain.prior import SMOOTHING, counts_with_preferences, preferences
from transferlens.explain.resample import draw_weights, placed_sums
from transferlens.explain.strata import _Bins, fill, strata_of, strata_sums
from transferlens.results import TransferStudy, open_study, write_study
from transferlens.testing import Behaviour, simulate_mechanisms

GOAL = 30.0
KINDS = 10
"""Different tasks; the others are copies of them under other names."""
RESAMPLES = 200


def simulate(folder: Path, n: int, n_examples: int) -> None:
    """Write the study."""
    rng = np.random.default_rng(0)
    adapters = {
        f"source_{at:03d}": Behaviour(
            skill=rng.uniform(0.3, 1.5),
            bias=rng.normal(),
            length=rng.uniform(8.0, 40.0),
            readable=rng.uniform(0.6, 1.0),
        )
        for at in range(n)
    }
    base = Behaviour(skill=0.6, bias=1.0, length=14.0, readable=0.7)
    kinds = [
        simulate_mechanisms(
            base, adapters, rng=rng, n_examples=n_examples, by_length=1.0, likelihoods=kind % 2 == 1
        ).study.predictions.collect()
        for kind in range(min(n, KINDS))
    ]
    frames = [
        kinds[at % len(kinds)].with_columns(target=pl.lit(f"target_{at:03d}")) for at in range(n)
    ]
    write_study(TransferStudy.from_predictions(pl.concat(frames)), folder)


def seconds(work: Callable[[], Any]) -> float:
    """Return the processor seconds of a call: other programs on the machine do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ours(answers: TargetAnswers, weights: np.ndarray) -> np.ndarray:
    """Return gain and mechanisms of all cells at once, (part, source, resample)."""
    parts = [
        _contributions(strata_of(strata_sums(part, weights)), _prior_effects(part, weights))
        for part in _parts(answers)
    ]
    return np.concatenate(
        [np.stack([part[name] for name in ("gain", *MECHANISMS)]) for part in parts], axis=1
    )


def plain(answers: TargetAnswers, source: int, weights: np.ndarray) -> np.ndarray:
    """Do one cell with written answers, resample by resample, (part, resample)."""
    example = np.arange(len(answers.example))
    bins = _Bins.of(answers)
    sides = []
    for model in (0, 1 + source):
        of = np.full_like(example, model)
        stratum = bins.stratum(answers, np.full_like(example, source), of, 0, example)
        sides.append((stratum, answers.answer[model, 0], answers.score[model, 0]))
    worth = _worth(answers)[source, 0]
    found = []
    for column in weights.T:
        drawn = np.repeat(example, column.astype(np.int64))
        tables = [_plain_table(side, drawn, bins.n + 1) for side in sides]
        counts = np.stack([_plain_counts(side, answers, drawn) for side in sides])
        moved = counts_with_preferences(counts, preferences(counts)[::-1])
        smooth = counts + SMOOTHING
        prior = worth * (
            moved.trace(axis1=1, axis2=2) / moved.sum(axis=(1, 2))
            - smooth.trace(axis1=1, axis2=2) / smooth.sum(axis=(1, 2))
        )
        found.append(_plain_parts(tables, prior))
    return np.array(found).T


def _plain_table(side: tuple[np.ndarray, ...], drawn: np.ndarray, n: int) -> list[np.ndarray]:
    """Return share, readable share, and mean scores of read and unread answers, by stratum."""
    stratum, answer, score = (values[drawn] for values in side)
    read = answer >= 0
    count, of_read = (np.bincount(stratum, w, n) for w in (np.ones(len(drawn)), read))
    with np.errstate(invalid="ignore"):
        return [
            count / len(drawn),
            of_read / count,
            np.bincount(stratum, score * read, n) / of_read,
            np.bincount(stratum, score * ~read, n) / (count - of_read),
        ]


def _plain_counts(
    side: tuple[np.ndarray, ...], answers: TargetAnswers, drawn: np.ndarray
) -> np.ndarray:
    K = len(answers.labels)
    answer, gold = side[1][drawn], answers.gold[drawn]
    use = (answer >= 0) & (gold >= 0)
    return np.bincount(gold[use] * K + answer[use], minlength=K * K).reshape(K, K).astype(float)


def _plain_parts(tables: list[list[np.ndarray]], prior: np.ndarray) -> list[float]:
    """Return the gain and each mechanism's Shapley value."""
    filled = [
        [tables[own][0], *(fill(tables[own][k], tables[1 - own][k]) for k in (1, 2, 3))]
        for own in range(2)
    ]

    def value(taken: frozenset[str]) -> float:
        own = int("skill" in taken)
        share = filled[int("length" in taken)][0]
        readable = filled[int("format" in taken)][1]
        _, _, read, unread = filled[own]
        score = (share * (readable * read + (1.0 - readable) * unread)).sum()
        return score + (("prior" in taken) != bool(own)) * (share * readable).sum() * prior[own]

    parts = []
    for name in MECHANISMS:
        others = [other for other in MECHANISMS if other != name]
        total = 0.0
        for size in range(4):
            weight = factorial(size) * factorial(3 - size) / factorial(4)
            for members in combinations(others, size):
                total += weight * (value(frozenset((*members, name))) - value(frozenset(members)))
        parts.append(total)
    return [value(frozenset(MECHANISMS)) - value(frozenset()), *parts]


def beside(study: TransferStudy, repeats: int, n_cells: int) -> dict[str, float]:
    """Run ours on all cells of a written task and the plain loop on some of them, in turn."""
    answers = read_answers(study, study.targets[0].name)
    weights = draw_weights(
        np.random.default_rng(0), n_resamples=RESAMPLES, n_examples=len(answers.example)
    )
    n_sources = len(answers.models) - 1
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    off = 0.0
    for repeat in range(repeats):
        start = time.process_time()
        together = ours(answers, weights)
        times["ours"].append((time.process_time() - start) / n_sources)
        for cell in range(repeat * n_cells, (repeat + 1) * n_cells):
            start = time.process_time()
            alone = plain(answers, cell % n_sources, weights)
            times["plain"].append(time.process_time() - start)
            off = max(off, float(np.abs(together[:, cell % n_sources] - alone).max()))
    found = {f"{name}, s per cell": median(values) for name, values in times.items()}
    return {**found, "ratio": found["plain, s per cell"] / found["ours, s per cell"], "off": off}


def bound(study: TransferStudy, repeats: int) -> dict[str, float]:
    """Return the time of what cannot be left out.

    The stored answers are read and decoded once, and each answer is multiplied by how often
    its example was drawn, once for the number of answers and once for their score.
    """
    reading = min(seconds(lambda: sum(1 for _ in iter_answers(study))) for _ in range(repeats))
    answers = read_answers(study, study.targets[0].name)
    n, n_sources = len(answers.example), len(answers.models) - 1
    weights = draw_weights(np.random.default_rng(0), n_resamples=RESAMPLES, n_examples=n)
    example = np.tile(np.arange(n), 4 * n_sources)
    place = np.repeat(np.arange(4 * n_sources), n)
    values = np.ones(len(place))

    def product() -> None:
        placed_sums(place, example, values, n_places=4 * n_sources, weights=weights)

    once = median(seconds(product) for _ in range(2 * repeats + 1))
    return {"reading": reading, "products": once * len(study.targets)}


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    report: dict[str, Any] = {
        "n": arguments.adapters,
        "n_examples": arguments.examples,
        "resamples": RESAMPLES,
        "hardware": hardware(),
        "load at the start": round(os.getloadavg()[0], 2),
    }
    with tempfile.TemporaryDirectory(prefix="explain-") as place:
        folder = Path(place) / "study"
        simulate(folder, arguments.adapters, arguments.examples)
        wall, cpu = [], []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            cpu.append(
                seconds(lambda: Attribution()(open_study(folder), rng=np.random.default_rng(0)))
            )
            wall.append(time.perf_counter() - start)
        report |= {"seconds": median(wall), "CPU seconds": median(cpu)}
        study = open_study(folder)
        report["bound"] = bound(study, arguments.repeats)
        report["beside"] = beside(study, arguments.repeats, arguments.cells)
    report["load at the end"] = round(os.getloadavg()[0], 2)
    return report


def markdown(report: dict[str, Any]) -> str:
    """Lay the report out as tables."""
    n, n_examples = report["n"], report["n_examples"]
    share = sum(report["bound"].values()) / report["CPU seconds"]
    met = "met" if report["CPU seconds"] <= GOAL else "missed"
    pair, least = report["beside"], report["bound"]
    lines = [
        "# Attribution of all gains of a large study",
        "",
        f"{n} adapters × {n} tasks × {n_examples} examples, {report['resamples']} resamples; half "
        "of the tasks with written answers, half with likelihoods. "
        + "; ".join(f"{name}: {value}" for name, value in report["hardware"].items())
        + ". Processor seconds of one core; by the clock it took "
        f"{report['seconds']:.0f} s, at a load of {report['load at the start']} before and "
        f"{report['load at the end']} after.",
        "",
        "| step | value |",
        "|---|---|",
        f"| all gains attributed, with intervals | {report['CPU seconds']:.1f} s |",
        f"| reading the answers alone | {least['reading']:.1f} s |",
        f"| one multiplication per answer, sum and resample | {least['products']:.1f} s |",
        f"| share of the bound: the last two over the first | {share:.0%} |",
        f"| ours, per cell with written answers | {1e3 * pair['ours, s per cell']:.2f} ms |",
        f"| plain loop, per cell | {1e3 * pair['plain, s per cell']:.0f} ms |",
        f"| ratio (medians, in turn) | {pair['ratio']:.0f} |",
        f"| largest difference between the two | {pair['off']:.0e} |",
        "",
        f"Goal for attribution: at most {GOAL:.0f} s of one core; {met}.",
        "",
        "Written by `python benchmarks/explain.py`.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=100)
    parser.add_argument("--examples", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cells", type=int, default=3, help="cells of the plain loop")
    report = run(parser.parse_args())
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(report, indent=2) + "\n"
    Path(RESULTS, "explain.json").write_text(text, encoding="utf-8")
    Path(RESULTS, "explain.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()

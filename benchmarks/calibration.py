"""Do the tests err as often as they say? Simulated matrices with a known truth.

``python benchmarks/calibration.py`` writes ``benchmarks/results/calibration.json``
and ``calibration.md``. The test suite runs the same functions on fewer matrices.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats as sps

from transferlens import stats

RESULTS = Path(__file__).parent / "results"
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class World:
    """A target on which several adapters, each trained with several seeds, are evaluated."""

    n_sources: int = 10
    n_seeds: int = 3
    n_examples: int = 1000
    seed_sd: float = 0.02
    """Standard deviation of the true accuracy between training runs, as a fraction."""
    uneven: bool = False
    """Whether half of the sources have no training variance and half have double variance."""
    effect: float = 0.0
    effect_share: float = 0.0
    """Share of the sources, the first ones, that have the effect."""


class Draw(NamedTuple):
    """One simulated target."""

    adapted: np.ndarray
    """0 or 1, (source, seed, example)."""
    base: np.ndarray
    """0 or 1, (example,)."""
    truth: np.ndarray
    """True gain per source."""


def simulate(world: World, rng: np.random.Generator) -> Draw:
    """Draw one target: easy and hard examples, a base, and adapters with training variance.

    A run shifts the probability of every example by the same amount, so that
    the true gain is exactly the mean shift. Models disagree on about 25 percent.
    """
    margin = 0.1
    easiness = margin + (1.0 - 2.0 * margin) * rng.beta(0.15, 0.15, world.n_examples)
    sd = np.full(world.n_sources, world.seed_sd)
    if world.uneven:
        sd[::2], sd[1::2] = 0.0, world.seed_sd * np.sqrt(2.0)
    truth = np.zeros(world.n_sources)
    truth[: round(world.effect_share * world.n_sources)] = world.effect
    run = rng.standard_normal((world.n_sources, world.n_seeds)) * sd[:, None]
    # Shifts beyond the margin would leave the range of a probability.
    shift = np.clip(run + truth[:, None], -margin, margin)
    chance = easiness + shift[:, :, None]
    adapted = rng.random(chance.shape) < chance
    base = rng.random(world.n_examples) < easiness
    return Draw(adapted.astype(np.float64), base.astype(np.float64), truth)


class Outcome(NamedTuple):
    """P-values and intervals of one method on one target, (source,) each."""

    p_value: np.ndarray
    low: np.ndarray
    high: np.ndarray


Method = Callable[[Draw, np.random.Generator], Outcome]


def two_way(draw: Draw, _: np.random.Generator) -> Outcome:
    """Return the library's default with several seeds."""
    test = stats.two_way_test(draw.adapted - draw.base)
    return Outcome(test.p_value, test.low, test.high)


def two_way_unpooled(draw: Draw, _: np.random.Generator) -> Outcome:
    """Return the two-way test with each source's own training variance."""
    test = stats.two_way_test(draw.adapted - draw.base, pool=False)
    return Outcome(test.p_value, test.low, test.high)


def naive(draw: Draw, _: np.random.Generator) -> Outcome:
    """Treat seeds × examples as independent, as is often done."""
    flat = (draw.adapted - draw.base).reshape(len(draw.adapted), -1)
    return _t_test(flat)


def seeds_only(draw: Draw, _: np.random.Generator) -> Outcome:
    """Return Student's t test on the seeds' mean gains."""
    return _t_test((draw.adapted - draw.base).mean(axis=2))


def _t_test(values: np.ndarray) -> Outcome:
    n = values.shape[1]
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(n)
    half = sps.t.ppf(1.0 - LEVEL / 2.0, n - 1) * error
    p_value = 2.0 * sps.t.sf(np.abs(mean) / np.maximum(error, 1e-12), n - 1)
    return Outcome(p_value, mean - half, mean + half)


def _mcnemar(method: stats.McNemarMethod) -> Method:
    def run(draw: Draw, _: np.random.Generator) -> Outcome:
        test = stats.mcnemar_cells(draw.adapted[:, 0], draw.base, method=method)
        return Outcome(test.p_value, test.low, test.high)

    return run


def sign_flip(draw: Draw, rng: np.random.Generator) -> Outcome:
    """Return the sign-flip test of the first run."""
    test = stats.sign_flip_cells(draw.adapted[:, 0], draw.base, rng=rng, n_resamples=999)
    return Outcome(test.p_value, test.low, test.high)


def _bootstrap(method: stats.BootstrapMethod) -> Method:
    def run(draw: Draw, rng: np.random.Generator) -> Outcome:
        test = stats.bootstrap_cells(
            draw.adapted[:, 0], draw.base, rng=rng, n_resamples=999, method=method
        )
        return Outcome(test.p_value, test.low, test.high)

    return run


METHODS: dict[str, Method] = {
    "two-way": two_way,
    "two-way, unpooled": two_way_unpooled,
    "seeds × examples pooled": naive,
    "t test on seeds": seeds_only,
    "McNemar mid-p": _mcnemar("mid-p"),
    "McNemar exact": _mcnemar("exact"),
    "McNemar chi2": _mcnemar("chi2"),
    "McNemar chi2-corrected": _mcnemar("chi2-corrected"),
    "sign flip": sign_flip,
    "bootstrap BCa": _bootstrap("bca"),
    "bootstrap percentile": _bootstrap("percentile"),
}
WITH_SEEDS = ("two-way", "two-way, unpooled", "seeds × examples pooled", "t test on seeds")
ONE_RUN = tuple(name for name in METHODS if name not in WITH_SEEDS)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Error rates of one method in one world; NaN where the world has no such cells."""

    method: str
    type_1: float
    """Share of null cells with p <= 0.05."""
    type_1_error: float
    """Monte-Carlo standard error of it, with matrices as clusters."""
    power: float
    coverage: float
    fdp: float
    """Mean share of false discoveries among the Benjamini-Hochberg discoveries."""
    bh_power: float
    any_false: float
    """Share of matrices with any Holm discovery among null cells."""


def rates(
    world: World,
    methods: tuple[str, ...],
    *,
    n_matrices: int,
    rng: np.random.Generator,
    n_targets: int = 1,
) -> list[Rates]:
    """Run methods on the same simulated matrices; a matrix has ``n_targets`` targets."""
    records: dict[str, list[list[float]]] = {name: [] for name in methods}
    for _ in range(n_matrices):
        draws = [simulate(world, rng) for _ in range(n_targets)]
        for name in methods:
            outcomes = [METHODS[name](draw, rng) for draw in draws]
            records[name].append(_score(draws, outcomes))
    return [_summary(name, np.array(records[name])) for name in methods]


def _score(draws: list[Draw], outcomes: list[Outcome]) -> list[float]:
    truth = np.concatenate([draw.truth for draw in draws])
    p, low, high = (np.concatenate(parts) for parts in zip(*outcomes, strict=True))
    null, found = truth == 0.0, stats.adjust_p_values(p) <= LEVEL
    return [
        _mean((p <= LEVEL)[null]),
        _mean((p <= LEVEL)[~null]),
        _mean((low <= truth) & (truth <= high)),
        (found & null).sum() / max(found.sum(), 1),
        _mean(found[~null]),
        float((stats.adjust_p_values(p, method="holm") <= LEVEL)[null].any()),
    ]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _summary(name: str, table: np.ndarray) -> Rates:
    mean = table.mean(axis=0)
    error = table[:, 0].std(ddof=1) / np.sqrt(len(table))
    return Rates(
        method=name,
        type_1=float(mean[0]),
        type_1_error=float(error),
        power=float(mean[1]),
        coverage=float(mean[2]),
        fdp=float(mean[3]),
        bh_power=float(mean[4]),
        any_false=float(mean[5]),
    )


def max_t_rates(world: World, *, n_matrices: int, rng: np.random.Generator) -> dict[str, float]:
    """Familywise error and power of max-T and of Holm on one run, 5 targets per matrix."""
    counts = {"max-T": [0.0, 0.0], "Holm": [0.0, 0.0]}
    for _ in range(n_matrices):
        draws = [simulate(world, rng) for _ in range(5)]
        null = np.concatenate([draw.truth for draw in draws]) == 0.0
        tables = [draw.adapted[:, 0] - draw.base for draw in draws]
        raw = np.concatenate(
            [stats.mcnemar_cells(draw.adapted[:, 0], draw.base).p_value for draw in draws]
        )
        for name, p in (
            ("max-T", np.concatenate(stats.max_t(tables, rng=rng, n_resamples=999))),
            ("Holm", stats.adjust_p_values(raw, method="holm")),
        ):
            counts[name][0] += (p <= LEVEL)[null].any() / n_matrices
            counts[name][1] += _mean((p <= LEVEL)[~null]) / n_matrices
    return {
        f"{name}, {what}": float(value)
        for name, pair in counts.items()
        for what, value in zip(("any false", "power"), pair, strict=True)
    }


SCENARIOS: dict[str, tuple[World, tuple[str, ...], int]] = {
    "3 seeds, n = 1000, seed SD 2 points, no effects": (World(), WITH_SEEDS, 1),
    "3 seeds, n = 200, seed SD 2 points, no effects": (World(n_examples=200), WITH_SEEDS, 1),
    "3 seeds, n = 1000, no training variance, no effects": (World(seed_sd=0.0), WITH_SEEDS, 1),
    "2 seeds, 10 sources, no effects": (World(n_seeds=2), WITH_SEEDS, 1),
    "3 seeds, 3 sources, no effects": (World(n_sources=3), WITH_SEEDS, 1),
    "2 seeds, 2 sources, no effects": (World(n_sources=2, n_seeds=2), WITH_SEEDS, 1),
    "3 seeds, training variance uneven between sources, no effects": (
        World(uneven=True),
        WITH_SEEDS,
        1,
    ),
    "3 seeds, 30 % of the cells gain 5 points, 5 targets": (
        World(effect=0.05, effect_share=0.3),
        WITH_SEEDS,
        5,
    ),
    "1 run, n = 1000, no effects": (World(n_seeds=1, seed_sd=0.0), ONE_RUN, 1),
    "1 run, n = 200, no effects": (World(n_seeds=1, seed_sd=0.0, n_examples=200), ONE_RUN, 1),
    "1 run, n = 50, no effects": (World(n_seeds=1, seed_sd=0.0, n_examples=50), ONE_RUN, 1),
    "1 run, n = 1000, 30 % of the cells gain 5 points, 5 targets": (
        World(n_seeds=1, seed_sd=0.0, effect=0.05, effect_share=0.3),
        ("McNemar mid-p", "sign flip", "bootstrap BCa"),
        5,
    ),
    "1 run with seed SD 2 points, which one run cannot show": (
        World(n_seeds=1),
        ("McNemar mid-p", "sign flip"),
        1,
    ),
}


def hardware() -> dict[str, str | int | None]:
    """Name the processor and count its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads used": os.environ.get("OMP_NUM_THREADS", "default"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _cell(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def markdown(report: dict) -> str:
    """Lay the report out as tables, all rates in percent."""
    machine = report["hardware"]
    lines = ["# Calibration of the tests", ""]
    lines.append(
        f"{report['n_matrices']} simulated matrices per world, nominal level 5 %, "
        f"{report['seconds']:.0f} s on {machine['cpu']} ({machine['cores']} cores, "
        f"{machine['threads used']} thread). All numbers are percentages. "
        "FDP: mean share of false discoveries under Benjamini-Hochberg; "
        "any false: matrices with a false discovery under Holm."
    )
    for title, rows in report["worlds"].items():
        lines += [
            "",
            f"## {title}",
            "",
            "| method | type I (± MC error) | power | coverage | FDP | BH power | any false |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            shown = [_cell(row[k]) for k in ("power", "coverage", "fdp", "bh_power", "any_false")]
            first = f"{_cell(row['type_1'])} ± {_cell(row['type_1_error'])}"
            lines.append("| " + " | ".join([row["method"], first, *shown]) + " |")
    for title, rows in report["familywise"].items():
        lines += ["", f"## {title}", "", "| quantity | % |", "|---|---|"]
        lines += [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every scenario and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--matrices", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    start, worlds, n = time.perf_counter(), {}, arguments.matrices
    for title, (world, methods, n_targets) in SCENARIOS.items():
        found = rates(world, methods, n_matrices=n, rng=rng, n_targets=n_targets)
        worlds[title] = [vars(row) for row in found]
        print(f"{time.perf_counter() - start:6.0f} s  {title}", flush=True)
        for row in found:
            print(
                f"    {row.method:26s} type I {row.type_1:.4f} ± {row.type_1_error:.4f}"
                f"  power {row.power:.3f}  coverage {row.coverage:.4f}  FDP {row.fdp:.4f}",
                flush=True,
            )
    single = World(n_seeds=1, seed_sd=0.0, effect=0.05, effect_share=0.3)
    report = {
        "n_matrices": n,
        "seed": arguments.seed,
        "hardware": hardware(),
        "worlds": worlds,
        "familywise": {
            "1 run, 30 % of 50 cells gain 5 points, familywise error": max_t_rates(
                single, n_matrices=n, rng=rng
            )
        },
    }
    report["seconds"] = round(time.perf_counter() - start, 1)
    RESULTS.mkdir(exist_ok=True)
    # Strict JSON has no NaN; the reader's round trip turns it into null.
    strict = json.loads(json.dumps(report), parse_constant=lambda _: None)
    (RESULTS / "calibration.json").write_text(json.dumps(strict, indent=1) + "\n")
    (RESULTS / "calibration.md").write_text(markdown(report))


if __name__ == "__main__":
    main()

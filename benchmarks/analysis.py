"""Time the matrix and the traits of a large study, and compare them with the bound.

``python benchmarks/analysis.py`` makes a study of 100 adapters × 100 tasks × 1,000 examples
(10.1 million predictions, the base's among them) with `transferlens.testing`, measures each
step in a process of its own, and writes ``benchmarks/results/analysis.json`` and
``analysis.md``. Set OMP_NUM_THREADS to say how many threads NumPy may use. What does not
fit into ``--budget`` seconds is left out, and the tables say so.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from calibration import RESULTS, hardware

GOALS = {"matrix": (10.0, 2048.0), "traits": (20.0, float("inf"))}
STEP = ("seconds", "CPU seconds", "peak MiB")
GROWTH = (10, 30, 100, 300, 1000)
LONGEST = 300.0
"""Seconds after which one measurement is stopped."""


def simulate(folder: Path, n: int, n_examples: int) -> dict[str, float]:
    """Write a study of n adapters × n tasks; a fifth of the tasks is graded."""
    from transferlens.testing import Sampling, Structure, simulate_study

    start = time.perf_counter()
    strengths = (0.06, 0.05, 0.04)[: max(1, min(3, n - 1))]
    simulate_study(
        Structure(n_sources=n, n_targets=n, strengths=strengths),
        Sampling(n_examples=n_examples, graded=n // 5, likelihoods=True),
        rng=np.random.default_rng(0),
        path=folder,
    )
    return {"seconds": time.perf_counter() - start}


def matrix(folder: Path) -> dict[str, float]:
    """Open the study and compute its matrix with evidence."""
    from transferlens.results import open_study
    from transferlens.transfer import transfer_matrix

    start = time.perf_counter()
    found = transfer_matrix(open_study(folder))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "significant": float(found.significant().sum())}


def traits(folder: Path) -> dict[str, float]:
    """Open the study and decompose it, with 1,000 bootstraps of both kinds."""
    from transferlens.results import open_study
    from transferlens.traits import decompose_traits

    start = time.perf_counter()
    found = decompose_traits(open_study(folder), rng=np.random.default_rng(0))
    seconds = time.perf_counter() - start
    if found.over_examples is None:
        message = "the study has predictions, but nothing was drawn from them"
        raise RuntimeError(message)
    return {
        "seconds": seconds,
        "traits": found.n_traits,
        "resamples over examples": len(found.over_examples.congruence),
        "resamples over sources": len(found.over_sources.congruence),
    }


def growth(n: int) -> dict[str, float]:
    """Matrix and traits of n × n bare scores, three planted traits."""
    from transferlens.testing import Structure, simulate_scores
    from transferlens.traits import decompose_traits
    from transferlens.transfer import transfer_matrix

    study = simulate_scores(
        Structure(n_sources=n, n_targets=n), rng=np.random.default_rng(0), noise=0.02
    ).to_study()
    start = time.perf_counter()
    transfer_matrix(study)
    between = time.perf_counter()
    found = decompose_traits(study, rng=np.random.default_rng(0))
    end = time.perf_counter()
    return {"matrix": between - start, "traits": end - between, "found": found.n_traits}


def plain_matrix(folder: Path) -> dict[str, float]:
    """Do the same work with pandas and a scipy loop over cells."""
    import pandas as pd
    from scipy import stats

    start = time.perf_counter()
    columns = ["source", "target", "example_hash", "score"]
    files = sorted((folder / "cells").glob("*.parquet"))
    rows = pd.concat([pd.read_parquet(file, columns=columns) for file in files])
    base = rows[rows["source"] == "base"].set_index(["target", "example_hash"])["score"]
    p_values = []
    for (source, target), cell in rows.groupby(["source", "target"]):
        if source == "base":
            continue
        pair = cell.set_index("example_hash")["score"].to_frame().join(base[target].rename("base"))
        difference = (pair["score"] - pair["base"]).to_numpy()
        if pair.isin([0.0, 1.0]).to_numpy().all():
            won, lost = int((difference > 0).sum()), int((difference < 0).sum())
            low = stats.binom.cdf(min(won, lost), won + lost, 0.5)
            p_values.append(2 * low - stats.binom.pmf(min(won, lost), won + lost, 0.5))
            stats.binomtest(int(pair["score"].sum()), len(pair)).proportion_ci(method="wilson")
            continue
        drawn = stats.bootstrap(
            (difference,), np.mean, n_resamples=9_999, rng=np.random.default_rng(0)
        )
        below = (drawn.bootstrap_distribution <= 0).mean()
        p_values.append(2 * min(below, 1 - below))
        stats.sem(pair["score"])
    adjusted = stats.false_discovery_control(np.clip(p_values, 0, 1))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "significant": float((adjusted < 0.05).sum())}


def plain_traits(folder: Path, n_resamples: int = 20) -> dict[str, float]:
    """Bootstrap principal components by a plain loop; the time of 1,000 is extrapolated."""
    import pandas as pd

    start = time.perf_counter()
    columns = ["source", "target", "example", "score"]
    files = sorted((folder / "cells").glob("*.parquet"))
    rows = pd.concat([pd.read_parquet(file, columns=columns) for file in files])
    rows = rows[rows["source"] != "base"]
    tables = [part.pivot_table(index="source", columns="example", values="score").to_numpy()
              for _, part in rows.groupby("target")]  # fmt: skip
    read = time.perf_counter() - start
    rng = np.random.default_rng(0)
    scores = np.stack([table.mean(axis=1) for table in tables], axis=1)
    reference = _loadings(scores)
    for _ in range(n_resamples):
        _matched(_loadings(scores[rng.integers(len(scores), size=len(scores))]), reference)
        drawn = [table[:, rng.integers(table.shape[1], size=table.shape[1])] for table in tables]
        again = np.stack([table.mean(axis=1) for table in drawn], axis=1)
        _matched(_loadings(again), reference)
    loop = time.perf_counter() - start - read
    return {"seconds": read + loop * 1_000 / n_resamples, "resamples done": n_resamples}


def _loadings(scores: np.ndarray) -> np.ndarray:
    _, singular, right = np.linalg.svd(scores - scores.mean(axis=0), full_matrices=False)
    return (singular[:3, None] * right[:3]).T


def _matched(loadings: np.ndarray, reference: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    norms = np.linalg.norm(reference, axis=0)[:, None] * np.linalg.norm(loadings, axis=0)
    # A resample of few sources can have fewer components than are compared.
    phi = np.divide(reference.T @ loadings, norms, out=np.zeros_like(norms), where=norms > 0)
    rows, columns = linear_sum_assignment(-np.abs(phi))
    return loadings[:, columns] * np.sign(phi[rows, columns])


def forget(folder: Path) -> None:
    """Ask the system to drop the study's files from memory, so that they come from the disk."""
    for file in folder.rglob("*.parquet"):
        fd = os.open(file, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def speeds(folder: Path) -> dict[str, float]:
    """Bytes per second of the disk (the study's own files) and of the memory (a copy)."""
    forget(folder)
    files = list((folder / "cells").glob("*.parquet"))
    start = time.perf_counter()
    n_bytes = sum(len(file.read_bytes()) for file in files)
    disk = n_bytes / (time.perf_counter() - start)
    block = np.ones(2**26)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        block.copy()
        times.append(time.perf_counter() - start)
    # A copy reads and writes each byte.
    return {"bytes": n_bytes, "disk": disk, "memory": 2 * block.nbytes / median(times)}


CHILDREN: dict[str, Callable[..., dict[str, float]]] = {
    "simulate": lambda folder, n, examples: simulate(Path(folder), int(n), int(examples)),
    "matrix": lambda folder: matrix(Path(folder)),
    "traits": lambda folder: traits(Path(folder)),
    "plain_matrix": lambda folder: plain_matrix(Path(folder)),
    "plain_traits": lambda folder: plain_traits(Path(folder)),
    "growth": lambda n: growth(int(n)),
}


Figures = dict[str, float] | None
"""What one measurement found; None if it took too long."""


@dataclass(frozen=True)
class Clock:
    """The time that all measurements have together."""

    end: float
    """When it is over, as `time.perf_counter` counts."""

    def left(self) -> float:
        """Seconds that one more measurement may take."""
        return min(LONGEST, self.end - time.perf_counter())


def measured(clock: Clock, name: str, *arguments: object) -> Figures:
    """Run one measurement in a process of its own."""
    call = [sys.executable, __file__, "--child", name, *map(str, arguments)]
    limit = clock.left()
    if limit <= 0:
        print(f"{name} {arguments[-1]}: no time left", flush=True)
        return None
    try:
        done = subprocess.run(call, check=True, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        print(f"{name} {arguments[-1]}: stopped after {limit:.0f} s", flush=True)
        return None
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.stderr) from error
    found = json.loads(done.stdout.splitlines()[-1])
    shown = "  ".join(f"{key} {value:.5g}" for key, value in found.items())
    print(f"{name:14s} {shown}", flush=True)
    return found


def child(name: str, arguments: list[str]) -> None:
    """Measure one thing here and print it as JSON."""
    found = CHILDREN[name](*arguments)
    # What the imports take is part of it. The system's own count of the largest memory
    # (ru_maxrss) would begin with that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    found["peak MiB"] = int(status.split("VmHWM:")[1].split()[0]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Of all threads, imports included: what the work costs, whoever else uses the machine.
    found["CPU seconds"] = used.ru_utime + used.ru_stime
    print(json.dumps(found))


def middle(runs: list[Figures]) -> Figures:
    """Median of each number over the runs that were finished, and how many those were."""
    whole = [run for run in runs if run is not None]
    if not whole:
        return None
    return {key: median(run[key] for run in whole) for key in whole[0]} | {"runs": len(whole)}


def bound(folder: Path, n: int, n_examples: int) -> dict[str, float]:
    """Return the time that the bytes alone would take.

    The stored files must be read once (their checksums cover every byte), and
    each score, 8 bytes, must be written to memory and read again once.
    """
    found = speeds(folder)
    scores = 2 * 8 * n * (n + 1) * n_examples / found["memory"]
    cold = found["bytes"] / found["disk"] + scores
    warm = found["bytes"] / found["memory"] + scores
    return {**found, "cold bound": cold, "warm bound": warm}


def large_study(report: dict, clock: Clock, folder: Path) -> None:
    """Measure the large study: the matrix with its files on the disk, and then in memory."""
    n, examples = report["n"], report["n_examples"]
    report["simulate"] = measured(clock, "simulate", folder, n, examples)
    if report["simulate"] is None:
        message = "the study could not be made in time; give fewer adapters or a larger budget"
        raise SystemExit(message)
    report["bound"] = bound(folder, n, examples)
    forget(folder)
    report["matrix, files not in memory"] = measured(clock, "matrix", folder)
    for name in ("matrix", "traits"):
        runs = [measured(clock, name, folder) for _ in range(report["repeats"])]
        report[name] = middle(runs)


def beside(report: dict, clock: Clock, folder: Path) -> None:
    """Run ours and the plain loop on the same smaller study."""
    measured(clock, "simulate", folder, report["subset"], report["n_examples"])
    names = ("matrix", "plain_matrix", "traits", "plain_traits")
    report["beside"] = {name: measured(clock, name, folder) for name in names}


def run(arguments: argparse.Namespace) -> dict:
    """Measure everything."""
    n = arguments.adapters
    clock = Clock(time.perf_counter() + arguments.budget)
    report: dict = {
        "n": n,
        "n_examples": arguments.examples,
        "subset": min(n, arguments.subset),
        "repeats": arguments.repeats,
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    report["hardware"] = {**hardware(), "memory GiB": round(memory, 1)}
    report["load at the start"] = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="analysis-") as place:
        large_study(report, clock, Path(place) / "large")
        beside(report, clock, Path(place) / "subset")
    sizes = [size for size in GROWTH if size <= arguments.largest]
    report["growth"] = {str(size): measured(clock, "growth", size) for size in sizes}
    report["load at the end"] = round(os.getloadavg()[0], 2)
    return report


def _seconds(found: Figures) -> float:
    return float("nan") if found is None else found["seconds"]


def _shown(value: float, form: str) -> str:
    return "–" if np.isnan(value) else format(value, form)


def markdown(report: dict) -> str:
    """Lay the report out as tables."""
    machine, n = report["hardware"], report["n"]
    predictions = n * (n + 1) * report["n_examples"]
    about = (
        f"{n} adapters × {n} tasks × {report['n_examples']} examples,"
        f" {predictions / 1e6:.3g} million predictions, a fifth of the tasks graded."
        f" {machine['cpu']}, {machine['cores']} cores, {machine['memory GiB']} GiB,"
        f" {machine['threads used']} thread(s) for NumPy. Load of the machine"
        f" {report['load at the start']} at the start, {report['load at the end']} at the end;"
        f" above {machine['cores']}, other work ran beside it and seconds are too long. Medians of"
        f" {report['repeats']}, each in a process of its own; –: it did not fit into"
        f" {LONGEST:.0f} s or into the time for all. Imports count for CPU seconds and"
        " memory, not for seconds."
    )
    lines = ["# Speed of the analysis", "", about, ""]
    lines += ["| step | seconds | CPU seconds | peak MiB | goal |", "|---|---|---|---|---|"]
    for name in ("simulate", "matrix", "matrix, files not in memory", "traits"):
        seconds, most = GOALS.get(name.split(",")[0], (60.0, 3072.0))
        goal = f"≤ {seconds:.0f} s" + (f", ≤ {most:.0f} MiB" if np.isfinite(most) else "")
        lines.append(f"| {name} | {_cells(report[name], STEP)} | {goal} |")
    return "\n".join(
        [*lines, "", *_bound_lines(report), *_beside_lines(report), *_growth_lines(report)]
    )


def _cells(found: Figures, keys: tuple[str, ...]) -> str:
    if found is None:
        return " | ".join("–" for _ in keys)
    return " | ".join(
        f"{found[key]:.3g}" if found[key] < 100 else f"{found[key]:.0f}" for key in keys
    )


def _bound_lines(report: dict) -> list[str]:
    found = report["bound"]
    about = (
        f"The files hold {found['bytes'] / 1e6:.0f} MB; every byte is read once, for its checksum,"
        " and every score (8 bytes) written and read once. In the same run the disk gave"
        f" {found['disk'] / 1e9:.2f} GB/s and a copy in memory {found['memory'] / 1e9:.2f} GB/s."
    )
    lines = ["## Share of the bound", "", about, ""]
    lines += ["| files | bound, s | matrix, s | share |", "|---|---|---|---|"]
    for place, key, name in (
        ("on the disk", "cold bound", "matrix, files not in memory"),
        ("in memory", "warm bound", "matrix"),
    ):
        seconds, least = _seconds(report[name]), found[key]
        share = _shown(least / seconds, ".1%")
        lines.append(f"| {place} | {least:.3g} | {_shown(seconds, '.3g')} | {share} |")
    return [*lines, ""]


def _beside_lines(report: dict) -> list[str]:
    found, n = report["beside"], report["subset"]
    about = (
        f"A subset, {n} adapters × {n} tasks × {report['n_examples']} examples, since the loop is"
        " slow. pandas reads and pairs, scipy tests cell by cell; components by one SVD per"
        " resample (20 of each kind done, the time of 1,000 extrapolated). Ours also chooses the"
        " number of traits, leaves sources out, and clusters."
    )
    lines = ["## Beside a plain loop", "", about, ""]
    lines += ["| work | ours, s | plain, s | ratio |", "|---|---|---|---|"]
    for name in ("matrix", "traits"):
        ours, plain = _seconds(found[name]), _seconds(found[f"plain_{name}"])
        shown = (_shown(ours, ".3g"), _shown(plain, ".3g"), _shown(plain / ours, ".1f"))
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return [*lines, ""]


def _growth_lines(report: dict) -> list[str]:
    lines = ["## Growth (bare scores, no predictions)", ""]
    lines += ["| scores | matrix, s | traits, s | peak MiB |", "|---|---|---|---|"]
    for size, found in report["growth"].items():
        lines.append(f"| {size} × {size} | {_cells(found, ('matrix', 'traits', 'peak MiB'))} |")
    return [*lines, ""]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=100)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--subset", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=450.0, help="Seconds for everything.")
    parser.add_argument("--largest", type=int, default=max(GROWTH), help="Largest growth size.")
    parser.add_argument("--output", type=Path, default=RESULTS, help="Folder of the results.")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], arguments.child[1:])
        return
    start = time.perf_counter()
    report = run(arguments)
    report["seconds"] = round(time.perf_counter() - start, 1)
    arguments.output.mkdir(exist_ok=True, parents=True)
    text = json.dumps(report, indent=1, allow_nan=False)
    (arguments.output / "analysis.json").write_text(text + "\n")
    (arguments.output / "analysis.md").write_text(markdown(report))


if __name__ == "__main__":
    main()

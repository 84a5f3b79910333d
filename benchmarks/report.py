"""Time the report of a small and of a large study, and measure its memory and its size.

``python benchmarks/report.py`` makes two studies with `transferlens.testing`: 10 × 10 tasks with
written answers of 200 examples, the size of the demo, and 100 × 100 × 1,000 (10 million
predictions). Each report is made by the command line in a process of its own, so that the time
includes every import, and the memory is that process's. Then the page is opened in Chromium: it
counts as usable once its load event is over, the heat map is drawn and two more frames have been
shown. Give ``--demo DIR`` to time a real study too. It writes ``benchmarks/results/report.json``
and ``report.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from calibration import RESULTS, hardware

from transferlens.testing import Sampling, Structure, simulate_study

GOALS = {"demo": (5.0, 2.0, 3.0), "10 × 10": (5.0, 2.0, 3.0), "100 × 100": (30.0, 2.0, 8.0)}
"""Seconds, GB, MB of the page."""


def simulate(folder: Path, n: int, n_examples: int) -> Path:
    """Write a study."""
    simulate_study(
        Structure(n_sources=n, n_targets=n, strengths=(0.08, 0.05, 0.03)),
        Sampling(n_examples=n_examples),
        rng=np.random.default_rng(0),
        path=folder,
    )
    return folder


_USABLE = """() => new Promise(done => {
    const drawn = () => document.getElementById('hm-canvas')
        .getContext('2d').getImageData(0, 0, 300, 300).data.some(value => value > 0);
    const frame = () => requestAnimationFrame(() => requestAnimationFrame(
        () => drawn() ? done(performance.now()) : frame()));
    document.readyState === 'complete' ? frame() : addEventListener('load', frame);
})"""


def opened(page: Path, repeats: int) -> float:
    """Return the seconds from opening the page to its being usable, the median."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        found = []
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.goto(page.as_uri(), wait_until="commit")
            found.append(tab.evaluate(_USABLE) / 1000)
            context.close()
        browser.close()
    return round(statistics.median(found), 2)


def report(study: Path, page: Path) -> dict[str, Any]:
    """Make one report and measure it."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "transferlens", "report", str(study), "-o", str(page)],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        msg = f"the report of {study} failed"
        raise SystemExit(msg)
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "page_mb": round(page.stat().st_size / 1e6, 2),
    }


def measure(study: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """Take the fastest of several, with the load beside it."""
    runs = [report(study, folder / "report.html") for _ in range(repeats)]
    best = min(runs, key=lambda run: float(run["seconds"]))
    usable = opened(folder / "report.html", repeats)
    return {
        **best,
        "usable_after": usable,
        "repeats": repeats,
        "load": [round(v, 1) for v in os.getloadavg()],
    }


def page_of(found: dict[str, dict[str, Any]]) -> str:
    """Return the results as a page."""
    lines = [
        "# The report",
        "",
        "; ".join(f"{name}: {value}" for name, value in hardware().items()) + ".",
        "By `python benchmarks/report.py`; the fastest of several runs, each a",
        "process of its own. CPU seconds are of all threads, and do not depend on the load.",
        "",
        "| study | s | goal | CPU s | peak GB | goal | page MB | goal | usable, s | goal | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        seconds, memory, size = GOALS[name]
        lines.append(
            f"| {name} | {row['seconds']} | {seconds:g} | {row['cpu_seconds']} | "
            f"{row['peak_gb']} | {memory:g} | {row['page_mb']} | {size:g} | "
            f"{row['usable_after']} | 1 | {row['load'][0]} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, help="a finished study, such as that of `make demo`")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        studies = {
            **({"demo": given.demo} if given.demo else {}),
            "10 × 10": simulate(folder / "small", 10, 200),
            "100 × 100": simulate(folder / "large", 100, 1_000),
        }
        found = {name: measure(path, folder, given.repeats) for name, path in studies.items()}
    (RESULTS / "report.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / "report.md").write_text(page_of(found))
    print(page_of(found))


if __name__ == "__main__":
    main()

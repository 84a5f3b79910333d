"""Hold what a dry run predicts (`transferlens.engine.estimate`) against what really happens.

``python benchmarks/cost_model.py measure --size 10m`` runs a small study's work in this process:
one adapter, trained, and with the base asked on a task of choices and on one of generation. It
adds the counts, the predictions and the measurements to ``benchmarks/results/cost_model.json``;
``... merge`` predicts again, with the formulas as they are now, and writes the table of
``cost_model.md``. One thread; times are processor seconds, which other programs disturb least;
memory is the highest resident set of the process, imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from calibration import RESULTS, hardware

import engine

FILE = RESULTS / "cost_model.json"
# The formula of memory was fitted to the other three sizes, and held against this one.
HELD_OUT = "30m"
SIZES = ("embedded", "10m", "30m", "100m")
ROWS = {"embedded": 240, "10m": 160, "30m": 120, "100m": 64}
ASKED = {"embedded": 64, "10m": 32, "30m": 20, "100m": 12}
WRITTEN = {"embedded": 32, "10m": 16, "30m": 12, "100m": 8}
engine.SIZES[HELD_OUT] = {
    "hidden_size": 512, "intermediate_size": 1664, "num_hidden_layers": 9,
    "num_attention_heads": 8, "vocab_size": 4096,
}  # fmt: skip
engine.BATCH_TOKENS[HELD_OUT] = 2048
PARTS = ("training", "evaluation", "memory")


def study_of(size: str, root: Path) -> Any:
    """Return a study of one source and two targets on a base of a size."""
    from transferlens.study import StudySpec

    written = engine.rows(WRITTEN[size], 2)
    choices = engine.questions(ASKED[size], choices=4, words=12, shots=0)
    tables = {
        "learn": engine.rows(ROWS[size], 0),
        "choose": [{"prompt": p, "choices": c, "label": 0} for p, c in choices],
        "write": [{**row, "label": row["completion"]} for row in written],
    }
    for name, table in tables.items():
        for split in ("train", "test"):
            text = "".join(json.dumps(row) + "\n" for row in table)
            (root / f"{name}-{split}.jsonl").write_text(text, encoding="utf-8")
    data = {
        name: {"data": {s: f"{name}-{s}.jsonl" for s in ("train", "test")}, "duplicates": "drop"}
        for name in tables
    }
    data["learn"]["label"] = "completion"
    data["choose"]["choices"] = "choices"
    data["write"] |= {"max_new_tokens": 16, "metric": "exact_match"}
    return StudySpec.from_dict(
        {
            "base": str(engine.model_folder(size, root)), "tasks": data,
            "sources": ["learn"], "targets": ["choose", "write"],
            "method": {"batch_tokens": engine.BATCH_TOKENS[size]},
            "compute": {"device": "cpu", "dtype": "float32", "threads": 1},
        },
        root=root,
    )  # fmt: skip


def measure(size: str) -> dict[str, Any]:
    """Plan, train and evaluate; return counts, predictions and measurements."""
    from transferlens.engine.adapters import with_merged_adapter
    from transferlens.engine.base import load_base
    from transferlens.engine.estimate import measure_rate, model_size
    from transferlens.engine.evaluate import evaluate_cell
    from transferlens.engine.plan import plan_study, work_of
    from transferlens.engine.train import train_adapter

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        spec = study_of(size, root)
        plan = plan_study(spec)
        sizes = model_size(plan.outline.base, spec.method)
        base = load_base(plan.outline.base, spec.compute)
        rates = [measure_rate(spec.compute, hidden=sizes.hidden, seconds=0.5)]
        folder = root / "adapter"
        folder.mkdir()
        began = time.process_time()
        train_adapter(base, plan.training["learn"].rows, folder, method=spec.method, seed=0)
        training = time.process_time() - began
        rates.append(measure_rate(spec.compute, hidden=sizes.hidden, seconds=0.5))

        def ask() -> None:
            for cell in plan.plan.cells[: len(plan.questions)]:
                evaluate_cell(
                    base, plan.questions[cell.target], cell,
                    batch_tokens=spec.evaluation.batch_tokens, tick=lambda *_: None,
                )  # fmt: skip

        began = time.process_time()
        ask()
        with with_merged_adapter(base.model, folder):
            ask()
        evaluation = time.process_time() - began
    rates.append(measure_rate(spec.compute, hidden=sizes.hidden, seconds=0.5))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "hardware": hardware(), "load": os.getloadavg()[0], "rate": statistics.median(rates),
        "size": asdict(sizes), "work": asdict(work_of(plan)),
        "measured": {"training": training, "evaluation": evaluation, "memory": peak},
    }  # fmt: skip


def predicted(entry: dict[str, Any]) -> dict[str, float]:
    """Return what the formulas say, as they are now."""
    from transferlens.engine.estimate import ModelSize, Work, estimate

    cost = estimate(
        ModelSize(**entry["size"]), Work(**entry["work"]),
        rate=entry["rate"], device="cpu", dtype_bytes=4,
    )  # fmt: skip
    return {
        "training": cost.train_seconds,
        "evaluation": cost.evaluate_seconds,
        "memory": cost.memory_bytes,
    }


def _shown(part: str, value: float) -> str:
    return f"{value / 1e9:.2f} GB" if part == "memory" else f"{value:.1f} s"


def markdown(report: dict[str, Any]) -> str:
    """Lay the report out as a table."""
    machine = next(iter(report.values()))["hardware"]
    lines = [
        "# What a dry run predicts, and what happens",
        "",
        (
            f"{machine['cpu']}, {machine['cores']} cores, one thread, float32; processor seconds, "
            "highest resident memory. `predicted / measured`: 1 is right. `before`: the formulas "
            "before these measurements mended them."
        ),
        "",
        (
            "| base | weights | rate of products | what | measured | predicted | "
            "predicted / measured | before |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        if size not in report:
            continue
        entry = report[size]
        now = predicted(entry)
        held_out = " (memory held out)" if size == HELD_OUT else ""
        for part in PARTS:
            real, then = entry["measured"][part], entry["before"].get(part)
            earlier = "–" if then is None else f"{then / real:.2f}"
            lines.append(
                f"| {size}{held_out} | {entry['size']['n_weights'] / 1e6:.1f} M | "
                f"{entry['rate'] / 1e9:.0f} GFLOP/s | {part} | {_shown(part, real)} | "
                f"{_shown(part, now[part])} | {now[part] / real:.2f} | {earlier} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure one size, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["measure", "merge"])
    parser.add_argument("--size", choices=SIZES, default="embedded")
    options = parser.parse_args()
    report = json.loads(FILE.read_text()) if FILE.exists() else {}
    if options.what == "measure":
        entry = measure(options.size)
        # Of the formulas before they were mended: kept, since they cannot be computed again.
        known = report.get(options.size, {}).get("before", {})
        report[options.size] = {**entry, "before": known}
        FILE.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print({"predicted": predicted(entry), "measured": entry["measured"]})
    (RESULTS / "cost_model.md").write_text(markdown(report), encoding="utf-8")


if __name__ == "__main__":
    main()

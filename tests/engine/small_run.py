"""A small real study in a folder: a tiny random base, two tasks, two seeds; and what it leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import yaml

import transferlens as tl
from engine.tiny_models import save_model

N_TRAIN, N_TEST = 24, 12
TASKS = {
    "colours": {
        "prompt": "{{ text }} is the colour",
        "choices": ["red", "green", "dark blue"],
        "label": "colour",
    },
    "numbers": {
        "prompt": "Q: {{ a }} + {{ b }}? A:",
        "completion": "{{ a + b }}",
        "label": "a + b",
        "metric": "numeric_match",
        "max_new_tokens": 4,
        "stop": ["\n"],
    },
}


def write_rows(folder):
    rng = np.random.default_rng(5)
    for split, count in (("train", N_TRAIN), ("test", N_TEST)):
        colours = rng.integers(0, 3, count)
        rows = [
            {"text": f"Thing {split} {i}", "colour": TASKS["colours"]["choices"][c]}
            for i, c in enumerate(colours)
        ]
        pl.DataFrame(rows).write_ndjson(folder / f"colours-{split}.jsonl")
        start = 0 if split == "train" else 50
        sums = [{"a": start + i, "b": int(rng.integers(1, 9))} for i in range(count)]
        pl.DataFrame(sums).write_ndjson(folder / f"numbers-{split}.jsonl")


def make_place(folder):
    """Write base, data and study file."""
    save_model(folder / "model", "llama")
    write_rows(folder)
    tasks = {
        name: {**task, "data": {s: f"{name}-{s}.jsonl" for s in ("train", "test")}}
        for name, task in TASKS.items()
    }
    study = {
        "name": "small",
        "base": "model",
        "tasks": tasks,
        "sources": ["colours", "numbers"],
        "targets": ["colours", "numbers"],
        "method": {"rank": 4, "learning_rate": 5e-3, "batch_tokens": 128, "epochs": 2},
        "seeds": [0, 1],
        "compute": {"device": "cpu", "threads": 1},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    return folder


def spec_of(place, *overrides):
    return tl.StudySpec.from_yaml(place / "study.yaml", overrides)


def start(place, out, *overrides, env=None):
    """Run the study in a process of its own."""
    program = (
        "import sys, transferlens as tl\n"
        "spec = tl.StudySpec.from_yaml(sys.argv[1], sys.argv[3:])\n"
        "tl.run(spec, sys.argv[2], log='json')\n"
        "print('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(place / "study.yaml"), str(out), *overrides]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def content(folder):
    """Everything that a study's folder says: predictions, and the bytes of the adapters."""
    study = tl.open_study(folder)
    rows = study.predictions.sort("source", "target", "seed", "example").collect()
    weights = {
        file.parent.name: file.read_bytes()
        for file in sorted((Path(folder) / "adapters").glob("[!.]*/adapter_model.safetensors"))
    }
    return rows, weights


def assert_same(first, second):
    rows, weights = content(first)
    other_rows, other_weights = content(second)
    assert rows.equals(other_rows, null_equal=True)
    assert weights == other_weights

"""A study on a real pretrained model and real public datasets, killed in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import yaml

import transferlens as tl
from transferlens.stats import mcnemar_test

SOURCES = ("trec", "sms_spam", "clinc_domain", "sst2", "cola", "breaking_nli")
CHOICES = (*SOURCES, "customer_reviews", "openbookqa")
N_TRAIN, N_TEST = 150, 120
MORE_ROWS = {"trec": 800, "sms_spam": 800}
MORE_EXAMPLES = {"trec": 200, "sms_spam": 450}
"""Enough to learn these two, and to see that they were learnt: most messages are no spam."""

pytestmark = pytest.mark.slow


def study_of(shared):
    """Six sources and nine targets, cut to size; one target is written, the others chosen."""
    tasks = {name: {"data": str(shared / "data" / name)} for name in CHOICES}
    tasks["svamp"] = {
        "data": str(shared / "data" / "svamp"),
        "metric": "numeric_match",
        "max_new_tokens": 4,
        "stop": ["\n"],
    }
    return {
        "name": "real",
        "base": str(shared / "models" / "stories260K"),
        "tasks": tasks,
        "sources": [{"task": name, "limit": MORE_ROWS.get(name)} for name in SOURCES],
        "targets": [{"task": name, "limit": MORE_EXAMPLES.get(name)} for name in tasks],
        "limits": {"train": N_TRAIN, "test": N_TEST},
        "method": {"rank": 16, "learning_rate": 3e-3, "batch_tokens": 1024, "epochs": 4},
        "compute": {"device": "cpu"},
    }


def run_command(file, folder):
    command = [sys.executable, "-m", "transferlens", "run", str(file), "-o", str(folder)]
    return subprocess.Popen(
        [*command, "--log", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def finished(shared, tmp_path_factory):
    """The folder of a study that was killed once in the middle of its cells, and went on."""
    place = tmp_path_factory.mktemp("real")
    file, folder = place / "study.yaml", place / "killed"
    file.write_text(yaml.safe_dump(study_of(shared)), encoding="utf-8")
    process = run_command(file, folder)
    while process.poll() is None and len(list(folder.glob("cells/[!.]*"))) < 22:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    process = run_command(file, folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return file, folder


def test_every_cell_has_all_its_predictions(finished):
    _, folder = finished
    counts = tl.open_study(folder).predictions.group_by("source", "target").len().collect()
    assert counts.height == (1 + len(SOURCES)) * (len(CHOICES) + 1)
    found = {(row["target"], row["len"]) for row in counts.iter_rows(named=True)}
    assert found == {(name, MORE_EXAMPLES.get(name, N_TEST)) for name in (*CHOICES, "svamp")}


@pytest.mark.parametrize("task", ["trec", "sms_spam"])
def test_an_adapter_gains_on_its_own_task(finished, task):
    examples = tl.open_study(finished[1]).examples(task)
    own = examples["score"].sel(source=task, seed=0).to_numpy()
    base = examples["base_score"].sel(seed=0).to_numpy()
    result = mcnemar_test(own, base)
    assert result.estimate > 0
    assert result.p_value < 0.01


def test_an_adapter_of_the_killed_study_equals_the_same_alone_and_undisturbed(finished, tmp_path):
    file, folder = finished
    alone = yaml.safe_load(file.read_text(encoding="utf-8"))
    alone["sources"] = [{"task": "cola"}]
    alone["targets"] = [{"task": name} for name in ("cola", "svamp")]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(alone), encoding="utf-8")
    process = run_command(tmp_path / "study.yaml", tmp_path / "alone")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    key = ("source", "target", "seed", "example")
    second = tl.open_study(tmp_path / "alone").predictions.sort(key).collect()
    first = tl.open_study(folder).predictions.sort(key).collect()
    kept = first.join(second.select(key), on=key, how="semi", maintain_order="left")
    assert kept.height == 4 * N_TEST
    assert kept.equals(second, null_equal=True)
    (weights,) = (tmp_path / "alone").glob("adapters/*/adapter_model.safetensors")
    same = folder / weights.relative_to(tmp_path / "alone")
    assert same.read_bytes() == weights.read_bytes()

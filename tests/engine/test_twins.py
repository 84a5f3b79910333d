"""Twins are trained, stored and resumed as any adapter, and differ in what they should."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml

import transferlens as tl
from engine.tiny_models import open_base, save_model
from transferlens.engine.outline import outline_study
from transferlens.engine.perplexity import base_nll
from transferlens.engine.plan import prepare_study
from transferlens.errors import DataError, SpecError
from transferlens.results import StudyStore

CONTROLS = [
    {"source": "colours", "balanced": True},
    {"source": "colours", "reseeded": 5},
    {"source": "sums", "truncated_outputs": 1},
    {"source": "sums", "token_matched": "colours"},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny random base and data."""
    folder = tmp_path_factory.mktemp("place")
    save_model(folder / "model", "llama")
    rng = np.random.default_rng(5)
    for split, count in (("train", 30), ("test", 6)):
        colours = np.where(rng.random(count) < 0.7, "red", "green").tolist()
        rows = [{"text": f"Thing {split} {i}", "colour": c} for i, c in enumerate(colours)]
        pl.DataFrame(rows).write_ndjson(folder / f"colours-{split}.jsonl")
        sums = [{"a": i, "b": int(rng.integers(1, 9))} for i in range(count)]
        pl.DataFrame(sums).write_ndjson(folder / f"sums-{split}.jsonl")
    return folder


def spec_of(place, *controls, **more):
    tasks = {
        "colours": {
            "prompt": "{{ text }} is the colour",
            "choices": ["red", "green"],
            "label": "colour",
        },
        "sums": {"prompt": "Q: {{ a }} + {{ b }}? A:", "completion": "is {{ a + b }} now",
                 "label": "a + b", "metric": "numeric_match", "max_new_tokens": 2},
    }  # fmt: skip
    for name, task in tasks.items():
        task["data"] = {split: f"{name}-{split}.jsonl" for split in ("train", "test")}
    study = {
        "base": "model",
        "tasks": tasks,
        "sources": ["colours", "sums"],
        "targets": ["colours"],
        "controls": list(controls),
        "method": {"rank": 2, "batch_tokens": 256},
        "compute": {"device": "cpu", "threads": 1},
        **more,
    }
    file = place / "study.yaml"
    file.write_text(yaml.safe_dump(study), encoding="utf-8")
    return tl.StudySpec.from_yaml(file)


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "study"
    return tl.run(spec_of(place, *CONTROLS, seeds=[0, 1]), folder, log="quiet")


def weights(study, source, seed):
    (adapter,) = [a for a in study.plan.adapters if (a.source, a.seed) == (source, seed)]
    folder = StudyStore.open(study.path).adapter_dir(adapter)
    return (folder / "adapter_model.safetensors").read_bytes(), json.loads(
        (folder / "manifest.json").read_text()
    )


def test_every_twin_is_trained_for_every_seed_and_evaluated(finished):
    assert [source.name for source in finished.sources] == ["colours", "sums"]
    assert [(t.name, t.twin_of, t.control, t.control_value) for t in finished.twins] == [
        ("colours-balanced", "colours", "balanced", None),
        ("colours-reseeded", "colours", "reseeded", "5"),
        ("sums-truncated_outputs", "sums", "truncated_outputs", "1"),
        ("sums-token_matched", "sums", "token_matched", "colours"),
    ]
    whole = finished.with_twins()
    assert np.isfinite(whole.scores["score"]).all()
    assert len(finished.plan.adapters) == len({a.id for a in finished.plan.adapters}) == 12


def test_the_manifest_of_a_twin_says_what_it_is(finished):
    _, manifest = weights(finished, "sums-truncated_outputs", 0)
    assert manifest["control"] == {
        "source": "sums", "name": "sums-truncated_outputs", "truncated_outputs": 1,
    }  # fmt: skip
    assert weights(finished, "sums", 0)[1]["control"] is None


def test_the_rows_that_a_twin_was_trained_on_are_stored(finished):
    store = StudyStore.open(finished.path)
    rows = {
        info.name: store.read_examples(info.examples_id)
        for info in (*finished.sources, *finished.twins)
    }
    assert Counter(rows["colours-balanced"]["gold"]) == {"red": 15, "green": 15}
    assert set(rows["sums-truncated_outputs"]["completion"]) == {"is"}
    assert rows["colours-reseeded"].equals(rows["colours"])


def test_a_reseeded_twin_is_the_adapter_of_the_other_seed(place, finished, tmp_path):
    other = tl.run(spec_of(place, seeds=[5, 6]), tmp_path / "other", log="quiet")
    for seed in (0, 1):
        twin, manifest = weights(finished, "colours-reseeded", seed)
        same, _ = weights(other, "colours", seed + 5)
        assert twin == same
        assert manifest["training"]["seed"] == seed + 5
        assert twin != weights(finished, "colours", seed)[0]


def test_a_new_twin_trains_nothing_else_and_the_same_study_nothing_at_all(place, tmp_path):
    folder = tmp_path / "study"
    tl.run(spec_of(place, CONTROLS[0]), folder, log="quiet")

    def times():
        files = folder.glob("adapters/*/*")
        return {file: file.stat().st_mtime_ns for file in files}

    before = times()
    assert len({file.parent for file in before}) == 3
    study = tl.run(spec_of(place, *CONTROLS[:2]), folder, log="quiet")
    assert before.items() <= times().items()
    assert [twin.name for twin in study.twins] == ["colours-balanced", "colours-reseeded"]
    after = times()
    tl.run(spec_of(place, *CONTROLS[:2]), folder, log="quiet")
    assert times() == after


def test_the_tokens_of_a_matched_twin_are_those_that_training_sees(place):
    plan = prepare_study(outline_study(spec_of(place, CONTROLS[3])))
    tokens = {name: source.tokens for name, source in plan.training.items()}
    longest = max(len(row.tokens) for row in plan.training["sums"].rows)
    assert abs(tokens["sums-token_matched"] - tokens["colours"]) <= longest / 2 + 1
    assert tokens["sums"] != tokens["colours"]
    assert any(note.startswith("sums-token_matched: its ") for note in plan.notes)


@pytest.mark.parametrize(
    ("controls", "error", "message"),
    [
        ([{"source": "sums", "balanced": True}], DataError,
         r"study.yaml:\d+: controls.0.balanced: balanced twin of 'sums': its answers are written"),
        ([CONTROLS[1], {**CONTROLS[1], "name": "again"}], SpecError,
         r"study.yaml:\d+: controls.1: this is the same adapter as 'colours-reseeded'"),
    ],
)  # fmt: skip
def test_an_impossible_twin_is_refused_before_anything_is_trained(place, controls, error, message):
    with pytest.raises(error, match=message):
        outline_study(spec_of(place, *controls))


def test_the_base_likelihood_is_that_of_the_models_own_loss(place, finished):
    base = open_base(place / "model")
    plan = prepare_study(outline_study(spec_of(place, *CONTROLS)))
    for info in (*finished.sources, *finished.twins):
        losses, counts = [], []
        for row in plan.training[info.name].rows:
            tokens = torch.tensor([row.tokens])
            labels = tokens.clone()
            labels[:, : row.n_prompt] = -100
            with torch.no_grad():
                loss = base.model(tokens, labels=labels).loss
            losses.append(float(loss) * row.n_learnt)
            counts.append(row.n_learnt)
        assert info.base_nll == pytest.approx(sum(losses) / sum(counts), rel=1e-4)


def test_a_part_of_the_rows_is_taken_at_equal_distances(place):
    base = open_base(place / "model")
    rows = prepare_study(outline_study(spec_of(place))).training["colours"].rows
    assert base_nll(base, rows, n_rows=3) == pytest.approx(
        base_nll(base, [rows[0], rows[14], rows[29]]), rel=1e-5
    )
    assert np.isnan(base_nll(base, []))


def test_a_known_base_likelihood_is_not_computed_again(place, tmp_path):
    folder = tmp_path / "study"
    tl.run(spec_of(place), folder, log="quiet")
    file = folder / "plan.json"
    plan = json.loads(file.read_text())
    plan["sources"][0]["base_nll"] = 123.0
    file.write_text(json.dumps(plan))
    study = tl.run(spec_of(place, CONTROLS[0]), folder, log="quiet")
    assert study.sources[0].base_nll == 123.0
    assert study.twins[0].base_nll != 123.0

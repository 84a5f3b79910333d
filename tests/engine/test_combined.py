"""Adapters that begin with others: trained on further, and merged; and studies run in part."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from typer.testing import CliRunner

import transferlens as tl
from engine.small_run import make_place, spec_of
from engine.test_train import labelled, rows_of
from transferlens.cli import app
from transferlens.engine.batches import optimizer_steps
from transferlens.engine.merge import merge_adapters
from transferlens.engine.train import rate_factor, train_adapter
from transferlens.errors import EngineError, SpecError
from transferlens.results import StudyStore, study_status
from transferlens.study import MergeSpec, MethodSpec
from transferlens.traits.draws import study_matrix

WEIGHTS = "adapter_model.safetensors"
SMALL = ("seeds=[0]", "method.epochs=1")
SEQUENCE = "sources=[colours, numbers, {task: numbers, after: colours}]"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def folder(place):
    """A finished study of two sources and of one after the other."""
    tl.run(spec_of(place, *SMALL, SEQUENCE), place / "whole", log="quiet")
    return place / "whole"


def weights(folder, source):
    store = StudyStore.open(folder)
    adapter = next(a for a in store.plan.adapters if a.source == source)
    return load_file(store.adapter_dir(adapter) / WEIGHTS)


def changes(folder, source):
    """Weight change of every layer, formed, with its scale."""
    store = StudyStore.open(folder)
    place = store.adapter_dir(next(a for a in store.plan.adapters if a.source == source))
    config = json.loads((place / "adapter_config.json").read_bytes())
    state = load_file(place / WEIGHTS)
    scale = config["lora_alpha"] / config["r"]
    return {
        name: scale * state[name.replace("lora_A", "lora_B")] @ down
        for name, down in state.items()
        if "lora_A" in name
    }


def cli(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_training_after_another_adapter_equals_going_on_with_it_by_hand_in_peft(llama, tmp_path):
    method = MethodSpec(rank=4, steps=3, batch_tokens=60, learning_rate=1e-3)
    rows = rows_of(llama)
    first, second = rows[:3], rows[3:]
    for name in ("first", "ours"):
        (tmp_path / name).mkdir()
    train_adapter(llama, first, tmp_path / "first", method=method, seed=1)
    after = tmp_path / "first"
    train_adapter(llama, second, tmp_path / "ours", method=method, seed=1, after=after)
    plan = optimizer_steps(
        [len(row.tokens) for row in second],
        batch_tokens=60,
        epochs=1,
        steps=3,
        rng=np.random.default_rng(1),
    )
    adapted = PeftModel.from_pretrained(llama.model, str(after), is_trainable=True)
    optimizer = torch.optim.AdamW(
        [w for w in adapted.parameters() if w.requires_grad], lr=1e-3, weight_decay=0.0
    )
    for number, batch in enumerate(plan):
        optimizer.param_groups[0]["lr"] = 1e-3 * rate_factor(number, len(plan), method)
        ids, mask, labels = labelled([second[i] for i in batch])
        adapted(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(adapted.parameters(), method.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    expected = {
        name.replace(".default", ""): weight.detach().clone()
        for name, weight in adapted.named_parameters()
        if "lora_" in name
    }
    adapted.unload()
    llama.model.requires_grad_(requires_grad=False).eval()
    found, start = load_file(tmp_path / "ours" / WEIGHTS), load_file(after / WEIGHTS)
    assert found.keys() == expected.keys()
    assert any(not torch.equal(found[name], start[name]) for name in found)
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=1e-6, rtol=0)


def test_a_sequence_is_a_row_of_its_own_that_says_what_it_began_with(folder):
    study = tl.open_study(folder)
    assert [s.name for s in study.sources] == ["colours", "numbers", "colours-then-numbers"]
    assert study.sources[2].after == "colours"
    assert study_status(folder).cells == {"done": 8}
    assert study.plan is not None
    adapters = {adapter.source: adapter for adapter in study.plan.adapters}
    assert adapters["colours-then-numbers"].after == adapters["colours"].id
    manifest = StudyStore.open(folder).read_adapter_manifest(adapters["colours-then-numbers"])
    assert manifest["after"] == adapters["colours"].id
    shown = cli("matrix", folder)
    assert "colours-then-numbers: training began with the adapter of colours" in shown
    assert "Nothing is wrong" in cli("check", folder)


def test_another_first_adapter_gives_another_id_and_others_keep_theirs(place, folder):
    ids = {a.source: a.id for a in StudyStore.open(folder).plan.adapters}
    turned = spec_of(
        place, *SMALL, "sources=[numbers, colours, {task: numbers, after: numbers, name: x}]"
    )
    from transferlens.engine.outline import outline_study

    others = {a.source: a.id for a in outline_study(turned).plan.adapters}
    assert others["x"] != ids["colours-then-numbers"]
    assert (others["numbers"], others["colours"]) == (ids["numbers"], ids["colours"])


def test_its_own_tasks_are_those_that_it_was_trained_on_in_turn(folder):
    from transferlens.predict import problem_of

    own = problem_of(tl.open_study(folder)).own
    np.testing.assert_array_equal(own, [[True, False], [False, True], [True, True]])


@pytest.fixture(scope="module")
def merged(place, folder):
    """The study with a merge of each kind."""
    copy = place / "merged"
    shutil.copytree(folder, copy)
    for options in (
        ["--method", "task_arithmetic", "--weights", "1,0", "--name", "all-colours"],
        ["--method", "task_arithmetic"],
        ["--weights", "0.8,0.2"],
        ["--method", "ties", "--density", "0.4"],
    ):
        study = ["--study", place / "study.yaml", "--log", "quiet"]
        cli("merge", copy, "colours", "numbers", *options, *study)
    return copy


def test_weights_of_one_and_zero_give_the_first_adapters_answers_bit_for_bit(merged):
    rows = tl.open_study(merged).predictions.collect().drop("source")
    every = tl.open_study(merged).predictions.collect()
    order = ["target", "example"]
    one = every.filter(pl.col("source") == "colours").drop("source").sort(order)
    other = every.filter(pl.col("source") == "all-colours").drop("source").sort(order)
    assert rows.height > one.height > 0
    assert one.equals(other, null_equal=True)


def test_task_arithmetic_adds_the_weight_changes_themselves(merged):
    one, other = changes(merged, "colours"), changes(merged, "numbers")
    for name, found in changes(merged, "colours-numbers-task_arithmetic").items():
        torch.testing.assert_close(found, 0.5 * one[name] + 0.5 * other[name], atol=1e-6, rtol=1e-5)


def test_linear_combines_the_factors_with_the_roots_of_weight_and_scale(merged):
    one, other = weights(merged, "colours"), weights(merged, "numbers")
    # alpha 32 over rank 4.
    roots = np.sqrt(0.8 * 8), np.sqrt(0.2 * 8)
    for name, found in weights(merged, "colours-numbers-linear").items():
        torch.testing.assert_close(found, roots[0] * one[name] + roots[1] * other[name])


def test_merged_rows_are_marked_and_traits_leave_them_out(merged):
    shown = cli("matrix", merged)
    assert "colours-numbers-ties: merged from colours, numbers (ties, weights 0.5, 0.5" in shown
    infos = {info.name: info for info in tl.open_study(merged).sources}
    assert infos["all-colours"].merged_of == ("colours", "numbers")
    assert infos["all-colours"].merge == "task_arithmetic, weights 1, 0"
    assert "Nothing is wrong" in cli("check", merged)
    rows = study_matrix(tl.open_study(merged)).matrix["source"].values.tolist()
    assert rows == ["colours", "numbers", "colours-then-numbers"]


def test_other_cells_stay_as_they_were_and_the_same_merge_again_is_no_work(place, folder, merged):
    before = tl.open_study(folder).predictions.collect()
    names = before["source"].unique().to_list()
    after = tl.open_study(merged).predictions.collect().filter(pl.col("source").is_in(names))
    order = ["source", "target", "example"]
    assert before.sort(order).equals(after.sort(order), null_equal=True)
    files = {p: p.stat().st_mtime_ns for p in (merged / "cells").iterdir()}
    options = ["--weights", "0.8,0.2", "--study", place / "study.yaml", "--log", "quiet"]
    cli("merge", merged, "colours", "numbers", *options)
    assert {p: p.stat().st_mtime_ns for p in (merged / "cells").iterdir()} == files


def test_what_dare_drops_is_decided_by_the_seed_alone(llama, folder, tmp_path):
    store = StudyStore.open(folder)
    parts = [store.adapter_dir(a) for a in store.plan.adapters[:2]]
    merge = MergeSpec.model_validate({"of": ["colours", "numbers"], "method": "dare"})
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        merge_adapters(llama.model, parts, tmp_path / name, merge=merge, seed=seed)
    a, b, c = ((tmp_path / name / WEIGHTS).read_bytes() for name in "abc")
    assert a == b != c


def test_adapters_of_unlike_rank_are_not_merged(llama, folder, tmp_path):
    store = StudyStore.open(folder)
    part = store.adapter_dir(store.plan.adapters[0])
    other = tmp_path / "other"
    shutil.copytree(part, other)
    config = json.loads((part / "adapter_config.json").read_bytes()) | {"r": 2}
    (other / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    merge = MergeSpec.model_validate({"of": ["a", "b"]})
    with pytest.raises(EngineError, match="unlike r cannot be merged: 4 and 2"):
        merge_adapters(llama.model, [part, other], tmp_path, merge=merge)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sources=[colours, {task: numbers, after: colors}]", "Did you mean 'colours'"),
        ("merges=[{of: [colours, number]}]", "no source 'number'"),
        ("merges=[{of: [colours]}]", "two sources or more"),
        ("merges=[{of: [colours, numbers], weights: [1]}]", "one per source"),
        ("merges=[{of: [colours, numbers], density: 0.5}]", "density belongs to ties"),
        ("merges=[{of: [colours, numbers], name: colours}]", "already"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(place, override, words):
    with pytest.raises(SpecError, match=words):
        spec_of(place, override)


def test_a_study_without_merges_and_sequences_has_the_hash_that_it_always_had(place):
    stored = spec_of(place).to_dict()
    assert "merges" not in stored
    assert "after" not in stored["sources"][0]


def test_only_chosen_cells_are_evaluated_and_only_their_adapters_trained(place, folder, tmp_path):
    spec = spec_of(place, *SMALL)
    study = tl.run(spec, tmp_path / "part", log="quiet", only={("numbers", "colours")})
    scores = study.scores["score"].squeeze("seed")
    assert np.isfinite(scores.sel(source="numbers", target="colours"))
    assert int(scores.notnull().sum()) == 1
    states = {part.source: part.state for part in study_status(tmp_path / "part").progress}
    assert states["numbers"] == "done"
    assert len(list((tmp_path / "part" / "adapters").iterdir())) == 1
    whole = tl.open_study(folder).scores["score"].sel(source="numbers", target="colours")
    assert scores.sel(source="numbers", target="colours") == whole.squeeze("seed")


def test_an_active_run_measures_its_budget_and_goes_on_where_it_stopped(place, tmp_path):
    study = [place / "study.yaml", *SMALL, SEQUENCE, "-o", tmp_path / "active", "--log", "quiet"]
    shown = cli("run", *study, "--active", "--budget", "1")
    assert shown.startswith("1 of 2 cells measured; rounds: 1")
    assert "predicted, not measured; points" in shown
    matrix = tl.open_study(tmp_path / "active").scores["score"]
    assert int(matrix.notnull().sum()) == 1
    assert "5 of 6 cells have no result" in cli("matrix", tmp_path / "active")
    shown = cli("run", *study, "--active", "--budget", "100%")
    assert "everything is measured" in shown
    assert int(tl.open_study(tmp_path / "active").scores["score"].notnull().sum()) == 2

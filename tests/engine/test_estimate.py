"""What an estimate counts, against what really happens."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import folder_of

from transferlens.engine.adapters import adapter_config, with_new_adapter
from transferlens.engine.batches import optimizer_steps
from transferlens.engine.estimate import (
    _KEPT_PER_WIDTH,
    ModelSize,
    Work,
    available_memory,
    estimate,
    model_size,
    needs_checkpoints,
)
from transferlens.engine.evaluate import evaluate_cell
from transferlens.engine.plan import plan_study, wants_checkpoints
from transferlens.engine.train import packed_loss, train_adapter
from transferlens.results import Cell
from transferlens.study import MethodSpec, StudySpec


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj"), ("up_proj",)])
def test_the_sizes_are_those_of_the_model_and_its_adapter(llama, model_folder, targets):
    method = MethodSpec(rank=3, target_modules=targets)
    size = model_size(folder_of(model_folder("llama")), method)
    with with_new_adapter(llama.model, adapter_config(method, base="x", revision=None)) as adapted:
        n_lora = sum(w.numel() for name, w in adapted.named_parameters() if "lora_" in name)
    assert size.n_lora == n_lora
    assert size.n_weights == sum(w.numel() for w in llama.model.parameters())
    assert (size.n_layers, size.hidden, size.vocabulary) == (2, 32, 400)


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gpt_neox", "gemma3"])
def test_the_adapters_size_is_right_for_other_families(base_of, model_folder, family):
    method = MethodSpec(rank=3)
    base = base_of(family)
    with with_new_adapter(base.model, adapter_config(method, base="x", revision=None)) as adapted:
        n_lora = sum(w.numel() for name, w in adapted.named_parameters() if "lora_" in name)
    assert model_size(folder_of(model_folder(family)), method).n_lora == n_lora


def study_on(folder: Path, model: Path) -> StudySpec:
    rows = [
        {"q": f"Q: What is {i} + {i}?" + " The cat sat" * (i % 5), "a": i % 2, "words": "w " * i}
        for i in range(20)
    ]
    for split, part in (("train", rows[:12]), ("test", rows[12:])):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    data = {"train": "train.jsonl", "test": "test.jsonl"}
    choose = {"data": data, "prompt": "{{ q }}", "choices": ["no", "yes"], "label": "a"}
    write = {
        "data": data, "prompt": "{{ q }}", "label": "a", "completion": "{{ words }}end",
        "metric": "exact_match", "max_new_tokens": 5,
    }  # fmt: skip
    return StudySpec.from_dict(
        {
            "base": str(model), "tasks": {"choose": choose, "write": write},
            "sources": ["choose", "write"], "targets": ["choose", "write"],
            "method": {"rank": 2, "batch_tokens": 120, "epochs": 1.5, "max_length": 40},
            "evaluation": {"batch_tokens": 100}, "compute": {"device": "cpu"},
        },
        root=folder,
    )  # fmt: skip


def test_planned_steps_and_tokens_are_those_of_the_real_run(llama, model_folder, tmp_path):
    spec = study_on(tmp_path, model_folder("llama"))
    plan = plan_study(spec)
    for source in plan.sources:
        folder = tmp_path / source.name
        folder.mkdir()
        rows = plan.training[source.name].rows
        done = train_adapter(llama, rows, folder, method=spec.method, seed=spec.seeds[0])
        assert (source.n_steps, source.tokens) == (done.n_steps, done.tokens)
        assert (source.n_truncated, source.n_skipped) == (done.n_truncated, done.n_skipped)
        assert source.learnt_tokens == sum(row.n_learnt for row in rows)
        assert source.n_rows == done.n_rows
    assert plan.sources[1].n_truncated > 0
    for target in plan.targets:
        seen: list[tuple[int, int]] = []
        cell = Cell(
            id="c", adapter_id="a", source="s", target=target.name, seed=0,
            n_examples=target.n_examples,
        )  # fmt: skip
        frame = evaluate_cell(
            llama, plan.questions[target.name], cell,
            batch_tokens=100, tick=lambda *done, seen=seen: seen.append(done),
        )  # fmt: skip
        tokens = sum(n for _, n in seen)
        assert sum(n for n, _ in seen) == target.n_examples == len(frame)
        written = 0 if target.kind == "choice" else frame["n_tokens"].sum()
        assert target.read_tokens + written == tokens
        assert written <= target.written_tokens


def test_the_plans_estimate_is_of_all_its_work(model_folder, tmp_path):
    plan = plan_study(study_on(tmp_path, model_folder("llama")))
    assert plan.estimate is not None
    size = model_size(folder_of(model_folder("llama")), MethodSpec(rank=2))
    assert plan.estimate.disk_bytes > 2 * 4 * size.n_lora
    assert plan.estimate.memory_bytes > 4 * size.n_weights
    assert plan.estimate.seconds == pytest.approx(
        plan.estimate.train_seconds + plan.estimate.evaluate_seconds
    )


SIZE = ModelSize(
    n_weights=10**9, n_body=9 * 10**8, n_lora=10**7, n_layers=16, hidden=2048, vocabulary=50_000
)
WORK = Work(
    n_adapters=2, train_tokens=10**6, train_steps=250, learnt_tokens=10**5, read_tokens=10**6,
    written_tokens=10**4, generations=100, n_predictions=2000, batch_tokens=8192,
)  # fmt: skip


def test_on_a_large_model_time_is_operations_over_speed():
    """By hand: 0.6 of the rate is reached; training costs 4 per weight and token, reading 2."""
    cost = estimate(SIZE, WORK, rate=1e13, device="cuda", dtype_bytes=2)
    train = (4 * 9e8 + 6 * 1e7) * 1e6 + 4 * 2048 * 5e4 * 1e5
    read = 2 * (9e8 + 1e7) * 1.01e6 + 2 * 2048 * 5e4 * 1.2e4
    assert cost.train_seconds == pytest.approx(train / 6e12, rel=0.1)
    assert cost.evaluate_seconds == pytest.approx(read / 6e12, rel=0.5)


def test_twice_the_speed_is_never_slower_and_twice_the_work_never_faster():
    base = estimate(SIZE, WORK, rate=1e12, device="cpu", dtype_bytes=4)
    faster = estimate(SIZE, WORK, rate=2e12, device="cpu", dtype_bytes=4)
    assert faster.seconds < base.seconds < 2 * faster.seconds
    assert base.memory_bytes == faster.memory_bytes
    assert base.disk_bytes == 2 * 4 * 10**7 + 2000 * 60


def test_the_number_of_steps_does_not_depend_on_the_seed_where_rows_are_alike():
    counts = {
        len(
            optimizer_steps(
                [10] * 30, batch_tokens=40, epochs=2, steps=None, rng=np.random.default_rng(seed)
            )
        )
        for seed in range(5)
    }
    assert counts == {15}


def test_checkpoints_need_less_memory_and_half_as_much_time_again():
    kept = estimate(SIZE, WORK, rate=1e13, device="cuda", dtype_bytes=2)
    again = estimate(SIZE, WORK, rate=1e13, device="cuda", dtype_bytes=2, checkpointing=True)
    assert again.memory_bytes < kept.memory_bytes - 10**9
    assert again.train_seconds / kept.train_seconds == pytest.approx(1.5, abs=0.05)


def test_checkpoints_are_taken_where_memory_is_short_and_known():
    wanted = estimate(SIZE, WORK, rate=1e13, device="cpu", dtype_bytes=4).memory_bytes
    for available, answer in ((wanted, False), (wanted - 1, True), (None, False)):
        assert needs_checkpoints(SIZE, WORK, dtype_bytes=4, available=available) is answer


def test_the_study_can_say_whether_checkpoints_are_taken(model_folder, tmp_path):
    spec = study_on(tmp_path, model_folder("llama"))
    for stated in (True, False):
        compute = spec.compute.model_copy(update={"checkpointing": stated})
        plan = plan_study(spec.model_copy(update={"compute": compute}))
        assert plan.estimate is not None
        assert plan.estimate.checkpointing is wants_checkpoints(plan) is stated


def test_free_memory_is_less_than_all_memory():
    import os

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = available_memory("cpu")
    assert found is None or 10**7 < found <= total


def test_workers_share_whole_adapters_so_that_time_falls_in_steps():
    """By hand: nine adapters and the base are ten pieces."""
    cost = estimate(SIZE, WORK, rate=1e13, device="cuda", dtype_bytes=2)
    shares = [cost.seconds_on(n, n_adapters=9) / cost.seconds for n in (1, 2, 3, 4, 5, 9, 10, 99)]
    assert shares == pytest.approx([1.0, 0.5, 0.4, 0.3, 0.2, 0.2, 0.1, 0.1])


def test_an_adapter_that_answers_from_a_copy_of_the_weights_needs_room_for_it():
    read = dataclasses.replace(
        WORK, train_tokens=100, train_steps=1, learnt_tokens=10, read_tokens=100
    )
    single, half = (
        estimate(SIZE, read, rate=1e13, device="cpu", dtype_bytes=n).memory_bytes for n in (4, 2)
    )
    assert single - half > 2 * SIZE.n_weights + 3 * SIZE.n_body


def test_what_training_keeps_is_what_torch_keeps(llama):
    """Independent route: the bytes that autograd itself holds on to between the passes."""
    rows = llama.codec.training_rows(["one two three"] * 40, [" four"] * 40, max_length=64)
    held: dict[int, int] = {}
    weights = {w.untyped_storage().data_ptr() for w in llama.model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    config = adapter_config(MethodSpec(rank=1), base="x", revision=None)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with with_new_adapter(llama.model, config), hooks, packed_loss(llama, rows):
        pass
    size = model_size(folder_of(llama.name), MethodSpec(rank=1))
    tokens = sum(len(row.tokens) for row in rows)
    per_unit = sum(held.values()) / 4 / tokens / (size.n_body / size.hidden)
    assert per_unit == pytest.approx(_KEPT_PER_WIDTH, rel=0.35)

"""Training an adapter, against transformers and plain PEFT."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from transferlens.engine import train
from transferlens.engine.adapters import with_saved_adapter
from transferlens.engine.base import Base
from transferlens.engine.batches import optimizer_steps
from transferlens.engine.choices import score_choices
from transferlens.engine.encode import ChoiceItem, TrainingRow
from transferlens.engine.packed import packs
from transferlens.engine.train import Diverged, rate_factor, train_adapter
from transferlens.errors import EngineError
from transferlens.study import MethodSpec

WEIGHTS = "adapter_model.safetensors"
PROMPTS = [
    "Q: What is 12 + 30? A:", "The cat", "", "Is the review positive or negative?", "a",
    "The capital of France is",
]  # fmt: skip
ANSWERS = [" 42", " sat on the mat while the dog slept", "yes", " negative", " true", " Paris"]
LOSSES = [train.packed_loss, train.padded_loss]
QUICK = MethodSpec(rank=4, steps=3, batch_tokens=50, learning_rate=1e-2)


def rows_of(base: Base, max_length: int = 64) -> list[TrainingRow]:
    return base.codec.training_rows(PROMPTS, ANSWERS, max_length=max_length)


@torch.no_grad()
def summed(loss, base: Base, rows: list[TrainingRow]) -> float:
    with loss(base, rows) as value:
        return value.item()


def train_to(folder: Path, base: Base, *, seed: int = 0, method: MethodSpec = QUICK, **more):
    folder.mkdir(parents=True)
    return train_adapter(base, rows_of(base), folder, method=method, seed=seed, **more)


def labelled(rows: list[TrainingRow]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return tokens, attention mask and labels as transformers' users write them."""
    width = max(len(row.tokens) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        n = len(row.tokens)
        ids[i, :n] = torch.tensor(row.tokens)
        mask[i, :n] = 1
        labels[i, row.n_prompt : n] = ids[i, row.n_prompt : n]
    return ids, mask, labels


def test_the_loss_is_that_of_transformers_with_prompt_labels_masked(base):
    rows = rows_of(base)
    ids, mask, labels = labelled(rows)
    with torch.no_grad():
        expected = base.model(input_ids=ids, attention_mask=mask, labels=labels).loss.item()
    n_learnt = sum(row.n_learnt for row in rows)
    found = [
        summed(loss, base, rows) / n_learnt
        for loss in LOSSES
        if loss is train.padded_loss or packs(base.model)
    ]
    assert found == pytest.approx([expected] * len(found), abs=1e-5)


def test_prompt_tokens_are_no_targets(llama):
    """Only what a completion token sees matters: the loss of a row is a sum over its completion."""
    row = rows_of(llama)[0]
    with torch.no_grad():
        logits = llama.model(torch.tensor([row.tokens])).logits[0].log_softmax(-1)
        by_hand = -sum(
            logits[j - 1, row.tokens[j]].item() for j in range(row.n_prompt, len(row.tokens))
        )
    for loss in LOSSES:
        assert summed(loss, llama, [row]) == pytest.approx(by_hand, abs=1e-4)
    assert row.n_learnt == len(llama.codec.pairs([PROMPTS[0]], [ANSWERS[0]])[0].continuation) + 1
    assert row.tokens[-1] == llama.codec.end


@pytest.mark.parametrize("pass_tokens", [1, 30, 10_000])
def test_the_gradient_does_not_depend_on_how_a_batch_is_split_into_passes(llama, pass_tokens):
    rows = rows_of(llama)
    ids, mask, labels = labelled(rows)
    weights = list(llama.model.parameters())
    llama.model.requires_grad_(requires_grad=True)
    try:
        logits = llama.model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        truth = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        expected = torch.autograd.grad(truth, weights)
        loss = train._backward(llama, weights, rows, train._Room(pass_tokens))
        found = [weight.grad.clone() for weight in weights]
    finally:
        llama.model.zero_grad(set_to_none=True)
        llama.model.requires_grad_(requires_grad=False)
    assert loss == pytest.approx(truth.item(), abs=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_learning_rate_rises_and_then_falls_as_transformers_says(schedule):
    from transformers import get_scheduler

    method = MethodSpec(schedule=schedule, warmup_ratio=0.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(schedule, optimizer, num_warmup_steps=0, num_training_steps=10)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    found = [rate_factor(step, 10, method) for step in range(10)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_warm_up_rises_in_equal_parts_to_the_full_rate_and_no_step_is_wasted():
    method = MethodSpec(schedule="linear", warmup_ratio=0.3)
    factors = [rate_factor(step, 10, method) for step in range(10)]
    np.testing.assert_allclose(factors[:4], [0.25, 0.5, 0.75, 1.0])
    assert all(a > b for a, b in itertools.pairwise(factors[3:]))
    assert min(factors) > 0
    assert rate_factor(0, 1, MethodSpec(warmup_ratio=1.0)) > 0


def plain_peft(base: Base, rows, method: MethodSpec, seed: int) -> tuple[dict, list[float]]:
    """Train with a loop that anybody would write: padded batches, labels, AdamW, clipping."""
    plan = optimizer_steps(
        [len(row.tokens) for row in rows], batch_tokens=method.batch_tokens,
        epochs=method.epochs, steps=method.steps, rng=np.random.default_rng(seed),
    )  # fmt: skip
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(
            task_type="CAUSAL_LM", r=method.rank, lora_alpha=method.alpha,
            target_modules="all-linear",
        )  # fmt: skip
        adapted = get_peft_model(base.model, config)
        optimizer = torch.optim.AdamW(
            [w for w in adapted.parameters() if w.requires_grad],
            lr=method.learning_rate, weight_decay=method.weight_decay,
        )  # fmt: skip
        for number, batch in enumerate(plan):
            optimizer.param_groups[0]["lr"] = method.learning_rate * rate_factor(
                number, len(plan), method
            )
            ids, mask, labels = labelled([rows[i] for i in batch])
            loss = adapted(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(adapted.parameters(), method.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    state = {
        name.replace(".default", ""): weight.detach().clone()
        for name, weight in adapted.named_parameters()
        if "lora_" in name
    }
    adapted.unload()
    base.model.requires_grad_(requires_grad=False).eval()
    return state, losses


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt_neox"])
def test_an_adapter_equals_one_trained_by_a_plain_peft_loop(base_of, tmp_path, family):
    base = base_of(family)
    # Small steps: AdamW turns rounding errors of tiny gradients into whole steps.
    method = MethodSpec(
        rank=4, steps=4, batch_tokens=60, learning_rate=1e-3, max_grad_norm=0.5,
        weight_decay=0.1, warmup_ratio=0.3, schedule="cosine",
    )  # fmt: skip
    training = train_to(tmp_path / "ours", base, seed=3, method=method)
    expected, losses = plain_peft(base, rows_of(base), method, 3)
    found = load_file(tmp_path / "ours" / WEIGHTS)
    np.testing.assert_allclose(training.losses, losses, atol=1e-5)
    assert found.keys() == expected.keys()
    assert max(training.grad_norms) > method.max_grad_norm
    for name, weight in expected.items():
        # Steps of 1e-3 whose direction agrees to a thousandth.
        torch.testing.assert_close(found[name], weight, atol=1e-6, rtol=0)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(llama, tmp_path):
    method = QUICK.model_copy(update={"dropout": 0.2})
    train_to(tmp_path / "a", llama, seed=1, method=method)
    train_to(tmp_path / "between", llama, seed=2, method=method)
    np.random.default_rng().random()
    torch.rand(3)
    train_to(tmp_path / "b", llama, seed=1, method=method)
    bytes_of = {path.name: (path / WEIGHTS).read_bytes() for path in tmp_path.iterdir()}
    configs = {
        path.name: (path / "adapter_config.json").read_bytes() for path in tmp_path.iterdir()
    }
    assert bytes_of["a"] == bytes_of["b"] != bytes_of["between"]
    assert configs["a"] == configs["b"] == configs["between"]


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_gradient_checkpoints_change_no_bit(base_of, tmp_path, family):
    base = base_of(family)
    method = QUICK.model_copy(update={"dropout": 0.2})
    train_to(tmp_path / "kept", base, method=method)
    train_to(tmp_path / "again", base, method=method, checkpointing=True)
    one, other = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("kept", "again"))
    assert one == other
    assert not any(getattr(m, "gradient_checkpointing", False) for m in base.model.modules())


def test_gradient_checkpoints_read_every_layer_twice(llama, tmp_path):
    calls = []
    watched = llama.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        train_to(tmp_path / "kept", llama)
        once = len(calls)
        train_to(tmp_path / "again", llama, checkpointing=True)
    finally:
        watched.remove()
    assert len(calls) == 3 * once > 0


def test_global_random_state_is_left_as_it_was(llama, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_to(tmp_path / "a", llama, method=QUICK.model_copy(update={"dropout": 0.5}))
    assert torch.equal(torch.get_rng_state(), before)
    with with_saved_adapter(llama.model, tmp_path / "a"):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_every_token_and_every_cut_row_is_counted(llama, tmp_path):
    lengths = [len(row.tokens) for row in rows_of(llama)]
    limit = sorted(lengths)[-2]
    rows = rows_of(llama, max_length=limit)
    long_prompt = TrainingRow(tuple(range(5, 5 + limit)), limit, truncated=True)
    method = MethodSpec(rank=2, epochs=2, batch_tokens=60)
    seen = []
    training = train_adapter(
        llama, [*rows, long_prompt], tmp_path, method=method, seed=0, report=seen.append
    )
    assert [len(row.tokens) for row in rows] == [min(n, limit) for n in lengths]
    assert training.n_truncated == 1 + sum(n > limit for n in lengths)
    assert training.n_skipped == 1
    assert training.n_rows == len(rows) + 1
    assert training.tokens == 2 * sum(len(row.tokens) for row in rows)
    assert training.learnt_tokens == 2 * sum(row.n_learnt for row in rows)
    assert [step.step for step in seen] == list(range(1, training.n_steps + 1))
    assert tuple(step.loss for step in seen) == training.losses
    assert sum(step.tokens for step in seen) == training.tokens


def test_a_cut_row_learns_the_tokens_that_are_left_and_no_end(llama):
    whole = rows_of(llama)[1]
    cut = rows_of(llama, max_length=len(whole.tokens) - 3)[1]
    assert cut.tokens == whole.tokens[:-3]
    assert (cut.truncated, whole.truncated) == (True, False)
    assert cut.n_learnt == whole.n_learnt - 3


def test_rows_without_anything_to_learn_are_an_error(llama, tmp_path):
    rows = [TrainingRow((5, 6, 7), 3, truncated=True)]
    with pytest.raises(EngineError, match=r"method\.max_length"):
        train_adapter(llama, rows, tmp_path, method=QUICK, seed=0)


def test_divergence_names_the_step_and_leaves_no_adapter(llama, tmp_path):
    method = MethodSpec(rank=4, steps=50, batch_tokens=30, learning_rate=1e30, warmup_ratio=0.0)
    seen = []
    before = llama.model(torch.tensor([[5, 6, 7]])).logits
    with pytest.raises(Diverged, match=r"step \d+ of 50") as caught:
        train_to(tmp_path / "a", llama, method=method, report=seen.append)
    assert f"step {len(seen) + 1} of 50" in str(caught.value)
    assert list((tmp_path / "a").iterdir()) == []
    assert torch.equal(llama.model(torch.tensor([[5, 6, 7]])).logits, before)


def test_weights_that_the_last_step_blows_up_are_not_saved(llama, tmp_path):
    method = MethodSpec(rank=4, steps=1, learning_rate=1e38, warmup_ratio=0.0, weight_decay=100.0)
    with pytest.raises(Diverged, match="step 1 of 1"):
        train_to(tmp_path / "a", llama, method=method)
    assert list((tmp_path / "a").iterdir()) == []


def test_layers_that_the_model_lacks_are_named(llama, tmp_path):
    method = QUICK.model_copy(update={"target_modules": ("no_such_layer",)})
    with pytest.raises(EngineError, match=r"method\.target_modules.*no_such_layer"):
        train_to(tmp_path / "a", llama, method=method)
    assert list((tmp_path / "a").iterdir()) == []


def test_an_adapter_learns_a_mapping_that_the_base_does_not_know(llama, tmp_path):
    questions = [f"Q: {word}? A:" for word in ("cat", "dog", "mat", "river", "door", "walks")]
    answers = [" yes", " no", " no", " yes", " yes", " no"]
    rows = llama.codec.training_rows(questions, answers, max_length=64)
    method = MethodSpec(rank=8, steps=60, batch_tokens=60, learning_rate=1e-2)
    training = train_adapter(llama, rows, tmp_path, method=method, seed=0)
    pairs = [llama.codec.pairs([q, q], [" yes", " no"]) for q in questions]
    items = [ChoiceItem(p[0].context, tuple(x.continuation for x in p)) for p in pairs]

    def answered() -> list[str]:
        scores = score_choices(llama, items, batch_tokens=500)
        return [" yes" if yes > no else " no" for yes, no in scores]

    assert answered() != answers
    with with_saved_adapter(llama.model, tmp_path):
        assert answered() == answers
    # Not to 0: the random output layer, which stays as it is, allows no more certainty.
    assert training.losses[-1] < training.losses[0] / 3


def test_a_base_in_bfloat16_is_adapted_in_float32(model_folder, tmp_path):
    import tiny_models

    base = tiny_models.open_base(model_folder("llama"), dtype="bfloat16")
    training = train_to(tmp_path / "a", base)
    assert next(base.model.parameters()).dtype == torch.bfloat16
    assert {w.dtype for w in load_file(tmp_path / "a" / WEIGHTS).values()} == {torch.float32}
    assert training.losses[-1] < training.losses[0]


def test_what_names_the_base_is_what_the_adapter_records(llama, tmp_path):
    """A model from the hub is recorded by its id, not by the folder of this machine's cache."""
    hub = replace(llama, name="org/model", revision="abc123")
    train_to(tmp_path / "a", hub)
    text = (tmp_path / "a" / "adapter_config.json").read_text(encoding="utf-8")
    assert '"base_model_name_or_path": "org/model"' in text
    assert '"revision": "abc123"' in text

"""Rows end to end, trees, and kept keys and values, against rows of their own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import Mock
from weakref import WeakKeyDictionary

import pytest
import tiny_models
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_choices import flat, items_of
from test_train import WEIGHTS, rows_of, summed

from transferlens.engine import memory, packed, train
from transferlens.engine.adapters import with_merged_adapter, with_new_adapter, with_saved_adapter
from transferlens.engine.attention import UnknownAttentionError
from transferlens.engine.base import Base
from transferlens.engine.choices import score_choices, score_choices_plainly
from transferlens.engine.encode import ChoiceItem
from transferlens.engine.generate import generate, generate_plainly
from transferlens.engine.packed import Pack, Tree, fill_up, packs
from transferlens.study import MethodSpec

PACKING = ("llama", "gpt2", "qwen2", "gpt_neox", "mistral", "gemma3")


@pytest.fixture(scope="module")
def exact_of(model_folder):
    """Give the random model of a family in double precision."""
    made: dict[str, Base] = {}

    def base(family: str) -> Base:
        if family not in made:
            loaded = tiny_models.open_base(model_folder(family))
            for part in loaded.model.modules():
                # GPT-2 brings dropout of its own, whose draws depend on the shape of a batch.
                if isinstance(part, torch.nn.Dropout):
                    part.p = 0.0
            made[family] = replace(loaded, model=loaded.model.double(), dtype="float64")
        return made[family]

    return base


@contextmanager
def double_adapter(model, config):
    with with_new_adapter(model, config) as adapted:
        yield adapted.double()


def test_whatever_takes_attention_from_transformers_is_packed_and_nothing_else(base_of):
    found = {family for family in tiny_models.FAMILIES if packs(base_of(family).model)}
    assert found == set(PACKING)


@pytest.mark.parametrize(
    ("error", "is_padded"),
    [
        (UnknownAttentionError("soft caps"), True),
        (IndexError("shapes of another's own"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), False),
    ],
)
def test_a_model_that_cannot_be_packed_says_why_and_short_memory_is_no_reason(
    base_of, monkeypatch, caplog, error, is_padded
):
    model = base_of("llama").model
    monkeypatch.setattr(packed, "_fits", WeakKeyDictionary())
    monkeypatch.setattr(packed, "logits_at", Mock(side_effect=error))
    caplog.set_level("INFO")
    if is_padded:
        assert not packs(model)
        assert repr(error) in caplog.text
    else:
        with pytest.raises(RuntimeError, match="allocate"):
            packs(model)
        assert model not in packed._fits


@pytest.mark.parametrize("family", PACKING)
def test_the_loss_of_packed_rows_is_that_of_padded_rows_to_1e_10(exact_of, family):
    base = exact_of(family)
    rows = rows_of(base)
    one, other = (summed(loss, base, rows) for loss in (train.packed_loss, train.padded_loss))
    assert one == pytest.approx(other, abs=1e-10, rel=0)
    assert one > 10


@pytest.mark.parametrize("family", PACKING)
def test_adapters_trained_on_packed_rows_are_those_of_padded_rows_to_1e_10(
    exact_of, tmp_path, monkeypatch, family
):
    base = exact_of(family)
    monkeypatch.setattr(train, "with_new_adapter", double_adapter)
    method = MethodSpec(rank=4, steps=4, batch_tokens=60, learning_rate=1e-3, weight_decay=0.1)
    losses = []
    for name, answer in (("packed", True), ("padded", False)):
        monkeypatch.setattr(train, "packs", lambda _, answer=answer: answer)
        (tmp_path / name).mkdir()
        done = train.train_adapter(base, rows_of(base), tmp_path / name, method=method, seed=0)
        losses.append(done.losses)
    assert losses[0] == pytest.approx(losses[1], abs=1e-10, rel=0)
    one, other = (load_file(tmp_path / name / WEIGHTS) for name in ("packed", "padded"))
    assert one.keys() == other.keys()
    assert all(weight.dtype == torch.float64 for weight in one.values())
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], atol=1e-10, rtol=0)
    assert max(weight.abs().max() for name, weight in one.items() if "lora_B" in name) > 1e-3


@pytest.mark.parametrize("family", PACKING)
@pytest.mark.parametrize("shared", [0, 40])
def test_scores_of_trees_are_those_of_whole_rows_to_1e_10(exact_of, family, shared):
    base = exact_of(family)
    start = tuple(range(10, 10 + shared))
    items = [ChoiceItem(start + item.context, item.choices) for item in items_of(base)]
    fast = flat(score_choices(base, items, batch_tokens=60))
    assert fast == pytest.approx(flat(score_choices_plainly(base, items)), abs=1e-10, rel=0)


tokens = st.integers(4, 390)
trees = st.builds(
    Tree,
    st.lists(tokens, min_size=1, max_size=12).map(tuple),
    st.lists(st.lists(tokens, min_size=1, max_size=4).map(tuple), max_size=3).map(tuple),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(trees=st.lists(trees, min_size=1, max_size=5))
def test_no_token_sees_another_tree_or_another_branch(exact_of, trees):
    """Each branch has the logits that it has in a row of its own with its stem."""
    base = exact_of("llama")
    pack = Pack(trees, base.device)
    columns = torch.arange(sum(tree.size for tree in trees))
    with torch.no_grad(), packed.packed(base.model, pack, columns) as logits:
        pass
    for start, tree in zip(pack.starts, trees, strict=True):
        place = start + len(tree.stem)
        for branch in tree.branches or ((),):
            with torch.no_grad():
                alone = base.model(torch.tensor([tree.stem + branch])).logits[0]
            ours = [*range(start, start + len(tree.stem)), *range(place, place + len(branch))]
            torch.testing.assert_close(logits[ours], alone, atol=1e-10, rtol=0)
            place += len(branch)


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 1000))
def test_passes_hold_every_row_once_and_no_more_tokens_than_allowed(sizes, limit):
    passes = fill_up(sizes, max_tokens=limit)
    assert sorted(row for rows in passes for row in rows) == list(range(len(sizes)))
    assert all(sum(sizes[row] for row in rows) <= limit or len(rows) == 1 for rows in passes)
    order = [sizes[row] for rows in passes for row in rows]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("family", PACKING)
def test_the_last_layer_computes_only_what_is_looked_at(exact_of, family):
    base = exact_of(family)
    seen = []
    decoder = base.model.get_decoder()
    layers = getattr(decoder, "layers", None) or decoder.h
    with torch.no_grad():
        pack = Pack([Tree((5, 6, 7, 8, 9)), Tree((5, 6, 7))], base.device)
        inner = next(m for m in layers[-1].mlp.modules() if not list(m.children()))
        handle = inner.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
        try:
            with packed.packed(base.model, pack, torch.tensor([4, 7])):
                pass
        finally:
            handle.remove()
    assert seen == [2]


def test_a_pass_leaves_neither_hooks_nor_another_attention_behind(llama):
    before = llama.model.config._attn_implementation
    pack = Pack([Tree((5, 6, 7))], llama.device)
    with (
        pytest.raises(ZeroDivisionError),
        packed.packed(llama.model, pack, torch.tensor([2])),
    ):
        raise ZeroDivisionError
    assert llama.model.config._attn_implementation == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.model.modules())


@pytest.mark.parametrize("family", PACKING)
@pytest.mark.parametrize("shared", [0, 40])
def test_rows_that_remember_write_what_rows_that_read_again_write(exact_of, family, shared):
    base = exact_of(family)
    start = tuple(range(10, 10 + shared))
    prompts = [start + prompt for prompt in base.codec.prompts(["The cat", "a", "Q: What is 12"])]
    fast = generate(base, prompts, max_new_tokens=12, stop=("e",), batch_tokens=1000)
    assert fast == generate_plainly(base, prompts, max_new_tokens=12, stop=("e",))


@pytest.mark.parametrize("family", PACKING)
def test_what_is_remembered_predicts_what_whole_rows_predict_to_1e_10(exact_of, family):
    base = exact_of(family)
    prompts = [(5, 6, 7, 8, 9, 10, 11, 12, 13), (20, 21), (30,)]
    more = [(40, 41, 42), (50, 51, 52), (60, 61, 62)]
    with torch.no_grad():
        found, kept = memory.read_prompts(base, prompts, room=3)
        for n in range(3):
            rows = [prompt + new[:n] for prompt, new in zip(prompts, more, strict=True)]
            alone = torch.stack([base.model(torch.tensor([row])).logits[0, -1] for row in rows])
            torch.testing.assert_close(found, alone, atol=1e-10, rtol=0)
            if n == 1:
                kept.keep(torch.tensor([0, 2]))
                prompts, more = prompts[::2], more[::2]
            found = kept.read(base.model, torch.tensor([new[n] for new in more]))


def test_a_common_beginning_is_read_once_and_only_if_it_is_long(llama):
    common = tuple(range(10, 60))
    prefix = memory.read_prefix(llama, [(*common, 5, 6), (*common, 7)])
    assert prefix is not None
    assert prefix.length == len(common)
    assert memory.read_prefix(llama, [(*common, 5)]) is None
    assert memory.read_prefix(llama, [(*common[:9], 5), (*common[:9], 6)]) is None
    # Of equal prompts one token stays, so that each has a place where its answer begins.
    equal = memory.read_prefix(llama, [common, common])
    assert equal is not None
    assert equal.length == len(common) - 1


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma3"])
def test_an_adapter_answers_alike_merged_or_not_and_the_base_is_left_as_it_was(
    base_of, adapter_of, family
):
    base = base_of(family)
    items = items_of(base)
    before = score_choices(base, items, batch_tokens=100)
    own = [(name, w.data_ptr()) for name, w in base.model.named_parameters()]
    with with_saved_adapter(base.model, adapter_of(family)):
        beside = flat(score_choices(base, items, batch_tokens=100))
    with with_merged_adapter(base.model, adapter_of(family)):
        assert not any("lora" in name for name, _ in base.model.named_modules())
        merged = flat(score_choices(base, items, batch_tokens=100))
    with pytest.raises(ZeroDivisionError), with_merged_adapter(base.model, adapter_of(family)):
        raise ZeroDivisionError
    assert merged == pytest.approx(beside, abs=1e-4, rel=0)
    assert score_choices(base, items, batch_tokens=100) == before
    assert [(name, w.data_ptr()) for name, w in base.model.named_parameters()] == own


def test_in_half_precision_an_adapter_is_not_merged(model_folder, adapter_of):
    base = tiny_models.open_base(model_folder("llama"), dtype="bfloat16")
    with with_merged_adapter(base.model, adapter_of("llama")):
        assert any("lora" in name for name, _ in base.model.named_modules())

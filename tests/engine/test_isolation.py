"""Adapters come and go without a trace."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_choices import items_of, naive_scores
from test_train import train_to

from transferlens.engine.adapters import adapter_config, with_new_adapter, with_saved_adapter
from transferlens.engine.base import Base
from transferlens.engine.choices import score_choices
from transferlens.engine.generate import generate
from transferlens.errors import EngineError
from transferlens.study import MethodSpec

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    row = torch.tensor([list(range(5, 45)), list(range(60, 100))])
    return model(input_ids=row).logits.clone()


def state(base: Base) -> tuple:
    """Return everything that an adapter could leave behind."""
    model = base.model
    return (
        [(name, id(module), module.training) for name, module in model.named_modules()],
        [(name, w.data_ptr(), w.requires_grad) for name, w in model.named_parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        sorted(set(model.__dict__) - {"_buffers", "_parameters", "_modules"}),
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "gpt_neox", "bloom"])
def test_after_any_adapters_the_base_is_bit_for_bit_what_it_was(base_of, adapter_of, family):
    base = base_of(family)
    before, left = logits(base.model), state(base)
    config = adapter_config(MethodSpec(rank=3), base=base.name, revision=None)
    one, two = adapter_of(family, 0), adapter_of(family, 1)
    for _ in range(2):
        with with_saved_adapter(base.model, two):
            assert not torch.equal(logits(base.model), before)
        with with_new_adapter(base.model, config) as adapted:
            adapted.train()
            adapted(torch.tensor([[5, 6, 7]])).logits.sum().backward()
        with pytest.raises(ZeroDivisionError), with_saved_adapter(base.model, one):
            raise ZeroDivisionError
        with pytest.raises(KeyboardInterrupt), with_new_adapter(base.model, config):
            raise KeyboardInterrupt
        assert torch.equal(logits(base.model), before)
    assert state(base) == left


def test_an_adapter_answers_alike_whatever_came_before_it(llama, adapter_of):
    seen = {}
    for seed in (0, 1, 0, 1, 1, 0):
        with with_saved_adapter(llama.model, adapter_of("llama", seed)):
            found = logits(llama.model)
        assert torch.equal(seen.setdefault(seed, found), found)
    assert not torch.equal(seen[0], seen[1])


def test_an_adapter_with_dropout_answers_without_it(llama, adapter_of):
    with with_saved_adapter(llama.model, adapter_of("llama")):
        assert '"lora_dropout": 0.3' in (adapter_of("llama") / CONFIG).read_text(encoding="utf-8")
        assert torch.equal(logits(llama.model), logits(llama.model))


FRESH = """
import sys, json
from pathlib import Path
sys.path[:0] = [{here!r}]
import torch
torch.set_num_threads(1)

# Nothing but peft and transformers, told by the adapter which base it belongs to.
from transformers import AutoModelForCausalLM
from peft import PeftConfig, PeftModel
name = PeftConfig.from_pretrained({adapter!r}).base_model_name_or_path
plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(name), {adapter!r}).eval()
row = torch.tensor([list(range(5, 45)), list(range(60, 100))])
with torch.no_grad():
    torch.save(plain(input_ids=row).logits, {out!r} + "/logits.pt")

import tiny_models, test_isolation, test_train
base = tiny_models.open_base({model!r})
answers = test_isolation.answers(base, Path({adapter!r}))
test_train.train_to(Path({out!r}) / "trained", base, seed=7)
print(json.dumps([name, answers]))
"""


class Fresh(NamedTuple):
    """What a fresh process in another folder did with the second adapter of the llama."""

    base_name: str
    answers: list
    logits: torch.Tensor
    trained: Path


@pytest.fixture(scope="module")
def fresh(adapter_of, model_folder, tmp_path_factory) -> Fresh:
    out = tmp_path_factory.mktemp("fresh")
    code = FRESH.format(
        here=str(Path(__file__).parent), model=str(model_folder("llama")),
        adapter=str(adapter_of("llama", 1)), out=str(out),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, cwd=out)
    name, answered = json.loads(done.stdout.splitlines()[-1])
    return Fresh(name, answered, torch.load(out / "logits.pt", weights_only=True), out / "trained")


def answers(base: Base, adapter: Path) -> list:
    """Return scores, as exact numbers, and texts of an adapter."""
    with with_saved_adapter(base.model, adapter):
        scores = score_choices(base, items_of(base), batch_tokens=90)
        prompts = base.codec.prompts(["The cat", "Q: What is", "a"])
        texts = generate(base, prompts, max_new_tokens=10, stop=(), batch_tokens=60)
    return [[[x.hex() for x in row] for row in scores], [t.text for t in texts]]


def test_an_adapter_in_a_loop_equals_the_same_adapter_alone_in_a_fresh_process(
    llama, adapter_of, fresh
):
    looped = [answers(llama, adapter_of("llama", seed)) for seed in (1, 0, 1)]
    assert looped[0] == looped[2] == fresh.answers != looped[1]


def test_plain_peft_loads_a_saved_adapter_from_another_folder(llama, adapter_of, fresh):
    assert Path(fresh.base_name).is_absolute()
    assert Path(fresh.base_name).samefile(llama.name)
    with with_saved_adapter(llama.model, adapter_of("llama", 1)):
        assert torch.equal(logits(llama.model), fresh.logits)


def test_a_fresh_process_trains_the_same_bytes(llama, tmp_path, fresh):
    train_to(tmp_path / "before", llama, seed=9)
    train_to(tmp_path / "here", llama, seed=7)
    for name in (WEIGHTS, CONFIG):
        assert (tmp_path / "here" / name).read_bytes() == (fresh.trained / name).read_bytes()


def test_a_saved_adapter_is_two_files_and_no_pickle(adapter_of):
    folder = adapter_of("llama")
    assert sorted(file.name for file in folder.iterdir()) == [CONFIG, WEIGHTS]
    weights = load_file(folder / WEIGHTS)
    assert all("lora_" in name for name in weights)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert config["peft_type"] == "LORA"
    assert config["task_type"] == "CAUSAL_LM"
    assert config["inference_mode"] is True


def _cut(folder: Path) -> None:
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-50])


def _fill(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"not a tensor" * 10)


def _drop_half(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file(dict(list(weights.items())[::2]), folder / WEIGHTS)


def _add_one(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    more = {"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.ones(4, 32)}
    save_file(weights | more, folder / WEIGHTS)


def _reshape(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    name = max(weights)
    save_file(weights | {name: weights[name][:-1].contiguous()}, folder / WEIGHTS)


def _no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def _no_config(folder: Path) -> None:
    (folder / CONFIG).unlink()


def _half_config(folder: Path) -> None:
    (folder / CONFIG).write_text((folder / CONFIG).read_text(encoding="utf-8")[:80])


def _list_config(folder: Path) -> None:
    (folder / CONFIG).write_text("[]")


def _other_layers(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps({**config, "target_modules": ["q_proj"]}))


def _no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "damage",
    [
        _cut, _fill, _drop_half, _add_one, _reshape, _no_weights, _no_config, _half_config,
        _list_config, _other_layers, _no_folder,
    ],
)  # fmt: skip
def test_a_damaged_adapter_is_one_clear_error_and_leaves_the_base_alone(
    llama, adapter_of, tmp_path, damage
):
    folder = tmp_path / "adapter"
    shutil.copytree(adapter_of("llama"), folder)
    damage(folder)
    before, left = logits(llama.model), state(llama)
    with pytest.raises(EngineError) as caught, with_saved_adapter(llama.model, folder):
        pass
    text = str(caught.value)
    assert text.startswith(f"{folder}: the adapter cannot be loaded: ")
    assert text.endswith("delete it and run again")
    assert "\n" not in text
    assert torch.equal(logits(llama.model), before)
    assert state(llama) == left


def test_after_a_damaged_adapter_the_next_one_is_right(llama, adapter_of, tmp_path):
    with with_saved_adapter(llama.model, adapter_of("llama")):
        expected = naive_scores(llama, items_of(llama))
    folder = tmp_path / "adapter"
    shutil.copytree(adapter_of("llama"), folder)
    _reshape(folder)
    with pytest.raises(EngineError), with_saved_adapter(llama.model, folder):
        pass
    with with_saved_adapter(llama.model, adapter_of("llama")):
        assert naive_scores(llama, items_of(llama)) == expected

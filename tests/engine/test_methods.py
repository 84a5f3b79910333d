"""Every adaptation method, against transformers and peft used plainly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from safetensors.torch import load_file
from test_choices import flat, items_of
from test_generate import PROMPTS
from test_isolation import logits, state
from test_train import labelled, rows_of
from tiny_models import folder_of
from transformers import AutoModelForCausalLM

from transferlens.engine.adapters import (
    adapter_config,
    load_adapter,
    with_merged_adapter,
    with_new_adapter,
    with_saved_adapter,
)
from transferlens.engine.base import Base
from transferlens.engine.batches import optimizer_steps
from transferlens.engine.choices import score_choices
from transferlens.engine.estimate import model_size
from transferlens.engine.generate import generate
from transferlens.engine.packed import packs
from transferlens.engine.train import rate_factor, train_adapter
from transferlens.errors import EngineError
from transferlens.study import MethodSpec
from transferlens.study.method import METHODS

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning",
    "ignore:fan_in_fan_out is set to False",
)

# Small steps: AdamW turns rounding errors of tiny gradients into whole steps.
COMMON = {"steps": 3, "batch_tokens": 60, "learning_rate": 1e-3, "weight_decay": 0.1}
OWN = {
    "lora": {"rank": 4},
    "rslora": {"rank": 4},
    "dora": {"rank": 4},
    "prompt": {"virtual_tokens": 5},
    "prefix": {"virtual_tokens": 5},
}
PEFT = {
    "lora": lambda: LoraConfig(r=4, lora_alpha=32, target_modules="all-linear"),
    "rslora": lambda: LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", use_rslora=True),
    "dora": lambda: LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", use_dora=True),
    "ia3": IA3Config,
    "prompt": lambda: PromptTuningConfig(num_virtual_tokens=5, prompt_tuning_init="SAMPLE_VOCAB"),
    "prefix": lambda: PrefixTuningConfig(num_virtual_tokens=5),
}
TUNED = ("full", "bitfit")
OTHERS = [(m, f) for m in ("ia3", "prompt", "prefix") for f in ("gpt2", "gemma3", "bloom")]
CASES = [*((m, "qwen2" if m == "bitfit" else "llama") for m in METHODS), *OTHERS]


def method_of(name: str, **more) -> MethodSpec:
    return MethodSpec(**{"name": name, **COMMON, **OWN.get(name, {}), **more})


@pytest.fixture(scope="module")
def trained(base_of, tmp_path_factory) -> Callable[[str, str], Path]:
    """Folder of an adapter that has moved far from its start."""
    made: dict[tuple[str, str], Path] = {}

    def folder(name: str, family: str) -> Path:
        if (name, family) not in made:
            base = base_of(family)
            out = tmp_path_factory.mktemp(f"{name}-{family}")
            method = method_of(name, steps=4, learning_rate=5e-2)
            train_adapter(base, rows_of(base), out, method=method, seed=0)
            made[name, family] = out
        return made[name, family]

    return folder


@pytest.fixture(scope="module")
def plain_model(model_folder) -> Callable[[str, Path], torch.nn.Module]:
    """Give a model of its own with an adapter in it, by transformers and peft alone."""

    def load(family: str, folder: Path) -> torch.nn.Module:
        model = AutoModelForCausalLM.from_pretrained(model_folder(family))
        if (folder / "adapter_config.json").is_file():
            return PeftModel.from_pretrained(model, folder).eval()
        record = json.loads((folder / "tuned_config.json").read_bytes())
        values = load_file(folder / record["weights"])
        assert set(values) <= {name for name, _ in model.named_parameters()}
        model.load_state_dict(values, strict=False)
        return model.eval()

    return load


@torch.no_grad()
def last_logits(model: torch.nn.Module, row: list[int]) -> torch.Tensor:
    found = model(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row)).long())
    return found.logits[0, -1]


@pytest.mark.parametrize(("name", "family"), CASES)
def test_likelihoods_and_answers_are_those_of_transformers_and_peft(
    base_of, trained, plain_model, name, family
):
    base, folder = base_of(family), trained(name, family)
    plain, items = plain_model(family, folder), items_of(base)
    untuned = flat(score_choices(base, items, batch_tokens=100))
    prompts = base.codec.prompts(PROMPTS)
    with with_merged_adapter(base.model, folder):
        assert packs(base.model) is (name not in {"prompt", "prefix"} and family != "bloom")
        found = flat(score_choices(base, items, batch_tokens=100))
        written = generate(base, prompts, max_new_tokens=6, stop=(), batch_tokens=200)
    truth = []
    for item in items:
        for choice in item.choices:
            steps = [
                last_logits(plain, [*item.context, *choice[:at]]).double().log_softmax(-1)[token]
                for at, token in enumerate(choice)
            ]
            truth.append(float(sum(steps)))
    # Sums of up to eight tokens; 1e-5 for each of them.
    n = flat([[len(c) for c in item.choices] for item in items])
    assert np.all(np.abs(found - truth) <= 1e-5 * n)
    assert np.abs(found - untuned).max() > 0.01
    for prompt, completion in zip(prompts, written, strict=True):
        row = list(prompt)
        for _ in range(6):
            token = int(last_logits(plain, row).argmax())
            if token in base.codec.stops:
                break
            row.append(token)
        assert completion.text == base.codec.decode(row[len(prompt) :])


def plain_loop(base: Base, model: torch.nn.Module, name: str, method: MethodSpec, seed: int):
    """Train with the loop that anybody would write: padded batches, labels, AdamW, clipping."""
    rows = rows_of(base)
    plan = optimizer_steps(
        [len(row.tokens) for row in rows], batch_tokens=method.batch_tokens,
        epochs=method.epochs, steps=method.steps, rng=np.random.default_rng(seed),
    )  # fmt: skip
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in TUNED:
            for key, weight in model.named_parameters():
                weight.requires_grad_(name == "full" or key.endswith(".bias"))
        else:
            config = PEFT[name]()
            config.task_type = "CAUSAL_LM"
            model = get_peft_model(model, config)
        model.train()
        optimizer = torch.optim.AdamW(
            [w for w in model.parameters() if w.requires_grad], weight_decay=method.weight_decay
        )
        for number, batch in enumerate(plan):
            rate = method.learning_rate * rate_factor(number, len(plan), method)
            optimizer.param_groups[0]["lr"] = rate
            ids, mask, labels = labelled([rows[i] for i in batch])
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), method.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("name", METHODS)
def test_training_is_that_of_a_plain_loop(base_of, model_folder, tmp_path, name):
    family = "qwen2" if name == "bitfit" else "llama"
    base, method = base_of(family), method_of(name)
    training = train_adapter(base, rows_of(base), tmp_path, method=method, seed=3)
    fresh = AutoModelForCausalLM.from_pretrained(model_folder(family))
    model, losses = plain_loop(base, fresh, name, method, 3)
    np.testing.assert_allclose(training.losses, losses, atol=1e-5)
    (file,) = tmp_path.glob("*.safetensors")
    found = load_file(file)
    if name in TUNED:
        expected = {k: w for k, w in model.named_parameters() if w.requires_grad}
    else:
        model.save_pretrained(tmp_path / "plain")
        expected = load_file(tmp_path / "plain" / "adapter_model.safetensors")
    assert found.keys() == expected.keys()
    for key, weight in expected.items():
        # Steps of 1e-3 whose direction agrees to a thousandth.
        torch.testing.assert_close(
            found[key], weight, atol=2e-6 if name == "full" else 1e-6, rtol=0
        )


@pytest.mark.parametrize(("name", "family"), CASES)
def test_the_base_is_bit_for_bit_what_it_was(base_of, trained, name, family):
    base, folder = base_of(family), trained(name, family)
    before, left, fits = logits(base.model), state(base), packs(base.model)
    bits = {key: w.clone() for key, w in base.model.named_parameters()}
    config = adapter_config(method_of(name), base=base.name, revision=None)
    for using in (with_saved_adapter, with_merged_adapter):
        with using(base.model, folder):
            assert not torch.equal(logits(base.model), before)
        with pytest.raises(ZeroDivisionError), using(base.model, folder):
            raise ZeroDivisionError
    with with_new_adapter(base.model, config) as adapted:
        adapted.train()
        logits_of = adapted(input_ids=torch.tensor([[5, 6, 7]])).logits
        logits_of.sum().backward()
        torch.optim.SGD([w for w in adapted.parameters() if w.requires_grad], lr=1.0).step()
    assert torch.equal(logits(base.model), before)
    assert (state(base), packs(base.model)) == (left, fits)
    assert all(torch.equal(w, bits[key]) for key, w in base.model.named_parameters())


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bytes(base_of, tmp_path, name):
    base = base_of("qwen2" if name == "bitfit" else "llama")
    content = []
    for run, seed in (("a", 1), ("between", 2), ("b", 1)):
        (tmp_path / run).mkdir()
        method = method_of(name, steps=2)
        train_adapter(base, rows_of(base), tmp_path / run, method=method, seed=seed)
        files = sorted((tmp_path / run).iterdir())
        content.append({file.name: file.read_bytes() for file in files})
    assert content[0] == content[2]
    # Where nothing is drawn, the order of the rows still differs.
    assert content[0] != content[1]


@pytest.mark.parametrize(("name", "family"), [*CASES, ("dora", "gpt2"), ("bitfit", "gpt2")])
def test_an_estimate_counts_what_is_trained(base_of, model_folder, name, family):
    base, method = base_of(family), method_of(name)
    config = adapter_config(method, base=base.name, revision=None)
    with with_new_adapter(base.model, config) as adapted:
        trained = sum(w.numel() for w in adapted.parameters() if w.requires_grad)
    assert model_size(folder_of(model_folder(family)), method).n_lora == trained


def test_a_base_without_biases_is_refused_in_one_line(llama, tmp_path):
    with pytest.raises(EngineError) as caught:
        train_adapter(llama, rows_of(llama), tmp_path, method=method_of("bitfit"), seed=0)
    assert str(caught.value).startswith("method bitfit: the base model ")
    assert "has no biases" in str(caught.value)


def test_full_fine_tuning_of_a_bfloat16_base_keeps_steps_below_its_digits(model_folder, tmp_path):
    from tiny_models import open_base

    base = open_base(model_folder("llama"), dtype="bfloat16")
    before = {key: w.clone() for key, w in base.model.named_parameters()}
    # One step of 1e-4 is lost in bfloat16 for most weights near 0.15; forty are 4e-3.
    method = method_of("full", steps=40, learning_rate=1e-4, schedule="constant", weight_decay=0.0)
    train_adapter(base, rows_of(base), tmp_path, method=method, seed=0)
    found = load_file(tmp_path / "tuned_weights.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    assert found[name].dtype == torch.bfloat16
    large = before[name].abs() > 0.07
    moved = (found[name] != before[name])[large].float().mean()
    assert moved > 0.5


@pytest.mark.parametrize(("name", "family"), [("full", "llama"), ("ia3", "llama")])
def test_an_adapter_can_be_put_into_a_model_for_good(
    trained, plain_model, model_folder, name, family
):
    model = AutoModelForCausalLM.from_pretrained(model_folder(family))
    loaded = load_adapter(model, trained(name, family)).eval()
    expected = plain_model(family, trained(name, family))
    assert torch.equal(last_logits(loaded, [5, 6, 7]), last_logits(expected, [5, 6, 7]))


def test_weights_of_another_model_are_refused_and_leave_it_as_it_was(base_of, trained):
    other = base_of("qwen2")
    before, left = logits(other.model), state(other)
    with (
        pytest.raises(EngineError, match=r"cannot be loaded: tuned_weights\.safetensors does not"),
        with_saved_adapter(other.model, trained("full", "llama")),
    ):
        pass
    assert torch.equal(logits(other.model), before)
    assert state(other) == left

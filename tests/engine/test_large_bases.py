"""Where a base or a batch is too large for the machine: the same result, or one clear line."""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import TEXTS, folder_of, open_base

from transferlens.engine import base as base_module
from transferlens.engine import train
from transferlens.engine.outline import outline_study
from transferlens.engine.scarce import is_out_of_memory
from transferlens.errors import EngineError, MissingExtraError
from transferlens.study import ComputeSpec, MethodSpec, StudySpec

METHOD = MethodSpec(rank=4, steps=4, batch_tokens=300, learning_rate=3e-2)


def trained(base, folder, report=lambda _: None):
    folder.mkdir()
    rows = base.codec.training_rows(
        [text[:12] for text in TEXTS], [text[12:] for text in TEXTS], max_length=64
    )
    done = train.train_adapter(base, rows, folder, method=METHOD, seed=0, report=report)
    return done, load_file(folder / "adapter_model.safetensors")


def short_of_memory(monkeypatch, enough):
    """Let no pass of more tokens than this get the memory it asks for."""
    known = train.packed_loss

    @contextmanager
    def hungry(base, rows):
        if sum(len(row.tokens) for row in rows) > enough:
            torch.empty(10**15, dtype=torch.uint8)
        with known(base, rows) as loss:
            yield loss

    monkeypatch.setattr(train, "packed_loss", hungry)


def test_a_step_for_which_memory_is_short_is_taken_in_smaller_passes_with_the_same_result(
    llama, tmp_path, monkeypatch
):
    whole, weights = trained(llama, tmp_path / "whole")
    short_of_memory(monkeypatch, 140)
    steps = []
    split, same = trained(llama, tmp_path / "split", steps.append)
    # 2,048 tokens are halved until they fit, once, and not tried again.
    assert {step.pass_tokens for step in steps} == {128}
    assert whole.tokens == split.tokens
    assert split.losses == pytest.approx(whole.losses, rel=1e-6)
    assert split.grad_norms == pytest.approx(whole.grad_norms, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(same[name], weight, atol=2e-5, rtol=1e-4)


def test_where_not_even_the_smallest_pass_fits_the_error_says_that_memory_is_short(
    llama, tmp_path, monkeypatch
):
    short_of_memory(monkeypatch, 0)
    with pytest.raises(RuntimeError, match="allocate") as caught:
        trained(llama, tmp_path / "none")
    assert is_out_of_memory(caught.value)


def outline_of(folder, **base):
    return outline_study(
        StudySpec.from_dict(
            {
                "base": {"model": str(folder), **base}, "limits": {"train": 4, "test": 4},
                "sources": ["arithmetic"], "targets": ["topic"],
            }
        )
    )  # fmt: skip


def test_a_base_in_fewer_bits_is_another_base_to_its_adapters_and_cells(model_folder):
    plans = [
        outline_of(model_folder("llama"), **bits).plan
        for bits in ({}, {"quantization": "8bit"}, {"quantization": "4bit"})
    ]
    assert len({plan.base["fingerprint"] for plan in plans}) == 3
    assert len({plan.base["stamp"] for plan in plans}) == 3
    assert len({plan.adapters[0].id for plan in plans}) == 3
    assert len({cell.id for plan in plans for cell in plan.cells}) == sum(
        len(plan.cells) for plan in plans
    )


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is here"
)
def test_fewer_bits_need_bitsandbytes_and_say_so(model_folder):
    folder = folder_of(model_folder("llama"), quantization="4bit")
    with pytest.raises(MissingExtraError, match=r"quantization=4bit needs bitsandbytes, which is"):
        base_module.load_base(folder, ComputeSpec(device="cpu"))


def test_a_base_that_accelerate_has_placed_trains_the_same_adapter(llama, model_folder, tmp_path):
    placed = open_base(model_folder("llama"), device_map="auto")
    _, weights = trained(llama, tmp_path / "plain")
    _, same = trained(placed, tmp_path / "placed")
    assert all(torch.equal(same[name], weight) for name, weight in weights.items())


def test_a_base_of_which_a_part_fits_no_device_is_refused(model_folder, tmp_path, monkeypatch):
    scarce = {
        "device_map": "auto", "max_memory": {"cpu": 60_000}, "offload_folder": str(tmp_path),
    }  # fmt: skip
    monkeypatch.setattr(base_module, "_placing", lambda *_: scarce)
    with pytest.raises(EngineError, match=r"100% of its weights fit no device.*quantization"):
        open_base(model_folder("llama"))

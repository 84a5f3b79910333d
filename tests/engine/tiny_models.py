"""Small random language models with their own tokenizers, saved as Hugging Face folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from transferlens.engine.base import Base, load_base
from transferlens.engine.locate import BaseFolder, locate_base
from transferlens.study import ComputeSpec, StudySpec

FAMILIES = ("llama", "gpt2", "qwen2", "gpt_neox", "bloom", "mistral", "gemma3")
"""Rotary, learned, grouped, parallel, ALiBi, and sliding attention; with a BOS and without."""

TEXTS = [
    "The capital of France is Paris, and the river there is the Seine.",
    "Q: What is 12 + 30? A: 42",
    "Is the review positive or negative? I loved every minute of it.",
    "The cat sat on the mat while the dog slept near the door.",
    "negative positive neutral yes no maybe true false entailment contradiction",
    "Rewrite: she walks to school\nAnswer: she walked to school\n\nQuestion:",
    "Éloïse paid 3 € for naïve jalapeños; 東京 is far away.",
]
VOCABULARY = 400


def save_model(
    folder: Path, family: str, *, seed: int = 0, start_token: bool | None = None
) -> Path:
    """Write a random model of a family with its tokenizer to a folder."""
    bos = family in {"llama", "mistral", "gemma3"} if start_token is None else start_token
    tokenizer = make_tokenizer(bos=bos)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _make_model(family, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """Train a byte-level tokenizer on a few sentences."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|end|>", "<s>", "<pad>", "<|turn|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS * 3, trainer)
    named: dict[str, Any] = {"eos_token": "<|end|>", "extra_special_tokens": ["<|turn|>"]}
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", inner.token_to_id("<s>"))]
        )
        named |= {"bos_token": "<s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=256, **named)


def _make_model(family: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        # Far from uniform, so that scores differ by whole nats.
        "initializer_range": 0.15,
    }
    rotary = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
    }
    grouped = {**rotary, "num_key_value_heads": 2}
    few = {"hidden_size": 32, "n_layer": 2, "n_head": 4}
    build: dict[str, Callable[[], PreTrainedModel]] = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**common, **grouped)),
        "qwen2": lambda: Qwen2ForCausalLM(
            Qwen2Config(**common, **grouped, tie_word_embeddings=True)
        ),
        "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**common, **rotary)),
        "mistral": lambda: MistralForCausalLM(
            MistralConfig(**common, **grouped, sliding_window=6)
        ),
        "gemma3": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(
                **common, **grouped, head_dim=8, sliding_window=6, final_logit_softcapping=5.0,
                layer_types=["sliding_attention", "full_attention"],
            )
        ),
        "bloom": lambda: BloomForCausalLM(BloomConfig(**common, **few)),
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, n_positions=256)
        ),
    }  # fmt: skip
    return build[family]()


def spec_for(model: str | Path, root: Path | None = None, **base: Any) -> StudySpec:
    """Return a study that names a base model and little else."""
    return StudySpec.from_dict(
        {
            "base": {"model": str(model), **base},
            "sources": ["addition"],
            "targets": ["addition"],
        },
        root=root or Path.cwd(),
    )


def folder_of(model: str | Path, **base: Any) -> BaseFolder:
    """Locate a model as a study does."""
    return locate_base(spec_for(model, **base))


def open_base(model: str | Path, **compute: Any) -> Base:
    """Load a model on the CPU as a study does."""
    return load_base(folder_of(model), ComputeSpec(device="cpu", **compute))

"""Pre-train the embedded base model from scratch on text that the project generates.

Run ``python scripts/pretrain_base.py --out build/base``; the same arguments give
the same text, order and initial weights. A run that was stopped goes on from its
last checkpoint. The finished folder is in Hugging Face format and is what
``src/transferlens/engine/embedded`` holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from transferlens.tasks.suite.corpus import documents, plain, spans

TOKENIZER_DOCUMENTS = 30_000
OTHER_TOKENS = 0.25
SPECIAL = ("<pad>", "<s>", "</s>")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2_400)
    parser.add_argument("--rows", type=int, default=24, help="rows per step")
    parser.add_argument("--length", type=int, default=192, help="tokens per row")
    parser.add_argument("--learning-rate", type=float, default=6e-3, help="of Muon, at its peak")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE whose digits are single tokens, so that numbers are compositional."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = map(plain, itertools.islice(documents(seed=seed), TOKENIZER_DOCUMENTS))
    tokenizer.train_from_iterator(texts, trainer)
    pad, bos, eos = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Make the untrained model."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def packed_rows(
    tokenizer: PreTrainedTokenizerFast, seed: int, *, rows: int, length: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield token ids (rows, length), documents joined by the end token, and which to learn.

    What follows from the text before it is learned always, other tokens a quarter of the time:
    most of a document is drawn at random, and nothing can be learned from it beyond its words.
    """
    rng = np.random.default_rng(seed)
    ids: list[int] = []
    known: list[bool] = []
    texts = documents(seed=seed)
    wanted = rows * length
    while True:
        while len(ids) < wanted:
            parts = [spans(document) for document in itertools.islice(texts, 256)]
            flat = [text for document in parts for text, _ in document]
            encoded = iter(tokenizer(flat, add_special_tokens=False)["input_ids"])
            for document in parts:
                for _, follows in document:
                    tokens = next(encoded)
                    ids += tokens
                    known += [follows] * len(tokens)
                ids.append(tokenizer.eos_token_id)
                known.append(True)
        chosen = np.array(known[:wanted]) | (rng.random(wanted) < OTHER_TOKENS)
        yield (
            torch.tensor(ids[:wanted]).view(rows, length),
            torch.from_numpy(chosen).view(rows, length),
        )
        del ids[:wanted], known[:wanted]


def loss_of(model: LlamaForCausalLM, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the mean next-token loss in nats over the tokens to learn."""
    ids, chosen = batch
    wanted = chosen[:, 1:]
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), ids[:, 1:][wanted])


@torch.no_grad()
def held_out_loss(
    model: LlamaForCausalLM, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> float:
    """Return the loss in nats per learned token on documents of another seed."""
    return float(np.mean([loss_of(model, batch).item() for batch in batches]))


def schedule(progress: float, peak: float) -> float:
    """Return the learning rate: up linearly over 1 percent, then down a cosine to 2 percent."""
    if progress < 0.01:
        return peak * max(progress, 1e-4) / 0.01
    return peak * (0.02 + 0.49 * (1.0 + math.cos(math.pi * min((progress - 0.01) / 0.99, 1.0))))


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of matrices (number, row, column) near 1, by Newton and Schulz."""
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide is matrices else x.mT


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are orthogonalised [1]_, with AdamW's size of update [2]_.

    It needs half of AdamW's steps here. torch's own works in bfloat16, which is slow on a
    processor without it.

    References
    ----------
    .. [1] Jordan et al. *Muon*. 2024. https://kellerjordan.github.io/posts/muon/
    .. [2] Liu et al. *Muon is scalable for LLM training*. 2025. arXiv:2502.16982
    """

    def __init__(self, matrices: list[torch.nn.Parameter]) -> None:
        super().__init__(matrices, {"lr": 1.0, "momentum": 0.95, "weight_decay": 0.1})

    @torch.no_grad()
    def step(self) -> None:
        """Update all matrices, those of one shape together."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for weight in group["params"]:
                by_shape.setdefault(weight.shape, []).append(weight)
            for shape, weights in by_shape.items():
                updates = orthogonalised(torch.stack([self._momentum(w, group) for w in weights]))
                scale = 0.2 * max(shape) ** 0.5 * group["lr"]
                for weight, update in zip(weights, updates, strict=True):
                    weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-scale)

    def _momentum(self, weight: torch.nn.Parameter, group: dict[str, float]) -> torch.Tensor:
        state = self.state[weight]
        if "sum" not in state:
            state["sum"] = torch.zeros_like(weight)
        state["sum"].mul_(group["momentum"]).add_(weight.grad)
        return weight.grad + group["momentum"] * state["sum"]


def optimizers(model: LlamaForCausalLM, peak: float) -> list[tuple[torch.optim.Optimizer, float]]:
    """Return the optimizers with their peak rates: Muon for the layers, AdamW for what is left."""
    layers = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in layers}
    rest = [p for p in model.parameters() if id(p) not in inside]
    adam = torch.optim.AdamW(rest, lr=1.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return [(Muon(layers), peak), (adam, peak / 2)]


def save(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint so that a kill leaves the old one."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def main() -> None:
    """Train, log and save."""
    options = arguments()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(options.seed)
    model = new_model(tokenizer, options.seed)
    pairs = optimizers(model, options.learning_rate)
    checkpoint = options.out / "checkpoint.pt"
    first, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for (optimizer, _), stored in zip(pairs, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        first, spent = state["step"], state["seconds"]
    shape = {"rows": options.rows, "length": options.length}
    batches = packed_rows(tokenizer, options.seed + 1, **shape)
    held_out = list(itertools.islice(packed_rows(tokenizer, options.seed + 2, **shape), 8))
    start = time.monotonic() - spent
    log = (options.out / "log.jsonl").open("a", encoding="utf-8")
    for step, batch in enumerate(itertools.islice(batches, options.steps)):
        if step < first:
            continue
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in pairs:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step / options.steps, peak)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 25 == 0 or step + 1 == options.steps:
            seconds = time.monotonic() - start
            entry = {
                "step": step + 1,
                "tokens": (step + 1) * batch[0].numel(),
                "loss": round(loss.item(), 4),
                "held_out": round(held_out_loss(model, held_out), 4),
                "seconds": round(seconds, 1),
            }
            print(json.dumps(entry), file=log, flush=True)
            print(entry, flush=True)
        if (step + 1) % 200 == 0 or step + 1 == options.steps:
            model.save_pretrained(options.out)
            tokenizer.save_pretrained(options.out)
            save(
                checkpoint,
                {
                    "model": model.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer, _ in pairs],
                    "step": step + 1,
                    "seconds": time.monotonic() - start,
                },
            )


if __name__ == "__main__":
    main()

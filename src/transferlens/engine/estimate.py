"""What a study will cost, before it runs: time, memory and disk, within a factor of about two.

Time is floating-point operations over the speed of this machine's matrix
products, measured for a moment, plus what small models mostly spend: a fixed
cost per layer and pass, and one per token for everything but the products. A
pass forward takes 2 operations per weight and token, and training LoRA 4, since
the base has no weight gradients.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

from transferlens.engine.base import resolve_device, resolve_dtype, use_threads
from transferlens.engine.locate import BaseFolder
from transferlens.study import ComputeSpec, MethodSpec

__all__ = [
    "Estimate",
    "ModelSize",
    "Work",
    "available_memory",
    "estimate",
    "measure_rate",
    "model_size",
    "needs_checkpoints",
]

_EFFICIENCY = 0.5
"""Share of the rate of bare matrix products that a model reaches."""

_LAYER_SECONDS = {"cpu": 7e-4}
"""Fixed cost per layer and forward pass; other devices: 0.1 ms."""

_ELEMENT_SECONDS = {"cpu": 3e-8}
"""Cost of all that is no matrix product, per token, layer and hidden unit; else 0.1 ns."""

_POSITIONS = re.compile(r"\bwpe\b|position")
"""Tables of positions, which are looked up and not multiplied."""

_PASS_TOKENS = 2048
_ROW_BYTES = 60  # of a stored prediction, compressed
_PROCESS_BYTES = 700_000_000  # torch, transformers and peft themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """Sizes of a base model that decide its cost."""

    n_weights: int
    n_body: int
    """Weights of linear layers, which every token goes through."""
    n_lora: int
    """Weights of one adapter."""
    n_layers: int
    hidden: int
    vocabulary: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Tokens that a study trains on, reads and writes."""

    n_adapters: int
    train_tokens: int
    train_steps: int
    learnt_tokens: int
    read_tokens: int
    written_tokens: int
    """Upper bound: generations end early."""
    generations: int
    """Forward passes of generations, at most."""
    n_predictions: int
    batch_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a study will cost on this machine, if nothing of it is done yet."""

    train_seconds: float
    evaluate_seconds: float
    """Upper bound where answers are generated: they may end early."""
    memory_bytes: int
    """Peak of the device's memory; on a CPU that of the process."""
    disk_bytes: int
    flops_per_second: float
    """Measured rate of this machine's matrix products."""
    checkpointing: bool
    """Whether training computes hidden states again instead of keeping them."""

    @property
    def seconds(self) -> float:
        """Time of everything."""
        return self.train_seconds + self.evaluate_seconds


def model_size(base: BaseFolder, method: MethodSpec) -> ModelSize:
    """Return the sizes of a base model from the headers of its files."""
    hidden = int(base.config.get("hidden_size") or base.config.get("n_embd") or 0)
    vocabulary = int(base.config.get("vocab_size") or 0)
    linear = {
        name: shape
        for name, shape in base.shapes.items()
        if len(shape) == 2 and vocabulary not in shape and not _POSITIONS.search(name)
    }
    adapted = [shape for name, shape in linear.items() if _is_target(name, method)]
    return ModelSize(
        n_weights=sum(math.prod(shape) for shape in base.shapes.values()),
        n_body=sum(math.prod(shape) for shape in linear.values()),
        n_lora=method.rank * sum(sum(shape) for shape in adapted),
        n_layers=int(base.config.get("num_hidden_layers") or base.config.get("n_layer") or 1),
        hidden=hidden,
        vocabulary=vocabulary,
    )


def _is_target(name: str, method: MethodSpec) -> bool:
    """Whether a weight belongs to a layer that gets an adapter, by peft's rule for names."""
    layer = f".{name.removesuffix('.weight')}"
    named = method.target_modules
    return isinstance(named, str) or any(layer.endswith(f".{target}") for target in named)


def measure_rate(compute: ComputeSpec, *, hidden: int, seconds: float = 0.15) -> float:
    """Return floating-point operations per second of matrix products as a model does them."""
    import torch

    use_threads(compute.threads)
    device = resolve_device(compute.device)
    width = max(hidden, 64)
    kind = getattr(torch, resolve_dtype(compute.dtype, device))
    left = torch.ones(_PASS_TOKENS, width, device=device, dtype=kind)
    right = torch.ones(width, 4 * width, device=device, dtype=kind)
    # The first product also loads the library; the fastest is the least disturbed.
    fastest, began = math.inf, time.perf_counter()
    for turn in itertools.count():
        before = time.perf_counter()
        # Reading one value waits for a device that works on its own.
        (left @ right)[0, 0].item()
        now = time.perf_counter()
        fastest = min(fastest, now - before)
        if turn >= 3 and now - began > seconds:
            break
    return 2.0 * _PASS_TOKENS * width * 4 * width / fastest


def estimate(
    size: ModelSize,
    work: Work,
    *,
    rate: float,
    device: str,
    dtype_bytes: int,
    checkpointing: bool = False,
) -> Estimate:
    """Return what some work costs on a model of some size.

    Parameters
    ----------
    rate
        Floating-point operations per second, see `measure_rate`.
    device
        Type of the device, such as ``"cpu"`` or ``"cuda"``.
    dtype_bytes
        Bytes of one weight of the base.
    checkpointing
        Whether training computes hidden states again instead of keeping them.
    """
    speed = rate * _EFFICIENCY
    layer = _LAYER_SECONDS.get(device, 1e-4) * size.n_layers
    token = _ELEMENT_SECONDS.get(device, 1e-10) * size.n_layers * size.hidden
    head = size.hidden * size.vocabulary
    # Checkpoints cost another pass forward.
    passes = 3 / 2 if checkpointing else 1
    train_flops = passes * (4 * size.n_body + 6 * size.n_lora) * work.train_tokens
    train_flops += 4 * head * work.learnt_tokens
    train_passes = max(work.train_steps, work.train_tokens / _PASS_TOKENS)
    tokens = work.read_tokens + work.written_tokens
    read_flops = 2 * (size.n_body + size.n_lora) * tokens
    read_flops += 2 * head * (work.n_predictions + work.written_tokens)
    read_passes = work.read_tokens / work.batch_tokens + work.generations
    # A pass back costs about twice a pass forward.
    return Estimate(
        train_seconds=train_flops / speed
        + 3 * layer * train_passes
        + 3 * token * work.train_tokens,
        evaluate_seconds=read_flops / speed + layer * read_passes + token * tokens,
        memory_bytes=_memory(size, work, dtype_bytes, checkpointing=checkpointing),
        disk_bytes=work.n_adapters * size.n_lora * 4 + work.n_predictions * _ROW_BYTES,
        flops_per_second=rate,
        checkpointing=checkpointing,
    )


def needs_checkpoints(
    size: ModelSize, work: Work, *, dtype_bytes: int, available: int | None
) -> bool:
    """Whether training would need more memory than there is; False where that is unknown."""
    wanted = _memory(size, work, dtype_bytes, checkpointing=False)
    return available is not None and wanted > available


def available_memory(device: str) -> int | None:
    """Return the bytes that a device can still give; None where the system does not say."""
    import torch

    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    info = Path("/proc/meminfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((1024 * int(kilobytes) for kilobytes in found), None)


def _memory(size: ModelSize, work: Work, dtype_bytes: int, *, checkpointing: bool) -> int:
    """Return the peak of training or evaluation, whichever is larger."""
    # Of each layer its input alone, and all of one layer at a time.
    kept_layers = 20 + size.n_layers if checkpointing else 20 * size.n_layers
    per_token = kept_layers * size.hidden * dtype_bytes
    learnt_share = work.learnt_tokens / max(work.train_tokens, 1)
    logits = 12 * size.vocabulary * learnt_share
    # Weights, gradients and two moments of an adapter, in float32.
    training = 16 * size.n_lora + int(_PASS_TOKENS * (per_token + logits))
    # A layer's values are dropped as soon as the next has them; keys and values stay.
    kept = 2 * size.hidden * size.n_layers * dtype_bytes
    evaluation = 4 * size.n_lora + work.batch_tokens * (kept + 20 * size.hidden * dtype_bytes)
    return _PROCESS_BYTES + size.n_weights * dtype_bytes + max(training, evaluation)

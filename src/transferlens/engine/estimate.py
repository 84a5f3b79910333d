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
from transferlens.engine.trainable import trainable_parameters
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

_EFFICIENCY = 0.6
"""Share of the rate of bare matrix products that a model reaches."""

_LAYER_SECONDS = {"cpu": 7e-4}
"""Fixed cost per layer and forward pass; other devices: 0.1 ms."""

_ELEMENT_SECONDS = {"cpu": 4e-8}
"""Cost of all that is no matrix product, per token, layer and hidden unit; else 0.1 ns."""

_KEPT_PER_WIDTH = 1.6
"""Values that training keeps for the way back, per unit that goes in or out of a linear layer."""

_ALLOCATED = {"cpu": 2.1}
"""What a process takes for each byte in use: its C library gives little back; else 1.2."""

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
    """Weights that one adapter trains, whatever its method."""
    tuned: bool = False
    """Whether those are the base's own weights, and not added to them."""
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
        """Time of everything, on one worker."""
        return self.train_seconds + self.evaluate_seconds

    def seconds_on(self, workers: int, *, n_adapters: int) -> float:
        """Return the time of everything on several workers, each with a device of its own.

        The base and each adapter are one piece of work, all taken to be equally long, so the
        time falls in steps. Starting a worker is not counted.
        """
        pieces = n_adapters + 1
        return self.seconds * -(-pieces // workers) / pieces


def model_size(base: BaseFolder, method: MethodSpec) -> ModelSize:
    """Return the sizes of a base model from the headers of its files."""
    hidden = int(base.config.get("hidden_size") or base.config.get("n_embd") or 0)
    vocabulary = int(base.config.get("vocab_size") or 0)
    linear = {
        name: shape
        for name, shape in base.shapes.items()
        if len(shape) == 2 and vocabulary not in shape and not _POSITIONS.search(name)
    }
    return ModelSize(
        n_weights=sum(math.prod(shape) for shape in base.shapes.values()),
        n_body=sum(math.prod(shape) for shape in linear.values()),
        n_lora=trainable_parameters(base, method, linear),
        tuned=method.name in {"full", "bitfit"},
        n_layers=int(base.config.get("num_hidden_layers") or base.config.get("n_layer") or 1),
        hidden=hidden,
        vocabulary=vocabulary,
    )


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
    added = 0 if size.tuned else size.n_lora
    # Forward and back through all weights, and gradients of those that are trained.
    train_flops = passes * 4 * (size.n_body + added) * work.train_tokens
    train_flops += passes * 2 * size.n_lora * work.train_tokens
    train_flops += 4 * head * work.learnt_tokens
    train_passes = max(work.train_steps, work.train_tokens / _PASS_TOKENS)
    tokens = work.read_tokens + work.written_tokens
    read_flops = 2 * (size.n_body + added) * tokens
    read_flops += 2 * head * (work.n_predictions + work.written_tokens)
    read_passes = work.read_tokens / work.batch_tokens + work.generations
    # A pass back costs about twice a pass forward.
    return Estimate(
        train_seconds=train_flops / speed
        + 3 * layer * train_passes
        + 3 * token * work.train_tokens,
        evaluate_seconds=read_flops / speed + layer * read_passes + token * tokens,
        memory_bytes=_memory(size, work, dtype_bytes, device=device, checkpointing=checkpointing),
        disk_bytes=work.n_adapters * size.n_lora * 4 + work.n_predictions * _ROW_BYTES,
        flops_per_second=rate,
        checkpointing=checkpointing,
    )


def needs_checkpoints(
    size: ModelSize, work: Work, *, dtype_bytes: int, available: int | None, device: str = "cpu"
) -> bool:
    """Whether training would need more memory than there is; False where that is unknown."""
    wanted = _memory(size, work, dtype_bytes, device=device, checkpointing=False)
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


def _memory(
    size: ModelSize, work: Work, dtype_bytes: int, *, device: str, checkpointing: bool
) -> int:
    """Return the peak of training or evaluation, whichever is larger."""
    # Units of all linear layers: of a layer its inputs and outputs are kept for the way back.
    width = size.n_body / max(size.hidden, 1)
    kept = width * _KEPT_PER_WIDTH
    if checkpointing:
        # Of each layer its input alone, and all of one layer at a time.
        kept = kept / size.n_layers + size.n_layers * size.hidden
    learnt_share = work.learnt_tokens / max(work.train_tokens, 1)
    per_token = kept * dtype_bytes + 12 * size.vocabulary * learnt_share
    tokens = min(_PASS_TOKENS, work.train_tokens / max(work.train_steps, 1))
    # Weights, gradients and two moments of an adapter, in float32.
    training = 16 * size.n_lora + tokens * per_token * _ALLOCATED.get(device, 1.2)
    # A layer's values are dropped as soon as the next has them; keys and values stay.
    read = (2 * size.hidden * size.n_layers + 20 * size.hidden) * dtype_bytes
    # In float32 an adapter answers from a copy of the weights to which it is added.
    merged = size.n_body * dtype_bytes if dtype_bytes >= 4 else 4 * size.n_lora
    evaluation = merged + min(work.batch_tokens, work.read_tokens) * read
    return _PROCESS_BYTES + round(size.n_weights * dtype_bytes + max(training, evaluation))

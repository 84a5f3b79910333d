"""Training one adapter: loss on completion tokens only, the same bytes for the same seed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from transferlens.engine.adapters import (
    adapter_config,
    save_adapter,
    start_from,
    with_new_adapter,
)
from transferlens.engine.batches import by_length, optimizer_steps
from transferlens.engine.encode import TrainingRow
from transferlens.engine.forward import logits_at, right_padded
from transferlens.engine.packed import Pack, Tree, fill_up, packed, packs
from transferlens.engine.scarce import with_smaller_batches
from transferlens.errors import EngineError
from transferlens.study import MethodSpec

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from transferlens.engine.base import Base

__all__ = [
    "Diverged",
    "Step",
    "Training",
    "packed_loss",
    "padded_loss",
    "rate_factor",
    "train_adapter",
]

_PASS_TOKENS = 2048
"""Tokens per forward pass: enough to keep a processor busy, few enough for its memory."""


class Diverged(EngineError):  # noqa: N818 - it reads as what happened where it is caught
    """A loss, a gradient or a weight was not a finite number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an optimizer step did."""

    step: int
    """Steps done, from 1."""
    n_steps: int
    loss: float
    """Mean cross-entropy per completion token, before the step, in nats."""
    grad_norm: float
    """Norm of all gradients before clipping."""
    tokens: int
    """Tokens that went through the model in this step, padding not counted."""
    pass_tokens: int
    """Tokens of one pass at most: fewer than at first where the memory was not enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a training run did, for the adapter's record."""

    seed: int
    n_rows: int
    n_truncated: int
    """Rows cut on the right because they exceeded the longest row allowed."""
    n_skipped: int
    """Rows that a cut left without a token to learn."""
    n_steps: int
    tokens: int
    learnt_tokens: int
    seconds: float
    losses: tuple[float, ...]
    """Mean loss of each step."""
    grad_norms: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def train_adapter(
    base: Base,
    rows: Sequence[TrainingRow],
    folder: Path,
    *,
    method: MethodSpec,
    seed: int,
    checkpointing: bool = False,
    after: Path | None = None,
    report: Callable[[Step], None] = lambda _: None,
) -> Training:
    """Train an adapter on rows and write it to ``folder``.

    Nothing but the arguments decides what is written: not what was trained
    before in this process, nor any global random state, which is left as it was.

    Parameters
    ----------
    seed
        Decides the initial weights, the order of the rows, and dropout.
    checkpointing
        Compute the hidden states of each layer again on the way back instead
        of keeping them; the same bits with less memory.
    after
        Folder of an adapter of the same method to go on with; a fresh one by default.
    report
        Called after each optimizer step.

    Raises
    ------
    EngineError
        No row has a token to learn, or the method does not fit the model.
    Diverged
        A loss, a gradient or a weight is not finite; the message has the step.
        Nothing was written.
    """
    learnable = [row for row in rows if row.n_learnt]
    if not learnable:
        msg = "no row has a completion within method.max_length; raise it or shorten the prompts"
        raise EngineError(msg)
    plan = optimizer_steps(
        [len(row.tokens) for row in learnable],
        batch_tokens=method.batch_tokens,
        epochs=method.epochs,
        steps=method.steps,
        rng=np.random.default_rng(seed),
    )
    began = time.perf_counter()
    config = adapter_config(method, base=base.name, revision=base.revision)
    with (
        _seeded(seed),
        with_new_adapter(base.model, config) as adapted,
        _checkpoints(base.model) if checkpointing else nullcontext(),
    ):
        if after is not None:
            start_from(adapted, config, after)
        adapted.train()
        steps = []
        batches = [[learnable[i] for i in batch] for batch in plan]
        for step in _steps(base, adapted, batches, method):
            steps.append(step)
            report(step)
        _check_weights(adapted, steps[-1])
        save_adapter(adapted, config, folder)
    return Training(
        seed=seed,
        n_rows=len(rows),
        n_truncated=sum(row.truncated for row in rows),
        n_skipped=len(rows) - len(learnable),
        n_steps=len(steps),
        tokens=sum(step.tokens for step in steps),
        learnt_tokens=sum(learnable[i].n_learnt for batch in plan for i in batch),
        seconds=time.perf_counter() - began,
        losses=tuple(step.loss for step in steps),
        grad_norms=tuple(step.grad_norm for step in steps),
    )


def _check_weights(adapted: PeftModel | PreTrainedModel, last: Step) -> None:
    """Refuse weights that the last step has blown up; earlier ones show in the next loss."""
    if not all(w.isfinite().all() for w in adapted.parameters() if w.requires_grad):
        msg = (
            f"training diverged at step {last.step} of {last.n_steps}: weights are not finite "
            "after it; lower method.learning_rate"
        )
        raise Diverged(msg)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let torch's own random numbers begin at ``seed``, and put its state back afterwards."""
    # A seed reaches every device; asking one that is not in use yet would start it.
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if in_use else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def _checkpoints(model: PreTrainedModel) -> Iterator[None]:
    """Keep nothing inside a layer on the way forward."""
    # Renamed within transformers 5.
    kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    getattr(model, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    try:
        yield
    finally:
        getattr(model, f"{kind}_checkpointing_disable")()


def _steps(
    base: Base,
    adapted: PeftModel | PreTrainedModel,
    batches: Sequence[Sequence[TrainingRow]],
    method: MethodSpec,
) -> Iterator[Step]:
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    exact = [_exact(weight) for weight in weights]
    optimizer = torch.optim.AdamW(
        exact, lr=method.learning_rate, weight_decay=method.weight_decay, fused=True
    )
    room = _Room(_PASS_TOKENS)
    for number, batch in enumerate(batches, start=1):
        rate = method.learning_rate * rate_factor(number - 1, len(batches), method)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _backward(base, weights, batch, room)
        _take_gradients(exact, weights)
        norm = float(torch.nn.utils.clip_grad_norm_(exact, method.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            msg = (
                f"training diverged at step {number} of {len(batches)}: loss {loss}, gradient "
                f"norm {norm}; lower method.learning_rate or method.max_grad_norm"
            )
            raise Diverged(msg)
        optimizer.step()
        optimizer.zero_grad()
        _give_values(exact, weights)
        yield Step(
            step=number,
            n_steps=len(batches),
            loss=loss,
            grad_norm=norm,
            tokens=sum(len(row.tokens) for row in batch),
            pass_tokens=room.tokens,
        )


@dataclass(slots=True)
class _Room:
    """Tokens of a pass for which the memory was enough, for the rest of a training."""

    tokens: int

    def shrink(self, tokens: int) -> None:
        """Remember that it was not enough for more."""
        self.tokens = tokens


def _exact(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight in which small steps are not lost: itself, or a copy in float32."""
    return weight if weight.dtype.itemsize >= 4 else weight.detach().float()


def _take_gradients(exact: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> None:
    for copy, weight in zip(exact, weights, strict=True):
        if copy is not weight and weight.grad is not None:
            copy.grad, weight.grad = weight.grad.to(copy.dtype), None


@torch.no_grad()
def _give_values(exact: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> None:
    for copy, weight in zip(exact, weights, strict=True):
        if copy is not weight:
            weight.copy_(copy)


def rate_factor(step: int, n_steps: int, method: MethodSpec) -> float:
    """Return the share of the learning rate at a step, counted from 0.

    Rises linearly over ``warmup_ratio`` of the steps, then falls to 0 by the
    schedule. The first step already learns: its factor is above 0.
    """
    warmup = math.ceil(method.warmup_ratio * n_steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(n_steps - warmup, 1)
    if method.schedule == "linear":
        return 1.0 - progress
    return 0.5 + 0.5 * math.cos(math.pi * progress) if method.schedule == "cosine" else 1.0


def _backward(
    base: Base, weights: Sequence[torch.Tensor], batch: Sequence[TrainingRow], room: _Room
) -> float:
    """Leave the gradients of the mean loss per completion token in the weights; return the loss."""
    # The sum is divided only at the end: in float16 small gradients would vanish on their way,
    # and so a step is the same however many passes it takes.
    learnt = sum(row.n_learnt for row in batch)
    is_packed = packs(base.model)
    sizes = [len(row.tokens) for row in batch]

    def summed(pass_tokens: int) -> float:
        for weight in weights:
            weight.grad = None
        losses = []
        for part in (fill_up if is_packed else by_length)(sizes, max_tokens=pass_tokens):
            chosen = [batch[i] for i in part]
            with (packed_loss if is_packed else padded_loss)(base, chosen) as loss:
                torch.autograd.backward(loss)
                losses.append(loss.detach())
        return sum(loss.item() for loss in losses)

    total = with_smaller_batches(summed, room.tokens, smaller=room.shrink)
    for weight in weights:
        if weight.grad is not None:
            weight.grad.div_(learnt)
    return total / learnt


@contextmanager
def packed_loss(base: Base, rows: Sequence[TrainingRow]) -> Iterator[torch.Tensor]:
    """Yield the sum of the cross-entropies of all completion tokens; no padding is read."""
    # The last token is only predicted, never read.
    pack = Pack([Tree(row.tokens[:-1]) for row in rows], base.device)
    learnt = [(i, j) for i, row in enumerate(rows) for j in range(row.n_prompt, len(row.tokens))]
    columns = torch.tensor([pack.starts[i] + j - 1 for i, j in learnt], device=base.device)
    gold = torch.tensor([rows[i].tokens[j] for i, j in learnt], device=base.device)
    with packed(base.model, pack, columns) as logits:
        yield cross_entropy(logits, gold, reduction="sum")


@contextmanager
def padded_loss(base: Base, rows: Sequence[TrainingRow]) -> Iterator[torch.Tensor]:
    """Yield what `packed_loss` does, for any causal model: rows are filled up to one length."""
    tokens = right_padded([r.tokens[:-1] for r in rows], pad=base.codec.pad, device=base.device)
    where = [(i, j - 1) for i, r in enumerate(rows) for j in range(r.n_prompt, len(r.tokens))]
    index = torch.tensor(where, device=base.device)
    gold = torch.tensor([t for r in rows for t in r.tokens[r.n_prompt :]], device=base.device)
    logits, _ = logits_at(base.model, tokens, (index[:, 0], index[:, 1]), use_cache=False)
    yield cross_entropy(logits, gold, reduction="sum")

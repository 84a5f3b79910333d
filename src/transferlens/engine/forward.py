"""Forward passes that compute what is needed: logits only where somebody looks at them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["left_padded", "logits_at", "right_padded", "shares_prefixes"]

_PLAIN_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


def right_padded(rows: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> torch.Tensor:
    """Return rows as a matrix, filled up on the right.

    A causal model needs no mask for it: no token sees what stands after it.
    """
    width = max(len(row) for row in rows)
    filled = [[*row, *[pad] * (width - len(row))] for row in rows]
    return torch.tensor(filled, device=device)


def left_padded(
    rows: Sequence[Sequence[int]], *, pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows as a matrix, filled up on the left, and the mask of what is real."""
    width = max(len(row) for row in rows)
    filled = [[*[pad] * (width - len(row)), *row] for row in rows]
    real = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(filled, device=device), torch.tensor(real, device=device)


def logits_at(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    places: tuple[torch.Tensor, torch.Tensor],
    **more: Any,
) -> tuple[torch.Tensor, Any]:
    """Run a model and return logits at some places, as float32 (place, token), and its output.

    The output layer sees only the hidden states at ``places``: rows and
    columns of ``tokens``. What the model does to its logits afterwards
    (scaling, capping) still happens.
    """
    head = model.get_output_embeddings()
    if head is None:
        output = model(tokens, **more)
        return output.logits[places].float(), output
    with _only(head, places):
        output = model(tokens, **more)
    return output.logits[0].float(), output


@contextmanager
def _only(head: torch.nn.Module, places: tuple[torch.Tensor, torch.Tensor]) -> Iterator[None]:
    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0][places].unsqueeze(0),)

    handle = head.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def shares_prefixes(model: PreTrainedModel) -> bool:
    """Whether the keys and values of a prompt can be kept, selected and continued.

    False for models without rotary or learned positions that one can name, and
    for those that keep a running state: they are evaluated row by row, whole.
    """
    named = inspect.signature(model.forward).parameters
    layers = set(getattr(model.config, "layer_types", None) or ())
    return {"position_ids", "past_key_values"} <= set(named) and layers <= _PLAIN_LAYERS

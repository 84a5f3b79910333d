"""Forward passes that compute what is needed: logits only where somebody looks at them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from transferlens.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["left_padded", "logits_at", "refuse_nan", "right_padded", "shares_prefixes"]

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
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if head is None:
        output = model(tokens, **more)
        return output.logits[places].float(), output
    with _only(head, places) as called:
        output = model(tokens, **more)
    # Some models multiply by the layer's weights themselves.
    return (output.logits[0] if called else output.logits[places]).float(), output


@contextmanager
def _only(head: torch.nn.Module, places: tuple[torch.Tensor, torch.Tensor]) -> Iterator[list[bool]]:
    """Let a layer see some places only; yields a list that is empty until it is called."""
    called: list[bool] = []

    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        called.append(True)
        return (inputs[0][places].unsqueeze(0),)

    handle = head.register_forward_pre_hook(gather)
    try:
        yield called
    finally:
        handle.remove()


def refuse_nan(values: torch.Tensor) -> None:
    """Stop where a model computes NaN: an answer must not be read out of it.

    Raises
    ------
    EngineError
        A value is NaN.
    """
    if values.isnan().any():
        msg = (
            "the model's answers are not numbers (NaN): with an adapter, train it with a lower "
            "method.learning_rate; without one, set compute.dtype=float32"
        )
        raise EngineError(msg)


def shares_prefixes(model: PreTrainedModel) -> bool:
    """Whether the keys and values of a prompt can be kept, selected and continued.

    False for models without rotary or learned positions that one can name, and
    for those that keep a running state: they are evaluated row by row, whole.
    """
    named = inspect.signature(model.forward).parameters
    layers = set(getattr(model.config, "layer_types", None) or ())
    return {"position_ids", "past_key_values"} <= set(named) and layers <= _PLAIN_LAYERS

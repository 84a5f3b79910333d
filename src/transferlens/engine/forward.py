"""Forward passes that compute what is needed: logits only where somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from transferlens.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["logits_at", "refuse_nan", "right_padded", "token_wise"]


def right_padded(rows: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> torch.Tensor:
    """Return rows as a matrix, filled up on the right.

    A causal model needs no mask for it: no token sees what stands after it.
    """
    width = max(len(row) for row in rows)
    filled = [[*row, *[pad] * (width - len(row))] for row in rows]
    return torch.tensor(filled, device=device)


def logits_at(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    places: tuple[torch.Tensor, torch.Tensor],
    **more: Any,
) -> tuple[torch.Tensor, Any]:
    """Run a model and return logits at some places (place, token), and its output.

    The output layer sees only the hidden states at ``places``: rows and
    columns of ``tokens``. What the model does to its logits afterwards
    (scaling, capping) still happens. Half precision is widened to float32.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if head is None:
        output = model(tokens, **more)
        return _wide(output.logits[places]), output
    with _only(head, places) as called:
        output = model(tokens, **more)
    # Some models multiply by the layer's weights themselves.
    return _wide(output.logits[0] if called else output.logits[places]), output


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


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


@contextmanager
def token_wise(model: PreTrainedModel, columns: torch.Tensor, width: int) -> Iterator[None]:
    """Let the last layer of a model compute only what some columns of its one row need.

    The feed-forward block and the projections of queries and of what attention
    gives work token by token, and after the last layer nobody looks at other
    columns: for those they give 0. Keys and values stay whole. A layer whose
    parts have other names computes everything.

    Parameters
    ----------
    columns
        Columns that are looked at, each once.
    width
        Columns of the row.
    """

    def gather(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0][:, columns],)

    def scatter(_: torch.nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output.new_zeros(1, width, output.shape[-1]).index_copy(1, columns, output)

    handles = []
    for part in _token_wise_parts(model) if len(columns) < width else ():
        handles += [
            part.register_forward_pre_hook(gather),
            part.register_forward_hook(scatter),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _token_wise_parts(model: PreTrainedModel) -> list[torch.nn.Module]:
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    layers = getattr(decoder, "layers", None) or getattr(decoder, "h", None) or [None]
    found = [
        getattr(block, name, None)
        for block in (layers[-1], getattr(layers[-1], "self_attn", None))
        for name in ("mlp", "q_proj", "o_proj")
    ]
    return [part for part in found if part is not None]


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

"""Attention of our own in models of others: who sees whom is decided here, not by a mask.

Models of transformers look their attention up by name; under ours, the pass
that is going on computes it. A model whose attention is its own affair (ALiBi,
running states) never asks, which `packs` finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Attention", "UnknownAttentionError", "attending", "dot_product"]

_NAME = "transferlens"
_KNOWN = {"position_ids", "use_cache", "cache_position", "sliding_window"}
"""Arguments of attention that are dealt with here, or that change nothing in it."""


class UnknownAttentionError(Exception):
    """A model asks for attention of a kind that is not computed here: its rows are padded."""


class Attention(Protocol):
    """What a pass does where tokens meet."""

    def attend(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        dropout: float,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Return what each token takes from those it sees (row, column, head, unit).

        ``query``, ``key`` and ``value`` have the shape (row, head, column, unit).
        """


_active: list[Attention] = []
"""The pass that attention belongs to, last. Gradient checkpoints may ask from another thread."""


@contextmanager
def attending(model: PreTrainedModel, how: Attention) -> Iterator[None]:
    """Let a pass compute the model's attention."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if _NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)
    config = model.config
    before = config._attn_implementation  # noqa: SLF001 - transformers has no public reader
    _active.append(how)
    config._attn_implementation = _NAME  # noqa: SLF001 - the public setter looks for hub kernels
    try:
        yield
    finally:
        config._attn_implementation = before  # noqa: SLF001 - as above
        _active.pop()


def _attend(  # noqa: PLR0917 - transformers calls it so
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    unknown = [name for name, given in more.items() if given is not None and name not in _KNOWN]
    if unknown:
        msg = f"this model's attention takes {unknown[0]}, which is not known here"
        raise UnknownAttentionError(msg)
    window = more.get("sliding_window")
    found = _active[-1].attend(
        module, query, key, value, dropout=dropout, scaling=scaling, window=window
    )
    return found, None


def dot_product(
    module: torch.nn.Module,
    states: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    mask: torch.Tensor | None,
    *,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """Return attention of queries, keys and values as transformers computes it.

    Causal where no mask is given; shapes as in `Attention.attend`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    found, _ = sdpa_attention_forward(
        module, *states, mask, dropout=dropout, scaling=scaling, is_causal=mask is None
    )
    return found

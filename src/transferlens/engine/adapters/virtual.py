"""Virtual tokens before every row: prompt and prefix tuning, in the base model itself.

peft puts them in where its own wrapper is called. The engine calls the base,
so that hooks on it do here what the wrapper does there. Packed rows have no
place for tokens that every tree must see, so rows are padded meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transferlens.engine.packed import padded_only

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["reading_virtual_tokens"]


@contextmanager
def reading_virtual_tokens(model: PreTrainedModel, adapted: PeftModel) -> Iterator[None]:
    """Let a model read the virtual tokens of an adapter before every row; others need nothing.

    Logits come without those of virtual tokens.
    """
    if not adapted.peft_config["default"].is_prompt_learning:
        yield
        return
    virtual = _Virtual(adapted)
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    handles = [
        model.register_forward_pre_hook(virtual.before, with_kwargs=True),
        model.register_forward_hook(virtual.after),
    ]
    if head is not None:
        # Registered before those that pick places, so that they count real tokens.
        handles.append(head.register_forward_pre_hook(virtual.at_head))
    try:
        with padded_only(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Virtual:
    """Hooks of one adapter."""

    def __init__(self, adapted: PeftModel) -> None:
        self._adapted = adapted
        config: Any = adapted.peft_config["default"]
        self._count: int = config.num_virtual_tokens
        self._is_prefix = str(config.peft_type.value) == "PREFIX_TUNING"
        self._surplus = 0
        """Columns of virtual tokens that the logits of the pass still have."""

    def before(
        self, model: PreTrainedModel, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[()], dict[str, Any]] | None:
        named = {**named, **({"input_ids": inputs[0]} if inputs else {})}
        tokens: torch.Tensor | None = named.get("input_ids")
        if tokens is None or named.get("past_key_values") is not None:
            # The call of peft's wrapper, which has put them in.
            return None
        rows, width = tokens.shape
        mask = named.get("attention_mask")
        mask = tokens.new_ones(tokens.shape) if mask is None else mask
        named["attention_mask"] = _joined(mask.new_ones(rows, self._count), mask)
        if self._is_prefix:
            named["past_key_values"] = self._adapted.get_prompt(
                rows, max_cache_len=width + self._count
            )
            return (), named
        del named["input_ids"]
        real = model.get_input_embeddings()(tokens)
        virtual = self._adapted.get_prompt(batch_size=rows).to(real.dtype)
        named["inputs_embeds"] = _joined(virtual, real)
        self._surplus = self._count
        return (), named

    def at_head(
        self, _: torch.nn.Module, inputs: tuple[torch.Tensor]
    ) -> tuple[torch.Tensor] | None:
        if not self._surplus:
            return None
        states = inputs[0][:, self._surplus :]
        self._surplus = 0
        return (states,)

    def after(self, _: torch.nn.Module, _inputs: object, output: Any) -> None:
        # Some models multiply by the layer's weights themselves.
        if self._surplus:
            output.logits = output.logits[:, self._surplus :]
            self._surplus = 0


def _joined(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([first, second], dim=1)

"""Adapters merged from others, by peft's own arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferlens.engine.adapters import with_saved_adapter
from transferlens.engine.adapters.peft_folder import quiet, save_peft
from transferlens.errors import EngineError
from transferlens.study import MergeSpec

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

__all__ = ["merge_adapters"]

_KINDS = {"linear": "linear", "task_arithmetic": "cat", "ties": "ties", "dare": "dare_linear"}
"""What peft calls them: it adds weight changes by putting their factors side by side."""

_MERGED = "merged"


def merge_adapters(
    model: PreTrainedModel,
    folders: Sequence[Path],
    out: Path,
    *,
    merge: MergeSpec,
    seed: int = 0,
) -> None:
    """Merge stored LoRA adapters, and write the result as a peft folder.

    The model is left as it was. The same adapters, weights and seed give the same bytes; the
    seed decides what ``dare`` drops.

    Parameters
    ----------
    folders
        Of the adapters, in the order of ``merge.of``.

    Raises
    ------
    EngineError
        An adapter is no plain LoRA, or ranks or layers differ.
    """
    import torch

    _refuse_unlike(folders)
    names = ["default", *(f"part{at}" for at in range(1, len(folders)))]
    with (
        torch.random.fork_rng(devices=[]),
        with_saved_adapter(model, folders[0]) as adapted,
        quiet(),
    ):
        wrapped: Any = adapted
        for name, folder in zip(names[1:], folders[1:], strict=True):
            wrapped.load_adapter(str(folder), name, torch_device=str(model.device))
        torch.manual_seed(seed)
        wrapped.add_weighted_adapter(
            adapters=names,
            weights=list(merge.weights),
            adapter_name=_MERGED,
            combination_type=_KINDS[merge.method],
            density=merge.density,
        )
        save_peft(wrapped, out, name=_MERGED)


def _refuse_unlike(folders: Sequence[Path]) -> None:
    from peft import LoraConfig, PeftConfig

    first: LoraConfig | None = None
    for folder in folders:
        try:
            config = PeftConfig.from_pretrained(str(folder))
        except (OSError, ValueError, TypeError) as error:
            msg = f"{folder}: the adapter cannot be merged: {' '.join(str(error).split())[:200]}"
            raise EngineError(msg) from None
        if not isinstance(config, LoraConfig) or config.use_dora or config.modules_to_save:
            msg = f"{folder}: only plain LoRA adapters can be merged"
            raise EngineError(msg)
        first = first or config
        for what in ("r", "target_modules", "rank_pattern"):
            one, other = getattr(first, what), getattr(config, what)
            if one != other:
                msg = f"{folder}: adapters of unlike {what} cannot be merged: {one} and {other}"
                raise EngineError(msg)

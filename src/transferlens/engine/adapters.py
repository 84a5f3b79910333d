"""LoRA layers that come and go around one base model without touching its weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from transferlens.errors import EngineError
from transferlens.study import MethodSpec

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

__all__ = ["lora_config", "save_adapter", "with_saved_adapter", "with_new_adapter"]

_WEIGHTS = "adapter_model.safetensors"


def lora_config(method: MethodSpec, *, base: str, revision: str | None) -> LoraConfig:
    """Return peft's configuration of a method; ``base`` is what it names as its base model."""
    from peft import LoraConfig, TaskType

    targets = method.target_modules
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        base_model_name_or_path=base,
        revision=revision,
    )


@contextmanager
def with_new_adapter(model: PreTrainedModel, config: LoraConfig) -> Iterator[PeftModel]:
    """Put fresh LoRA layers into the model, and take them out again.

    Taking out puts the base's own layers back; no weight is ever changed, so
    the base computes bit for bit what it computed before.
    """
    from peft import get_peft_model

    with _quiet():
        try:
            adapted = get_peft_model(model, config)
        except ValueError as error:
            msg = f"method.target_modules does not fit the base model: {error}"
            raise EngineError(msg) from None
    with _removed_afterwards(adapted, model):
        yield adapted


@contextmanager
def with_saved_adapter(model: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """Put a stored adapter into the model, and take it out again; as `with_new_adapter`.

    Raises
    ------
    EngineError
        The folder holds no adapter that fits the model.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    with _quiet():
        try:
            adapted = PeftModel.from_pretrained(model, str(folder))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            msg = f"{folder}: the adapter cannot be loaded: {reason}; delete it and run again"
            raise EngineError(msg) from None
    with _removed_afterwards(adapted, model):
        yield adapted


@contextmanager
def _removed_afterwards(adapted: PeftModel, model: PreTrainedModel) -> Iterator[None]:
    try:
        yield
    finally:
        adapted.unload()
        model.requires_grad_(requires_grad=False)
        model.eval()


def save_adapter(adapted: PeftModel, folder: Path) -> None:
    """Write the adapter as a PEFT folder; the same weights give the same bytes."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    state: dict[str, torch.Tensor] = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    config = adapted.peft_config["default"]
    # peft writes a set of names in whatever order it comes.
    stored = {**config.to_dict(), "inference_mode": True}
    stored = {k: sorted(v) if isinstance(v, set) else v for k, v in stored.items()}
    text = json.dumps(stored, indent=2, sort_keys=True, default=str)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 by a name that is on its way out.
        warnings.filterwarnings(
            "ignore", message=".*is_gradient_checkpointing", category=FutureWarning
        )
        # peft sets what GPT-2's transposed layers need, and says so.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        yield

"""LoRA layers that come and go around one base model without touching its weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferlens.errors import EngineError
from transferlens.study import MethodSpec

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

__all__ = [
    "lora_config",
    "save_adapter",
    "with_merged_adapter",
    "with_new_adapter",
    "with_saved_adapter",
]

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


def lora_config(method: MethodSpec, *, base: str, revision: str | None) -> LoraConfig:
    """Return peft's configuration of a method; ``base`` is what it names as its base model."""
    from peft import LoraConfig, TaskType

    targets = method.target_modules
    # Declared a whole number, but only ever divided by the rank.
    alpha: Any = method.alpha
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=method.rank,
        lora_alpha=alpha,
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

    Raises
    ------
    EngineError
        The method names layers that the model does not have.
    """
    from peft import PeftModelForCausalLM

    with _put_back(model):
        with _quiet():
            try:
                # Not get_peft_model: it records the folder of a hub model in place of its name.
                adapted = PeftModelForCausalLM(model, config)
            except ValueError as error:
                msg = f"method.target_modules does not fit the base model: {error}"
                raise EngineError(msg) from None
        yield adapted


@contextmanager
def with_saved_adapter(model: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """Put a stored adapter into the model, and take it out again; as `with_new_adapter`.

    Raises
    ------
    EngineError
        The folder holds no adapter that fits the model. The model is as it was.
    """
    from safetensors import SafetensorError

    with _put_back(model):
        with _quiet():
            try:
                adapted = _load(model, folder)
            except (
                OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError
            ) as error:  # fmt: skip
                reason = " ".join(str(error).split())[:200]
                msg = f"{folder}: the adapter cannot be loaded: {reason}; delete it and run again"
                raise EngineError(msg) from None
        yield adapted


@contextmanager
def with_merged_adapter(model: PreTrainedModel, folder: Path) -> Iterator[None]:
    """Put a stored adapter into the model for answering only; as `with_saved_adapter`.

    Adapted layers get weights of their own, the base's plus the adapter's, so
    that answering costs what it costs the base. The base's weights are put aside
    and put back, not computed back. In half precision the sum would lose
    digits: there, and for layers that are no plain LoRA, peft's layers stay.
    """
    from peft.tuners.lora import Linear

    with with_saved_adapter(model, folder) as adapted:
        own = {}
        for parent in list(adapted.modules()):
            for name, child in parent.named_children():
                if isinstance(child, Linear) and _merges(child):
                    layer = child.get_base_layer()
                    own[layer] = layer.weight
                    layer.weight = _merged_weight(child)
                    setattr(parent, name, layer)
        try:
            yield
        finally:
            for layer, weight in own.items():
                layer.weight = weight


def _merges(layer: Any) -> bool:
    weight: torch.Tensor = layer.get_base_layer().weight
    return (
        weight.dtype.itemsize >= 4 and not layer.lora_variant and not any(layer.lora_bias.values())
    )


def _merged_weight(layer: Any) -> torch.nn.Parameter:
    import torch

    weight = layer.get_base_layer().weight
    with torch.no_grad():
        summed = weight + layer.get_delta_weight("default").to(weight.dtype)
    return torch.nn.Parameter(summed, requires_grad=False)


def _load(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Load an adapter like ``PeftModel.from_pretrained``, which only warns of missing weights."""
    from peft import PeftConfig, PeftModelForCausalLM

    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        # peft would look for the folder's name on the hub.
        msg = f"{missing[0]} is missing"
        raise ValueError(msg)
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    # Without memory at first, since initial weights would use up global random numbers.
    adapted = PeftModelForCausalLM(model, config, low_cpu_mem_usage=True)
    result = adapted.load_adapter(
        str(folder), "default", torch_device=str(model.device), low_cpu_mem_usage=True
    )
    wrong = [*result.missing_keys, *result.unexpected_keys]
    if wrong:
        lack = "lacks" if result.missing_keys else "has, unlike the model,"
        msg = f"{_WEIGHTS} {lack} {wrong[0]}"
        raise ValueError(msg)
    return adapted


@contextmanager
def _put_back(model: PreTrainedModel) -> Iterator[None]:
    """Give every module its own children again at the end, whatever failed in between."""
    own = [(module, dict(module.named_children())) for module in model.modules()]
    try:
        yield
    finally:
        for module, children in own:
            for name, child in children.items():
                if getattr(module, name) is not child:
                    setattr(module, name, child)
        # Left behind, it makes peft warn of a second adapter.
        model.__dict__.pop("peft_config", None)
        model.requires_grad_(requires_grad=False)
        model.train(mode=False)


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
    (folder / _CONFIG).write_text(text + "\n", encoding="utf-8")


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

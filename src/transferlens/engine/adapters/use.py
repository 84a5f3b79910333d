"""Put an adapter into the base model, and take it out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from transferlens.engine.adapters.config import TunedConfig
from transferlens.engine.adapters.peft_folder import (
    load_peft,
    put_back,
    quiet,
    save_peft,
    start_peft,
)
from transferlens.engine.adapters.tuned import TUNED_CONFIG, own_weights, read_tuned, save_tuned
from transferlens.engine.adapters.virtual import reading_virtual_tokens
from transferlens.errors import EngineError

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

__all__ = [
    "load_adapter",
    "save_adapter",
    "start_from",
    "with_merged_adapter",
    "with_new_adapter",
    "with_saved_adapter",
]

_PLACES = {"lora": "method.target_modules", "ia3": "the method ia3"}


@contextmanager
def with_new_adapter(
    model: PreTrainedModel, config: PeftConfig | TunedConfig
) -> Iterator[PeftModel | PreTrainedModel]:
    """Put a fresh adapter into the model to train it, and take it out again.

    Taking out puts the base's own layers and weights back; none is ever written to, so the base
    computes bit for bit what it computed before. What is trained is yielded: its parameters that
    ask for gradients are those of the adapter.

    Raises
    ------
    EngineError
        The method names layers that the model does not have, or has no place in it.
    """
    from peft import PeftModelForCausalLM

    if isinstance(config, TunedConfig):
        with own_weights(model, config) as tuned:
            yield tuned
        return
    with put_back(model):
        with quiet():
            try:
                # Not get_peft_model: it records the folder of a hub model in place of its name.
                adapted = PeftModelForCausalLM(model, config)
            except ValueError as error:
                kind = str(getattr(config.peft_type, "value", config.peft_type)).lower()
                what = _PLACES.get(kind, f"the method {kind.removesuffix('_tuning')}")
                msg = f"{what} does not fit the base model: {error}"
                raise EngineError(msg) from None
        with reading_virtual_tokens(model, adapted):
            yield adapted


@contextmanager
def with_saved_adapter(
    model: PreTrainedModel, folder: Path
) -> Iterator[PeftModel | PreTrainedModel]:
    """Put a stored adapter into the model, and take it out again; as `with_new_adapter`.

    Raises
    ------
    EngineError
        The folder holds no adapter that fits the model. The model is as it was.
    """
    if (folder / TUNED_CONFIG).is_file():
        with _explained(folder):
            config, values = read_tuned(model, folder)
        with own_weights(model, config, values) as tuned:
            yield tuned
        return
    with put_back(model):
        with quiet(), _explained(folder):
            adapted = load_peft(model, folder)
        with reading_virtual_tokens(model, adapted):
            yield adapted


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{folder}: the adapter cannot be loaded: {reason}; delete it and run again"
        raise EngineError(msg) from None


def load_adapter(model: PreTrainedModel, folder: str | Path) -> PeftModel | PreTrainedModel:
    """Put an adapter of a study into a base model for good, whatever its method.

    Parameters
    ----------
    model
        The base, as ``AutoModelForCausalLM.from_pretrained`` gives it.
    folder
        A folder of ``adapters/`` in a study.

    Returns
    -------
    PeftModel | PreTrainedModel
        ``model`` itself with other weights for ``full`` and ``bitfit``, else peft's wrapper.

    Raises
    ------
    EngineError
        The folder holds no adapter that fits the model.
    """
    place = Path(folder)
    with quiet(), _explained(place):
        if not (place / TUNED_CONFIG).is_file():
            return load_peft(model, place)
        config, values = read_tuned(model, place)
        for name, weight in model.named_parameters():
            if config.changes(name):
                weight.data = values[name].to(weight)
    return model


def start_from(
    adapted: PeftModel | PreTrainedModel, config: PeftConfig | TunedConfig, folder: Path
) -> None:
    """Give an adapter in the model the weights of a stored one of the same method.

    Raises
    ------
    EngineError
        The folder holds no adapter of this method that fits the model.
    """
    with _explained(folder):
        if isinstance(config, TunedConfig):
            _, values = read_tuned(adapted, folder)
            for name, weight in adapted.named_parameters():
                if name in values:
                    weight.data.copy_(values[name])
        else:
            start_peft(cast("PeftModel", adapted), folder)


def save_adapter(
    adapted: PeftModel | PreTrainedModel, config: PeftConfig | TunedConfig, folder: Path
) -> None:
    """Write an adapter as a folder; the same weights give the same bytes."""
    if isinstance(config, TunedConfig):
        save_tuned(adapted, config, folder)
    else:
        save_peft(cast("PeftModel", adapted), folder)


@contextmanager
def with_merged_adapter(model: PreTrainedModel, folder: Path) -> Iterator[None]:
    """Put a stored adapter into the model for answering only; as `with_saved_adapter`.

    Adapted layers get weights of their own, the base's plus the adapter's, so
    that answering costs what it costs the base. The base's weights are put aside
    and put back, not computed back. In half precision the sum would lose
    digits: there, and for layers that are no plain LoRA, peft's layers stay; so do the
    weights of a tuned base.
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

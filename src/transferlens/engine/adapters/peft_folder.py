"""Folders in peft's format, and a base model with peft's layers in it for a while."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

__all__ = ["PEFT_CONFIG", "load_peft", "put_back", "quiet", "save_peft", "start_peft"]

PEFT_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_VIRTUAL = "prompt_embeddings"


def load_peft(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Load an adapter like ``PeftModel.from_pretrained``, which only warns of missing weights."""
    from peft import PeftConfig, PeftModelForCausalLM

    missing = [name for name in (PEFT_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        # peft would look for the folder's name on the hub.
        msg = f"{missing[0]} is missing"
        raise ValueError(msg)
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    if config.is_prompt_learning:
        return _load_virtual(model, config, folder)
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


def _load_virtual(model: PreTrainedModel, config: PeftConfig, folder: Path) -> PeftModel:
    """Load virtual tokens, which peft leaves where they were drawn if they do not fit."""
    import torch
    from peft import PeftModelForCausalLM
    from safetensors.torch import load_file

    with torch.random.fork_rng(devices=[]):
        adapted = PeftModelForCausalLM(model, config)
    encoder: Any = adapted.prompt_encoder["default"]
    weight: torch.nn.Parameter = encoder.embedding.weight
    state = load_file(folder / _WEIGHTS)
    found = state.get(_VIRTUAL)
    if len(state) != 1 or found is None or found.shape != weight.shape:
        msg = f"{_WEIGHTS} does not hold {_VIRTUAL} of the model's shape {tuple(weight.shape)}"
        raise ValueError(msg)
    weight.data = found.to(model.device)
    adapted.requires_grad_(requires_grad=False)
    return adapted


@contextmanager
def put_back(model: PreTrainedModel) -> Iterator[None]:
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


def start_peft(adapted: PeftModel, folder: Path) -> None:
    """Give the adapter in the model the weights of a stored one.

    Raises
    ------
    ValueError
        Its weights are not those that the adapter has.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    state = load_file(folder / _WEIGHTS, device=str(adapted.device))
    own = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    if {n: w.shape for n, w in state.items()} != {n: w.shape for n, w in own.items()}:
        msg = f"{_WEIGHTS} does not have the weights of the study's method"
        raise ValueError(msg)
    set_peft_model_state_dict(adapted, state)


def save_peft(adapted: PeftModel, folder: Path, *, name: str = "default") -> None:
    """Write an adapter as a PEFT folder; the same weights give the same bytes."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    state: dict[str, torch.Tensor] = get_peft_model_state_dict(
        adapted, adapter_name=name, save_embedding_layers=False
    )
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    config = adapted.peft_config[name]
    # peft writes a set of names in whatever order it comes.
    stored = {**config.to_dict(), "inference_mode": True}
    stored = {k: sorted(v) if isinstance(v, set) else v for k, v in stored.items()}
    text = json.dumps(stored, indent=2, sort_keys=True, default=str)
    (folder / PEFT_CONFIG).write_text(text + "\n", encoding="utf-8")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what libraries say of each other."""
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 by a name that is on its way out.
        warnings.filterwarnings(
            "ignore", message=".*is_gradient_checkpointing", category=FutureWarning
        )
        # peft sets what GPT-2's transposed layers need, and says so.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        yield

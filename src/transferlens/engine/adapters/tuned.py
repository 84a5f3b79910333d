"""Weights of the base itself, trained in a copy of their own: full fine-tuning and BitFit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferlens.engine.adapters.config import TunedConfig
from transferlens.errors import EngineError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["TUNED_CONFIG", "own_weights", "read_tuned", "save_tuned"]

TUNED_CONFIG = "tuned_config.json"
"""File that says that a folder holds weights of the base, and not an adapter of peft."""

_WEIGHTS = "tuned_weights.safetensors"


@contextmanager
def own_weights(
    model: PreTrainedModel, config: TunedConfig, values: Mapping[str, torch.Tensor] | None = None
) -> Iterator[PreTrainedModel]:
    """Give the weights that a method changes values of their own, and take them away again.

    Each weight is pointed at other memory and back: the base's own bits are never written to.

    Parameters
    ----------
    values
        Stored values; without them the weights are copies of the base's, and are trained.

    Raises
    ------
    EngineError
        The base has no weight that the method changes.
    """
    changed = {n: weight for n, weight in model.named_parameters() if config.changes(n)}
    if not changed:
        msg = f"method {config.method}: the base model {config.base} has no biases; take another"
        raise EngineError(msg)
    kept = [(weight, weight.data) for weight in changed.values()]
    try:
        for name, weight in changed.items():
            weight.data = weight.data.clone() if values is None else values[name].to(weight)
            weight.requires_grad = values is None
        yield model
    finally:
        for weight, data in kept:
            weight.data = data
            weight.grad = None
        model.requires_grad_(requires_grad=False)
        model.train(mode=False)


def save_tuned(model: torch.nn.Module, config: TunedConfig, folder: Path) -> None:
    """Write the changed weights, and what they belong to; the same weights give the same bytes."""
    from safetensors.torch import save_file

    tensors = {
        name: weight.detach().cpu().contiguous()
        for name, weight in sorted(model.named_parameters())
        if config.changes(name)
    }
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    record = {
        "format": "transferlens.tuned",
        "version": 1,
        "method": config.method,
        "base_model_name_or_path": config.base,
        "revision": config.revision,
        "weights": _WEIGHTS,
    }
    text = json.dumps(record, indent=2, sort_keys=True)
    (folder / TUNED_CONFIG).write_text(text + "\n", encoding="utf-8")


def read_tuned(model: torch.nn.Module, folder: Path) -> tuple[TunedConfig, dict[str, torch.Tensor]]:
    """Read what `save_tuned` wrote, and check that it fits the model.

    Raises
    ------
    ValueError
        It does not.
    """
    from safetensors.torch import load_file

    record: dict[str, Any] = json.loads((folder / TUNED_CONFIG).read_bytes())
    if record.get("method") not in {"full", "bitfit"}:
        msg = f"{TUNED_CONFIG} names no method that is known here: {record.get('method')!r}"
        raise ValueError(msg)
    config = TunedConfig(
        method=record["method"],
        base=str(record["base_model_name_or_path"]),
        revision=record["revision"],
    )
    values = load_file(folder / _WEIGHTS)
    shapes = {n: w.shape for n, w in model.named_parameters() if config.changes(n)}
    for name in sorted(shapes.keys() | values.keys()):
        if name not in values or name not in shapes or values[name].shape != shapes[name]:
            msg = f"{_WEIGHTS} does not fit the model at {name}"
            raise ValueError(msg)
    return config, values

"""What a method trains in a base model, counted from the headers of its files; without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from transferlens.engine.locate import BaseFolder
from transferlens.errors import SpecError
from transferlens.study import MethodSpec, StudySpec

__all__ = ["context_of", "refuse_method", "trainable_parameters"]

_Shapes = Mapping[str, tuple[int, ...]]

_TRANSPOSED = {"gpt2", "openai-gpt", "imagegpt"}
"""Types of models whose layers hold (input, output) and not (output, input)."""


def trainable_parameters(base: BaseFolder, method: MethodSpec, linear: _Shapes) -> int:
    """Return how many weights a method trains.

    Parameters
    ----------
    linear
        Shapes of the base's linear layers by the names of their weights.
    """
    if method.name == "full":
        return sum(math.prod(shape) for shape in base.shapes.values())
    if method.name == "bitfit":
        return sum(_biases(base))
    if method.n_virtual:
        return method.virtual_tokens * _virtual_width(base, method)
    sides = {name: _sides(base, shape) for name, shape in linear.items()}
    if method.name == "ia3":
        places, inner = _ia3_places(base)
        found = {name: own for name, own in sides.items() if _is_named(name, places)}
        return sum(own[0] if _is_named(name, inner) else own[1] for name, own in found.items())
    adapted = [own for name, own in sides.items() if _is_target(name, method)]
    magnitudes = sum(own[1] for own in adapted) if method.name == "dora" else 0
    return method.rank * sum(map(sum, adapted)) + magnitudes


def context_of(base: BaseFolder, method: MethodSpec) -> int:
    """Return the longest row that the base can read beside a method's virtual tokens."""
    return base.context - method.n_virtual


def refuse_method(spec: StudySpec, base: BaseFolder) -> None:
    """Refuse a method that has no place in a base.

    Raises
    ------
    SpecError
        Biases are to be trained of a base that has none, IA³ does not know the base's kind, or
        virtual tokens leave no room for others, or cannot go with gradient checkpoints.
    """
    method = spec.method
    where = spec.where("method", "name")
    if method.name == "bitfit" and not any(_biases(base)):
        msg = f"{where}: bitfit trains biases, and the base model {base.name} has none; take "
        msg += "lora, ia3 or full"
        raise SpecError(msg)
    if method.name == "ia3" and not any(_ia3_places(base)):
        kind = base.config.get("model_type")
        msg = f"{where}: peft does not know where IA³ goes in a model of the type {kind!r}; take "
        msg += "lora"
        raise SpecError(msg)
    if method.name == "full" and base.quantization:
        msg = f"{where}: weights that are rounded to {base.quantization} cannot be trained; take "
        msg += "lora, or leave base.quantization out"
        raise SpecError(msg)
    if method.n_virtual and context_of(base, method) < _FEWEST_REAL:
        msg = (
            f"{spec.where('method', 'virtual_tokens')}: {method.n_virtual} virtual tokens leave "
            f"no room in the model's context of {base.context}; take fewer"
        )
        raise SpecError(msg)
    if method.name == "prefix" and spec.compute.checkpointing:
        msg = (
            f"{spec.where('compute', 'checkpointing')}: prefix tuning keeps keys and values, "
            "which gradient checkpoints throw away; leave it out"
        )
        raise SpecError(msg)


_FEWEST_REAL = 8


def _biases(base: BaseFolder) -> Iterator[int]:
    # Old files hold masks of attention under the same name, in more dimensions.
    for name, shape in base.shapes.items():
        if name.rpartition(".")[2] == "bias" and len(shape) == 1:
            yield shape[0]


def _virtual_width(base: BaseFolder, method: MethodSpec) -> int:
    """Return what one virtual token has: an embedding, or keys and values of every layer."""
    config = base.config
    hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
    if method.name == "prompt":
        return hidden
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 1)
    kept = int(config.get("num_key_value_heads") or heads)
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
    return 2 * layers * kept * int(config.get("head_dim") or hidden // heads)


def _sides(base: BaseFolder, shape: Sequence[int]) -> tuple[int, int]:
    """Return units that go into a layer and that come out."""
    first, second = shape
    return (first, second) if base.config.get("model_type") in _TRANSPOSED else (second, first)


def _ia3_places(base: BaseFolder) -> tuple[Sequence[str], Sequence[str]]:
    """Return names of layers whose activations IA³ scales, and those of them at their input."""
    from peft.utils.constants import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as INNER,
    )
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as PLACES

    kind = str(base.config.get("model_type"))
    return PLACES.get(kind, ()), INNER.get(kind, ())


def _is_target(name: str, method: MethodSpec) -> bool:
    """Whether a weight belongs to a layer that gets an adapter."""
    named = method.target_modules
    return isinstance(named, str) or _is_named(name, named)


def _is_named(name: str, named: Iterable[str]) -> bool:
    """Whether a weight belongs to one of some layers, by peft's rule for names."""
    layer = f".{name.removesuffix('.weight')}"
    return any(layer.endswith(f".{target}") for target in named)

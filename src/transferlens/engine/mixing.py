"""Low-rank adapters that work side by side: every row of a pass has its own, or none.

peft loads and checks an adapter; what it adds to each layer is two small matrices, which are
kept here and added behind the layers of the untouched base. A pass over rows in the order of
their adapters then costs two small products per adapter and layer. Measured on the demo's model
with 8 rows of 4 adapters: see benchmarks/results/serve.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from transferlens.engine.adapters import with_saved_adapter
from transferlens.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Factors", "Mixture", "read_factors"]

_Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What an adapter adds to layers of the base: input × down × up."""

    layers: Mapping[torch.nn.Module, _Pair]
    n_bytes: int


def read_factors(model: PreTrainedModel, folder: Path) -> Factors | None:
    """Load an adapter; None where it is more than low-rank layers, such as DoRA or IA3.

    Raises
    ------
    EngineError
        The folder holds no adapter that fits the model.
    """
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer

    with with_saved_adapter(model, folder) as adapted:
        config = getattr(adapted, "peft_config", {}).get("default")
        parts: list[Any] = [part for part in adapted.modules() if isinstance(part, BaseTunerLayer)]
        if not parts or getattr(config, "modules_to_save", None):
            return None
        if not all(isinstance(part, Linear) and _is_plain(part) for part in parts):
            return None
        layers = {part.get_base_layer(): _factors(part) for part in parts}
    size = sum(t.numel() * t.element_size() for pair in layers.values() for t in pair)
    return Factors(layers, size)


def _is_plain(part: Any) -> bool:
    return not part.lora_variant and not any(part.lora_bias.values())


def _factors(part: Any) -> _Pair:
    down, up = part.lora_A["default"].weight, part.lora_B["default"].weight
    dtype = part.get_base_layer().weight.dtype
    scaled = up.detach() * part.scaling["default"]
    return down.detach().T.contiguous().to(dtype), scaled.T.contiguous().to(dtype)


class _Cut(NamedTuple):
    factors: Factors
    start: int
    stop: int


class Mixture:
    """Adds to layers of a model what the adapter of each row adds."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Leave the model alone until `applied`."""
        self._model = model
        self._cuts: dict[int, list[_Cut]] = {}

    @contextmanager
    def applied(
        self, rows: Sequence[Factors | None], sizes: Sequence[Sequence[int]]
    ) -> Iterator[None]:
        """Let the passes inside be those of the rows' adapters.

        Parameters
        ----------
        rows
            Factors of each row, equal ones side by side; None for the base.
        sizes
            Tokens of each row, for each number of tokens that a layer may see in all.
        """
        self._cuts = {sum(size): _cuts(rows, size) for size in sizes}
        layers = {layer for one in rows if one is not None for layer in one.layers}
        handles = [layer.register_forward_hook(self._add) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add(
        self, layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor
    ) -> torch.Tensor:
        flat = inputs[0].reshape(-1, inputs[0].shape[-1])
        if len(flat) not in self._cuts:
            msg = (
                f"{type(layer).__name__} of the base sees {len(flat)} tokens where those of "
                "the rows were expected, so adapters cannot be told apart; serve one at a time"
            )
            raise EngineError(msg)
        found = output.reshape(len(flat), -1)
        for factors, start, stop in self._cuts[len(flat)]:
            pair = factors.layers.get(layer)
            if pair is not None:
                down, up = pair
                found[start:stop].addmm_(flat[start:stop] @ down, up)
        return found.reshape(output.shape)


def _cuts(rows: Sequence[Factors | None], sizes: Sequence[int]) -> list[_Cut]:
    cuts: list[_Cut] = []
    at = 0
    for factors, size in zip(rows, sizes, strict=True):
        if factors is not None:
            if cuts and cuts[-1].factors is factors and cuts[-1].stop == at:
                cuts[-1] = cuts[-1]._replace(stop=at + size)
            else:
                cuts.append(_Cut(factors, at, at + size))
        at += size
    return cuts

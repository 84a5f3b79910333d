"""How adapters are trained: the adaptation method and its settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from transferlens.study.document import MISPLACED
from transferlens.study.part import Part

__all__ = ["METHODS", "MethodName", "MethodSpec"]

MethodName = Literal[
    "lora", "rslora", "dora", "ia3", "prompt", "prefix", "full", "bitfit"
]  # fmt: skip
METHODS: tuple[MethodName, ...] = get_args(MethodName)

_LOW_RANK: tuple[MethodName, ...] = ("lora", "rslora", "dora")
_VIRTUAL: tuple[MethodName, ...] = ("prompt", "prefix")

_OWNERS: dict[str, tuple[MethodName, ...]] = {
    "rank": _LOW_RANK,
    "alpha": _LOW_RANK,
    "dropout": _LOW_RANK,
    "target_modules": _LOW_RANK,
    "virtual_tokens": _VIRTUAL,
}
"""Fields that some methods have no use for, and those that have."""

_RATES: dict[MethodName, float] = {
    "lora": 2e-4,
    "rslora": 2e-4,
    "dora": 2e-4,
    "ia3": 3e-3,
    "prompt": 3e-2,
    "prefix": 1e-2,
    "full": 2e-5,
    "bitfit": 1e-3,
}


class MethodSpec(Part):
    """How an adapter is trained, on completion tokens.

    A field that the method has no use for can be neither set nor stored.
    """

    name: MethodName = "lora"
    """``lora``, ``rslora`` and ``dora``: low-rank layers; ``ia3``: factors of activations;
    ``prompt`` and ``prefix``: virtual tokens; ``full``: all weights; ``bitfit``: biases alone."""
    rank: Annotated[int, Field(ge=1)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    virtual_tokens: Annotated[int, Field(ge=1)] = 20
    """Of ``prompt`` and ``prefix``; the model's context is shorter by them."""
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default_factory=lambda known: _RATES[known["name"]]
    )
    """Highest rate; by default what is usual for the method."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    epochs: Annotated[float, Field(gt=0)] = 1.0
    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps; overrides ``epochs``."""
    batch_tokens: Annotated[int, Field(ge=1)] = 4096
    """Tokens per optimizer step, prompts included, padding not."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Longest training row in tokens; longer ones are cut on the right and
    counted. Default: the model's context."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    @field_validator(*_OWNERS, mode="before")
    @classmethod
    def _of_the_method(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.data.get("name")
        owners = _OWNERS[info.field_name or ""]
        if name is not None and name not in owners:
            known = ", ".join(owners)
            msg = f"the method {name} has no {info.field_name} (it belongs to {known}): remove it"
            raise PydanticCustomError(MISPLACED, msg)
        return value

    @model_serializer(mode="wrap")
    def _used_fields(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the method does not use: it decides nothing, so it is in no hash."""
        fields: dict[str, Any] = plain(self)
        return {k: v for k, v in fields.items() if self.name in _OWNERS.get(k, METHODS)}

    @property
    def n_virtual(self) -> int:
        """Positions of the model's context that the method takes up."""
        return self.virtual_tokens if self.name in _VIRTUAL else 0

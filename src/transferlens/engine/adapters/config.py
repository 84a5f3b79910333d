"""What an adapter is: peft's configurations, and our own for methods that change weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from transferlens.study import MethodSpec

if TYPE_CHECKING:
    from peft import PeftConfig

__all__ = ["TunedConfig", "adapter_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedConfig:
    """Weights of the base itself are trained: all of them, or its biases alone."""

    method: Literal["full", "bitfit"]
    base: str
    revision: str | None

    def changes(self, name: str) -> bool:
        """Whether a weight of this name is trained."""
        return self.method == "full" or name.rpartition(".")[2] == "bias"


def adapter_config(
    method: MethodSpec, *, base: str, revision: str | None
) -> PeftConfig | TunedConfig:
    """Return the configuration of a method; ``base`` is what it names as its base model."""
    from peft import IA3Config, PrefixTuningConfig, PromptTuningConfig, PromptTuningInit, TaskType

    if method.name in {"full", "bitfit"}:
        return TunedConfig(method=method.name, base=base, revision=revision)
    common: dict[str, Any] = {
        "task_type": TaskType.CAUSAL_LM,
        "base_model_name_or_path": base,
        "revision": revision,
    }
    if method.name == "ia3":
        return IA3Config(**common)
    if method.name == "prefix":
        return PrefixTuningConfig(num_virtual_tokens=method.virtual_tokens, **common)
    if method.name == "prompt":
        # peft's own default lies far from every embedding of a model.
        return PromptTuningConfig(
            num_virtual_tokens=method.virtual_tokens,
            prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,
            **common,
        )
    return _low_rank(method, common)


def _low_rank(method: MethodSpec, common: dict[str, Any]) -> PeftConfig:
    from peft import LoraConfig

    targets = method.target_modules
    # Declared a whole number, but only ever divided by the rank.
    alpha: Any = method.alpha
    return LoraConfig(
        r=method.rank,
        lora_alpha=alpha,
        lora_dropout=method.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=method.name == "rslora",
        use_dora=method.name == "dora",
        **common,
    )

"""Adapters of every method, which come and go around one base model without a trace in it.

`config` says what a method is in peft's terms, `peft_folder` and `tuned` store and load the two
kinds of adapters, `virtual` lets the base read virtual tokens, `use` puts an adapter in and out.
"""

from transferlens.engine.adapters.config import TunedConfig, adapter_config
from transferlens.engine.adapters.use import (
    load_adapter,
    save_adapter,
    start_from,
    with_merged_adapter,
    with_new_adapter,
    with_saved_adapter,
)

__all__ = [
    "TunedConfig",
    "adapter_config",
    "load_adapter",
    "save_adapter",
    "start_from",
    "with_merged_adapter",
    "with_new_adapter",
    "with_saved_adapter",
]

"""What a computation ran on, recorded beside its results."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferlens.engine.base import Base

__all__ = ["environment"]

_PACKAGES = ("transferlens", "torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")


def environment(base: Base) -> dict[str, Any]:
    """Return versions, processor, threads and device: where they agree, so do the bits."""
    import torch

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": str(base.device),
        "dtype": base.dtype,
        "versions": {name: _installed(name) for name in _PACKAGES},
    }
    if base.device.type == "cuda":
        found["accelerator"] = torch.cuda.get_device_name(base.device)
        found["cuda"] = torch.version.cuda
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    # platform.processor() is empty on most Linux systems.
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())

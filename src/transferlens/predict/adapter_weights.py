"""How alike the weight changes of adapters are, computed from their low-rank factors alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transferlens.errors import ResultsError, needs
from transferlens.results import StudyStore, TransferStudy
from transferlens.stats.arrays import FloatArray

__all__ = ["LORA_COSINE", "adapter_cosines", "lora_cosines", "lora_feature"]

LORA_COSINE = "lora_cosine"
"""Name of the feature of a pair."""

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_READABLE = ("F16", "F32", "F64")
# Beyond, reading all weights takes longer than the rest of a prediction.
_MOST = 400


class _Factors(NamedTuple):
    """The factors of one layer's weight change of all adapters, side by side."""

    up: FloatArray
    """B times the scale, (output, sum of ranks)."""
    down: FloatArray
    """A, (sum of ranks, input)."""


def lora_feature(study: TransferStudy) -> FloatArray:
    """Return how alike a source's adapter and that of the target's own task are.

    Returns
    -------
    FloatArray
        Cosine of their weight changes, the mean over seeds, (source, target). NaN where the
        target's task is no source, an adapter is not trained yet, or is no plain LoRA, and
        where the package ``safetensors`` is not installed.
    """
    sources = [info.name for info in study.sources]
    found = np.full((len(sources), len(study.targets)), np.nan)
    if find_spec("safetensors") is None:
        return found
    alike = adapter_cosines(study)
    for column, info in enumerate(study.targets):
        if info.name in sources:
            found[:, column] = alike[:, sources.index(info.name)]
    return found


def adapter_cosines(study: TransferStudy) -> FloatArray:
    """Return cosines of the weight changes of a study's sources, (source, source).

    Adapters of the same seed are compared, and the mean over seeds is taken; NaN where no
    seed has both, or beyond 400 adapters of a seed.

    Raises
    ------
    MissingExtraError
        The package ``safetensors`` is not installed.
    """
    sources = [info.name for info in study.sources]
    shape = (len(sources), len(sources))
    total, count = np.zeros(shape), np.zeros(shape)
    for seed in {a.seed for a in study.plan.adapters} if study.plan and study.path else ():
        folders = _folders(study, seed)
        places = [at for at, name in enumerate(sources) if name in folders]
        if not 1 < len(places) <= _MOST:
            continue
        alike = lora_cosines([folders[sources[at]] for at in places])
        known = ~np.isnan(alike)
        at = np.ix_(places, places)
        total[at] += np.where(known, alike, 0.0)
        count[at] += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _folders(study: TransferStudy, seed: int) -> dict[str, Path]:
    """Return the folders of the plain LoRA adapters of a seed that are there, by source."""
    if study.plan is None or study.path is None:
        return {}
    store = StudyStore.open(study.path)
    every = [adapter for adapter in study.plan.adapters if adapter.seed == seed]
    folders = {a.source: store.adapter_dir(a) for a in every if store.adapter_done(a)}
    return {name: folder for name, folder in folders.items() if _is_plain(folder)}


def _is_plain(folder: Path) -> bool:
    """Whether the weight change is B A, and nothing else is trained."""
    if not (folder / _WEIGHTS).is_file() or not (folder / _CONFIG).is_file():
        return False
    config = _config(folder)
    others = ("use_dora", "use_qalora", "modules_to_save", "trainable_token_indices")
    if config.get("peft_type") != "LORA" or any(config.get(name) for name in others):
        return False
    # NumPy has no bfloat16.
    with _opened(folder) as file:
        return all(file.get_slice(name).get_dtype() in _READABLE for name in list(file.keys()))


def _opened(folder: Path) -> Any:
    with needs("safetensors", extra="train", purpose="comparing the weights of adapters"):
        from safetensors import safe_open
    return safe_open(folder / _WEIGHTS, framework="numpy")


def _config(folder: Path) -> dict[str, Any]:
    file = folder / _CONFIG
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read ({error}); delete its folder and run the study again"
        raise ResultsError(msg) from None
    return found


def lora_cosines(folders: Sequence[Path]) -> FloatArray:
    """Return cosines between the weight changes of LoRA adapters of one base, (adapter, adapter).

    A weight change ``scale · B A`` is never formed: the inner product of two is the sum of the
    products of the entries of ``B₁ᵀ B₂`` and ``A₁ A₂ᵀ``, which are as small as the ranks. It is
    the same for every factorisation ``B R, R⁻¹ A`` of the same change.

    Returns
    -------
    FloatArray
        NaN for an adapter that changes nothing.

    Raises
    ------
    MissingExtraError
        The package ``safetensors`` is not installed.
    """
    inner = np.zeros((len(folders),) * 2)
    for ranks, factors in _layers(folders):
        starts = np.concatenate([[0], np.cumsum(ranks)[:-1]])
        for row, (start, rank) in enumerate(zip(starts, ranks, strict=True)):
            own = slice(start, start + rank)
            products = (factors.up[:, own].T @ factors.up) * (factors.down[own] @ factors.down.T)
            inner[row] += np.add.reduceat(products.sum(axis=0), starts)
    size = np.sqrt(np.diag(inner))
    known = np.outer(size, size) > 0
    cosines = inner / np.where(known, np.outer(size, size), 1.0)
    return np.where(known, np.clip(cosines, -1.0, 1.0), np.nan)


def _layers(folders: Sequence[Path]) -> Iterator[tuple[list[int], _Factors]]:
    """Yield ranks and factors of each layer; an adapter without the layer has factors of 0."""
    configs = [_config(folder) for folder in folders]
    with ExitStack() as opened:
        files = [opened.enter_context(_opened(folder)) for folder in folders]
        names = [set(file.keys()) for file in files]
        layers = {n.removesuffix(_DOWN) for part in names for n in part if n.endswith(_DOWN)}
        for layer in sorted(layers):
            parts = [
                _scaled(file, layer, config) if layer + _DOWN in part else None
                for file, part, config in zip(files, names, configs, strict=True)
            ]
            yield _side_by_side(parts)


def _scaled(file: Any, layer: str, config: dict[str, Any]) -> _Factors:
    down, up = (file.get_tensor(layer + end).astype(np.float64) for end in (_DOWN, _UP))
    # A convolution's factors have more axes; the change is the same matrix.
    down, up = down.reshape(len(down), -1), up.reshape(len(up), -1)
    return _Factors(_scale(layer, len(down), config) * up, down)


def _scale(layer: str, rank: int, config: dict[str, Any]) -> float:
    alpha = float(config["lora_alpha"])
    for pattern, own in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", layer):
            alpha = float(own)
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _side_by_side(parts: Sequence[_Factors | None]) -> tuple[list[int], _Factors]:
    first = next(part for part in parts if part is not None)
    nothing = _Factors(np.zeros((len(first.up), 1)), np.zeros((1, first.down.shape[1])))
    full = [nothing if part is None else part for part in parts]
    ranks = [len(part.down) for part in full]
    return ranks, _Factors(
        np.concatenate([part.up for part in full], axis=1),
        np.concatenate([part.down for part in full]),
    )

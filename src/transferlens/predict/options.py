"""What is expected of training on each source of a study: measured where it is, else predicted."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from transferlens.errors import AnalysisError
from transferlens.explain.training import training_lengths
from transferlens.predict.complete import Completed
from transferlens.predict.recommend import Options
from transferlens.results import TransferStudy
from transferlens.stats.arrays import FloatArray
from transferlens.transfer import TransferMatrix

__all__ = ["options_of"]

_POINTS = 100.0


def options_of(
    study: TransferStudy,
    tested: TransferMatrix,
    completed: Completed,
    *,
    cost: Literal["adapters", "tokens"] = "adapters",
    level: float = 0.05,
) -> Options:
    """Put measured gains with their evidence and predicted ones with their intervals together.

    Parameters
    ----------
    study
        The study of both.
    tested
        Its transfer matrix. A measured gain is supported if it is above 0 and its adjusted
        p-value at most ``level``.
    completed
        Predictions of cells that are not measured; its sources and targets are those of the
        study, and more. A predicted gain is supported if its interval lies above 0.
    cost
        What a budget counts: adapters, or tokens that one is trained on, prompts included and
        over all epochs. Where the engine's count is not known of every source, the tokens of
        the outputs stand in for all of them. A merged adapter, or one that goes on from another,
        costs what it rests on too.
    level
        False-discovery rate of the measured gains.

    Raises
    ------
    AnalysisError
        Tokens are to be counted, and those of a source are not known.
    """
    problem = completed.problem
    n, p = tested.data.sizes["source"], tested.data.sizes["target"]
    part = np.s_[:n, :p]
    scale = np.where(tested.data["unit"].values == "fraction", _POINTS, 1.0)
    gain, low, high = completed.values.copy(), completed.low.copy(), completed.high.copy()
    supported = completed.low > 0
    measured = np.zeros(gain.shape, dtype=np.bool_)
    measured[part] = ~np.isnan(_cells(tested.data, "gain"))
    here = measured[part]
    for values, name in ((gain, "gain"), (low, "gain_low"), (high, "gain_high")):
        values[part] = np.where(here, _cells(tested.data, name) * scale, values[part])
    evident = (_cells(tested.data, "p_adjusted") <= level) & (gain[part] > 0)
    supported[part] = np.where(here, evident, supported[part])
    return Options(
        sources=problem.sources,
        targets=problem.targets,
        gain=gain,
        low=low,
        high=high,
        measured=measured,
        supported=supported,
        cost=np.ones(len(gain)) if cost == "adapters" else _tokens(study, problem.sources),
        unit=problem.unit,
    )


def _cells(data: xr.Dataset, name: str) -> FloatArray:
    return np.asarray(data[name].transpose("source", "target").values, dtype=np.float64)


def _tokens(study: TransferStudy, sources: tuple[str, ...]) -> FloatArray:
    """Return the training tokens of one adapter per source, as far as it rests on others too."""
    counted = _counted(study)
    if counted.keys() >= set(sources):
        return np.array([counted[name] for name in sources])
    # Without the engine's count, all sources are measured by what is known of each.
    found = [training_lengths(study, name) for name in sources]
    unknown = [name for name, lengths in zip(sources, found, strict=True) if lengths is None]
    if unknown:
        msg = (
            f"the training tokens of {unknown[0]!r} are not stored; give --budget as a number of "
            "adapters"
        )
        raise AnalysisError(msg)
    return np.array([float(lengths.sum()) for lengths in found if lengths is not None])


def _counted(study: TransferStudy) -> dict[str, float]:
    """Return tokens, prompts included and over all epochs, of the sources that the engine knows."""
    adapters = () if study.plan is None else study.plan.adapters
    own = {a.source: float(a.n_tokens) for a in adapters if a.n_tokens is not None}
    infos = {info.name: info for info in study.sources}

    def total(name: str) -> float | None:
        info = infos[name]
        parts = [*info.merged_of, *([info.after] if info.after else [])]
        costs = [total(part) if part in infos else own.get(part) for part in parts]
        if not info.merged_of:
            costs.append(own.get(name))
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    found = {name: total(name) for name in infos}
    return {name: cost for name, cost in found.items() if cost is not None}

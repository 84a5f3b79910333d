"""The transfer matrix: for each source and target the gain, and how sure it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from transferlens.errors import AnalysisError
from transferlens.metrics import normalized_gain, perfection_gap_factor
from transferlens.results import TransferStudy
from transferlens.stats import AdjustMethod, SharedWeights, adjust_p_values, max_t
from transferlens.stats.arrays import BoolArray, FloatArray
from transferlens.transfer.columns import (
    Column,
    Gains,
    Scores,
    column_of_examples,
    column_of_scores,
)
from transferlens.transfer.result import Evidence, TransferMatrix

__all__ = ["transfer_matrix"]

_CELLS = ("source", "target")
# One target's evidence while the next one is read; NumPy leaves the interpreter to others.
_THREADS = 2

_UNKNOWN_TRAINING = (
    "one seed: training variance unknown. The tests say whether these runs differ, "
    "not whether another training run would"
)
_NO_EVIDENCE = (
    "scores without predictions and with one seed: no evidence can be computed; "
    "import the per-example results or several seeds"
)
_SEEDS_ONLY = (
    "scores without predictions: the evidence rests on the spread between seeds alone, "
    "pooled per target"
)
_STRICT_SEEDS = (
    "several seeds: the strict adjustment is Holm's, since sign flips cannot see training variance"
)


def transfer_matrix(study: TransferStudy, evidence: Evidence | None = None) -> TransferMatrix:
    """Compute the transfer matrix of a study with evidence per cell.

    With several seeds the error of a gain has two parts, examples and training
    runs; the test is Student's t with the two-way standard error. With one
    seed right/wrong scores are tested by McNemar's test and graded ones by a
    paired bootstrap, and the result says that training variance is unknown. A
    study of bare scores has evidence only if it has several seeds.

    Targets with equally many examples share their resamples, which depend on the seed
    and that number alone: a target's evidence is the same whatever other targets there are.

    Parameters
    ----------
    study
        With predictions, or with scores only.
    evidence
        Tests, adjustment and confidence.

    Returns
    -------
    TransferMatrix
        Cells (source, target) in the study's order; scores are means over seeds.

    Raises
    ------
    AnalysisError
        The study has no base scores, so that nothing can be called a gain; or
        max-T is asked for, and there are scores only.

    References
    ----------
    .. [1] Miller. *Adding error bars to evals*. 2024. arXiv:2411.00640
    .. [2] Benjamini, Hochberg. *Controlling the false discovery rate*. 1995.
       doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    how = evidence or Evidence()
    scores = study.scores
    if not np.isfinite(scores["base_score"].values).any():
        msg = "the study has no base scores; run or import the untuned base model, then compare"
        raise AnalysisError(msg)
    bare = study.predictions is None
    if bare and how.adjust == "max-t":
        msg = "max-T flips examples, but the study has scores only; use adjust='holm' or 'bh'"
        raise AnalysisError(msg)
    rng = np.random.default_rng(how.seed)
    columns = list(_columns(study, scores, how))
    data = _assemble(scores, columns)
    # A flip leaves the runs as they are: with several it would call their spread a gain.
    strict_seeds = how.adjust == "max-t" and bool(data["training_known"].any())
    adjust = "holm" if strict_seeds else how.adjust
    data["p_adjusted"] = (_CELLS, _adjusted(data, columns, adjust, rng, how.n_resamples))
    data.attrs["adjust"] = adjust
    notes = [*_notes(data, bare=bare), *([_STRICT_SEEDS] if strict_seeds else [])]
    return TransferMatrix(data=data, evidence=how, notes=tuple(notes))


def _columns(study: TransferStudy, scores: xr.Dataset, how: Evidence) -> Iterator[Column]:
    signs = np.where(scores["higher_is_better"].values, 1.0, -1.0)
    if study.predictions is None:
        for place, sign in enumerate(signs):
            yield column_of_scores(scores.isel(target=place), sign=sign, how=how)
        return
    weights = SharedWeights(how.seed, how.n_resamples)
    waiting: deque[Future[Column]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for examples, sign in zip(study.iter_examples(), signs, strict=True):
            job = partial(column_of_examples, examples, sign=sign, how=how, weights=weights)
            waiting.append(pool.submit(job))
            # Few at once, so that the memory does not grow with the number of targets.
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        for column in waiting:
            yield column.result()


def _assemble(scores: xr.Dataset, columns: Sequence[Column]) -> xr.Dataset:
    coords = {name: scores[name] for name in scores.coords if "seed" not in scores[name].dims}
    data = xr.Dataset(coords=coords)
    for name in Gains._fields:
        data[name] = (_CELLS, np.stack([getattr(c.gains, name) for c in columns], axis=1))
    for name in Scores._fields:
        data[name] = (_CELLS, np.stack([getattr(c.scores, name) for c in columns], axis=1))
    data["base_score"] = scores["base_score"].mean("seed", skipna=True)
    data["base_shared_error"] = ("target", [column.shared_error for column in columns])
    data["test"] = ("target", [column.test for column in columns])
    data["training_known"] = ("target", [column.training_known for column in columns])
    data["own"] = (_CELLS, data["source"].values[:, None] == data["target"].values[None, :])
    return _with_headroom(data)


def _with_headroom(data: xr.Dataset) -> xr.Dataset:
    """Add the gain as a share of what was left to gain."""
    # The measures count upwards; a metric that counts down is turned round.
    score, base, best = _upwards(data)
    ceiling = np.where(_beyond_best(data), np.nan, best)
    data["normalized_gain"] = (_CELLS, normalized_gain(score, base, ceiling=ceiling))
    data["perfection_gap_factor"] = (_CELLS, perfection_gap_factor(score, base, ceiling=ceiling))
    return data


def _upwards(data: xr.Dataset) -> tuple[FloatArray, FloatArray, FloatArray]:
    sign = np.where(data["higher_is_better"].values, 1.0, -1.0)
    score, base, best = (sign * data[name].values for name in ("score", "base_score", "ceiling"))
    return score, base, best


def _beyond_best(data: xr.Dataset) -> BoolArray:
    """Targets with a score beyond the best possible one: percent, or a wrong best score."""
    score, base, best = _upwards(data)
    beyond: BoolArray = (score > best + 1e-9).any(axis=0) | (base > best + 1e-9)
    return beyond


def _adjusted(
    data: xr.Dataset,
    columns: Sequence[Column],
    adjust: AdjustMethod | Literal["max-t"],
    rng: np.random.Generator,
    n_resamples: int,
) -> FloatArray:
    if adjust == "max-t":
        tables = [column.mean_differences for column in columns]
        return np.stack(max_t(tables, rng=rng, n_resamples=n_resamples), axis=1)
    return adjust_p_values(data["p_value"].values, method=adjust)


def _notes(data: xr.Dataset, *, bare: bool) -> Iterator[str]:
    untested = data["test"].values == "none"
    known = data["training_known"].values
    if bare:
        yield _NO_EVIDENCE if untested.all() else _SEEDS_ONLY
        if untested.any() and not untested.all():
            yield f"one seed, hence no evidence: {_named(data['target'].values[untested])}"
    elif not known.any():
        yield _UNKNOWN_TRAINING
    elif not known.all():
        yield f"one seed, training variance unknown: {_named(data['target'].values[~known])}"
    unscored = float(data["n_unscored"].sum(skipna=True))
    if unscored:
        yield f"{unscored:.0f} examples of {int((data['n_unscored'] > 0).sum())} cells are unscored"
    missing = int(np.isnan(data["score"].values).sum())
    if missing:
        yield f"{missing} of {data['score'].size} cells are missing"
    if (beyond := _beyond_best(data)).any():
        names = _named(data["target"].values[beyond])
        yield f"no normalized gain, since scores lie beyond the best possible one: {names}"
    without = np.isnan(data["base_score"].values)
    if without.any():
        yield f"no base score, hence no gain: {_named(data['target'].values[without])}"


def _named(array: NDArray[Any]) -> str:
    """List names, the first five of many."""
    names = array.tolist()
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(str, names[:5])) + more

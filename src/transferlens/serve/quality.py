"""How good a router is: prompts that it has not seen, answered from stored predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.results import TransferStudy
from transferlens.serve.route import Router, fit_router
from transferlens.stats import adjust_p_values, bootstrap_cells, sign_flip_cells
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["POLICIES", "RoutingQuality", "evaluate_routing"]

POLICIES = {
    "router": "the router",
    "base": "always the base",
    "single": "one adapter for everything: the best mean gain on the other half",
    "random": "an adapter at random",
    "task": "the router, told the task",
    "oracle": "the best adapter of each task in hindsight, or the base",
}
"""Ways of choosing, in words."""

_RIVALS = [name for name in POLICIES if name != "router"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoutingQuality:
    """Score of the router and of its rivals on prompts that neither was fitted on."""

    table: pl.DataFrame
    """A row per scope (a task, or ``""`` for all) and policy: scope, policy, unit, n,
    score, and for the rivals: difference (router less rival, upwards is better), low, high,
    p_value, p_adjusted (Holm, over the rivals of the whole or over all tasks and rivals)."""
    chosen: pl.DataFrame
    """A row per task, nearest task (null: unlike all) and adapter (null: base): n prompts."""
    accuracy: float
    """Share of prompts whose nearest task is their own."""
    confidence: float
    notes: tuple[str, ...]


_COLUMNS = (
    "scope", "policy", "unit", "n", "score", "difference", "low", "high", "p_value", "p_adjusted"
)  # fmt: skip


class _Target(NamedTuple):
    """Scores of one target, upwards is better; those of adapters are means over seeds."""

    name: str
    unit: str
    adapters: FloatArray
    """(source, example)."""
    base: FloatArray
    prompts: list[str]
    half: IntArray
    sign: float


def evaluate_routing(
    study: TransferStudy,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    level: float = 0.05,
    n_resamples: int = 9_999,
) -> RoutingQuality:
    """Score the router of a study on prompts that it does not know.

    The examples of every target are halved, equal prompts together. Profiles, gains and the
    best single adapter are fitted on one half and scored on the other, both ways round. The
    answers are those that the study stored, so no model runs.

    Raises
    ------
    AnalysisError
        The study has scores only, or no stored texts.
    """
    frame = study.predictions
    if frame is None or not study.sources:
        msg = "an evaluation of routing needs a study with predictions of adapters, not scores"
        raise AnalysisError(msg)
    rows = frame.collect()
    targets = _targets(study, rng)
    routers = [_router(study, rows, targets, half, level) for half in (0, 1)]
    scores, chosen = {}, []
    for target in targets:
        routes = _routes(target, routers)
        chosen += [(target.name, task, adapter) for task, adapter in routes]
        scores[target.name] = _scores(study, target, targets, [a for _, a in routes], routers)
    hits = [task == name for name, task, _ in chosen]
    schema = {"target": pl.String, "task": pl.String, "adapter": pl.String}
    table = _table(targets, scores, rng, confidence, n_resamples)
    return RoutingQuality(
        table=table,
        chosen=pl.DataFrame(chosen, schema, orient="row")
        .group_by("target", "task", "adapter", maintain_order=True)
        .len("n"),
        accuracy=float(np.mean(hits)),
        confidence=confidence,
        notes=_notes(targets),
    )


def _notes(targets: list[_Target]) -> tuple[str, ...]:
    notes = [
        "the oracle chooses in hindsight, on the prompts it is scored on: no router can be as good",
        "intervals and p-values are over prompts: training variance is not in them",
    ]
    apart = [t.name for t in targets if t.unit != targets[0].unit]
    if apart:
        notes.append(f"in another unit, and so not in the whole: {', '.join(apart)}")
    return tuple(notes)


def _targets(study: TransferStudy, rng: np.random.Generator) -> list[_Target]:
    known = [i.name for i in study.targets if i.examples_id is not None and study.path is not None]
    found = []
    for name in known:
        info = next(i for i in study.targets if i.name == name)
        data, texts = study.examples(name), study.example_texts(name)
        prompts = dict(zip(texts["example"], texts["prompt"], strict=True))
        asked = [prompts[int(number)] for number in data["example"].values]
        sign = 1.0 if info.higher_is_better else -1.0
        scale = sign * (100.0 if info.unit == "fraction" else 1.0)
        found.append(
            _Target(
                name,
                "points" if info.unit == "fraction" else info.unit,
                data["score"].values.mean(axis=1) * scale,
                data["base_score"].values.mean(axis=0) * scale,
                asked,
                _halves(asked, rng),
                sign,
            )
        )
    if not found:
        msg = "the study does not hold the texts of its examples, so nothing can be routed"
        raise AnalysisError(msg)
    return found


def _halves(prompts: list[str], rng: np.random.Generator) -> IntArray:
    distinct = list(dict.fromkeys(prompts))
    order = rng.permutation(len(distinct)) % 2
    half = dict(zip(distinct, order.tolist(), strict=True))
    return np.array([half[prompt] for prompt in prompts])


def _router(
    study: TransferStudy, rows: pl.DataFrame, targets: list[_Target], half: int, level: float
) -> Router:
    """Return the router that knows one half only."""
    kept = []
    for target in targets:
        examples = study.examples(target.name)["example"].values[target.half == half]
        numbers = pl.Series("example", examples.astype(np.int64))
        own = pl.col("target") == target.name
        kept.append(rows.filter(own & pl.col("example").is_in(numbers.implode())))
    part = TransferStudy.from_predictions(
        pl.concat(kept), targets=study.targets, sources=study.sources
    )
    prompts = {
        t.name: [p for p, h in zip(t.prompts, t.half, strict=True) if h == half] for t in targets
    }
    return fit_router(part, prompts=prompts, level=level)


def _routes(target: _Target, routers: list[Router]) -> list[tuple[str | None, str | None]]:
    """Return nearest task and adapter of every prompt, by the router that does not know it."""
    found: list[tuple[str | None, str | None]] = [(None, None)] * len(target.prompts)
    for half in (0, 1):
        places = np.flatnonzero(target.half == half)
        if len(places):
            routes = routers[1 - half].many([target.prompts[at] for at in places])
            for at, route in zip(places.tolist(), routes, strict=True):
                found[at] = (route.task, route.adapter)
    return found


def _scores(
    study: TransferStudy,
    target: _Target,
    targets: list[_Target],
    routed: list[str | None],
    routers: list[Router],
) -> dict[str, FloatArray]:
    """Return the score of each example under each policy."""
    names = [info.name for info in study.sources]
    every = np.vstack([target.adapters, target.base])
    place = {name: at for at, name in enumerate(names)} | {None: len(names)}
    columns = np.arange(len(target.prompts))
    single, told = np.empty(len(columns), int), np.empty(len(columns), int)
    for half in (0, 1):
        other = routers[1 - half]
        used = [other.gains.tasks.index(t.name) for t in targets if t.unit == targets[0].unit]
        means = other.gains.gain[:, used].mean(axis=1)
        best = int(np.where(np.isnan(means), -np.inf, means).argmax())
        single[target.half == half] = place[other.gains.sources[best]]
        told[target.half == half] = place[other.for_task(target.name).adapter]
    whole = np.nan_to_num(_mean(every, 1), nan=-np.inf)
    return {
        "router": every[[place[name] for name in routed], columns],
        "base": target.base,
        "single": every[single, columns],
        "random": _mean(target.adapters, 0),
        "task": every[told, columns],
        "oracle": every[int(whole.argmax())],
    }


def _table(
    targets: list[_Target],
    scores: dict[str, dict[str, FloatArray]],
    rng: np.random.Generator,
    confidence: float,
    n_resamples: int,
) -> pl.DataFrame:
    parts = {target.name: scores[target.name] for target in targets}
    alike = [target for target in targets if target.unit == targets[0].unit]
    # Every task weighs the same, however many prompts it has.
    total = sum(len(target.prompts) for target in alike)
    shares = {t.name: total / (len(alike) * len(t.prompts)) for t in alike}
    whole = {
        policy: np.concatenate([scores[t.name][policy] * shares[t.name] for t in alike])
        for policy in POLICIES
    }
    units = {"": alike[0].unit, **{t.name: t.unit for t in targets}}
    frames = [
        _compared(values, rng, confidence, n_resamples).with_columns(
            scope=pl.lit(name),
            unit=pl.lit(units[name]),
            family=pl.lit(bool(name)),
        )
        for name, values in {"": whole, **parts}.items()
    ]
    signs = {"": 1.0, **{t.name: t.sign for t in targets}}
    table = pl.concat(frames)
    adjusted = np.full(table.height, np.nan)
    for family in (True, False):
        rows = (table["family"] == family).to_numpy()
        adjusted[rows] = adjust_p_values(table["p_value"].to_numpy()[rows], method="holm")
    sign = pl.col("scope").replace_strict(signs)
    return table.with_columns(
        pl.Series("p_adjusted", adjusted), score=pl.col("score") * sign
    ).select(*_COLUMNS)


def _compared(
    values: dict[str, FloatArray], rng: np.random.Generator, confidence: float, n_resamples: int
) -> pl.DataFrame:
    rivals = np.stack([values[name] for name in _RIVALS])
    router = np.broadcast_to(values["router"], rivals.shape)
    spread = bootstrap_cells(
        router, rivals, rng=rng, n_resamples=n_resamples, confidence=confidence
    )
    tests = sign_flip_cells(router, rivals, rng=rng, n_resamples=n_resamples)
    rows = [("router", len(values["router"]), _mean(values["router"], 0), *[np.nan] * 4)]
    for at, name in enumerate(_RIVALS):
        numbers = (spread.estimate[at], spread.low[at], spread.high[at], tests.p_value[at])
        rows.append((name, int(spread.n_scored[at]), _mean(values[name], 0), *numbers))
    names = ["policy", "n", "score", "difference", "low", "high", "p_value"]
    return pl.DataFrame([tuple(map(_plain, row)) for row in rows], names, orient="row")


def _mean(values: FloatArray, axis: int) -> FloatArray:
    """Return means over what is not NaN; NaN where nothing is."""
    count = (~np.isnan(values)).sum(axis=axis)
    total = np.nansum(values, axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _plain(value: object) -> object:
    return float(value) if isinstance(value, np.floating | np.ndarray) else value

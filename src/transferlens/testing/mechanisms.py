"""Studies in which adapters differ from the base in known ways of answering.

A model reads each example's label with a strength that grows with the length of what it
writes, prefers a label, and sometimes writes what nobody can read. For a gold label
``g`` (-1 or 1) it answers the second label where ::

    g * (skill + by_length * (log(length) - log(20)) / 2) + bias / 2 + noise / 2 > 0

with logistic noise. All models share the luck of an example: its noise, whether it is one
with long answers, and how easily the form of the answer is missed. An answer of ``limit``
tokens is cut off, and then wrong and unreadable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.special import expit, ndtri

from transferlens.errors import SpecError
from transferlens.results import BASE, PREDICTION_SCHEMA, SourceInfo, TargetInfo, TransferStudy
from transferlens.testing.structure import Array, BoolArray

__all__ = ["Behaviour", "PlantedMechanisms", "simulate_mechanisms"]

LABELS = ("no", "yes")
_USUAL = 20.0
_NODES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How one model answers."""

    skill: float = 0.5
    """Half the log-odds of a right answer of usual length without a preference."""
    bias: float = 0.0
    """Log-odds that it adds to "yes", whatever the example."""
    length: float = 20.0
    """Median length in tokens; the logarithm has a standard deviation of 0.5."""
    readable: float = 1.0
    """Share of answers that can be read (of those that are not cut off)."""

    def __post_init__(self) -> None:
        if not (0.0 <= self.readable <= 1.0 and self.length > 0.0):
            msg = f"readable={self.readable} must be a share and length={self.length} above 0"
            raise SpecError(msg)


class PlantedMechanisms(NamedTuple):
    """A study with one target, ``"task"``, and what is true of it."""

    study: TransferStudy
    truth: dict[str, dict[str, float]]
    """Source -> mechanism (``format``, ``prior``, ``length``, ``skill``) -> what its
    expected gain owes to it: the change when the mechanism alone changes from the base's to
    the adapter's, averaged over the orders in which they can. It sums to the expected gain."""


class _Luck(NamedTuple):
    """What an example does to every model, (example,) each."""

    length: Array
    noise: Array
    form: Array


def simulate_mechanisms(
    base: Behaviour,
    adapters: Mapping[str, Behaviour],
    *,
    rng: np.random.Generator,
    n_examples: int = 2_000,
    by_length: float = 0.0,
    limit: int = 100,
    likelihoods: bool = False,
) -> PlantedMechanisms:
    """Make a study of adapters whose behaviour is known.

    Parameters
    ----------
    base, adapters
        How each model answers.
    rng
        Source of examples and noise.
    n_examples
        Examples of the target.
    by_length
        How much a longer answer is better: log-odds per natural logarithm of the length.
    limit
        Longest answer in tokens.
    likelihoods
        Compare the likelihoods of the two labels instead of writing an answer: all can
        then be read and none has a length.

    Returns
    -------
    PlantedMechanisms
        ``study`` and ``truth``.
    """
    if likelihoods:
        base = replace(base, readable=1.0)
        adapters = {name: replace(adapter, readable=1.0) for name, adapter in adapters.items()}
        by_length, limit = 0.0, 10**9
    gold = rng.random(n_examples) < 0.5
    models = {BASE: base, **adapters}
    luck = _Luck(
        rng.standard_normal(n_examples), rng.logistic(size=n_examples), rng.random(n_examples)
    )
    frames = [
        _rows(name, model, gold, luck, by_length=by_length, limit=limit, written=not likelihoods)
        for name, model in models.items()
    ]
    study = TransferStudy.from_predictions(
        pl.concat(frames),
        targets=[TargetInfo(name="task", metric="accuracy", ceiling=1.0)],
        sources=[SourceInfo(name=name) for name in adapters],
        origin={"name": "simulated"},
    )
    truth = {name: _causes(base, adapter, by_length, limit) for name, adapter in adapters.items()}
    return PlantedMechanisms(study, truth)


def _strength(model: Behaviour, length: Array, by_length: float) -> Array:
    strength: Array = model.skill + by_length * (np.log(length) - np.log(_USUAL)) / 2.0
    return strength


def _rows(
    source: str,
    model: Behaviour,
    gold: BoolArray,
    luck: _Luck,
    *,
    by_length: float,
    limit: int,
    written: bool,
) -> pl.DataFrame:
    n = len(gold)
    length = np.maximum(np.rint(model.length * np.exp(0.5 * luck.length)), 1.0)
    cut = length >= limit
    strength = np.where(gold, 1.0, -1.0) * _strength(model, length, by_length)
    odds = 2.0 * strength + model.bias + luck.noise
    yes = odds > 0
    readable = (luck.form < model.readable) & ~cut
    answer = [
        LABELS[a] if r else None for a, r in zip(yes.tolist(), readable.tolist(), strict=True)
    ]
    logs = np.column_stack([-np.logaddexp(0.0, odds), -np.logaddexp(0.0, -odds)])
    columns = {
        "source": [source] * n,
        "target": ["task"] * n,
        "seed": [0] * n,
        "example": list(range(n)),
        "gold": [LABELS[g] for g in gold.tolist()],
        "prediction": answer,
        "completion": ["written" if written else None] * n,
        "score": ((yes == gold) & readable).astype(np.float64),
        "n_tokens": np.minimum(length, limit).astype(np.int64) if written else [1] * n,
        "truncated": cut,
        "prompt_hash": [""] * n,
        "example_hash": [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)],
        "choice_logprobs": [None] * n if written else logs.tolist(),
    }
    return pl.DataFrame(columns, schema=PREDICTION_SCHEMA)


@lru_cache(maxsize=256)
def _expected(model: Behaviour, by_length: float, limit: int) -> float:
    """Return the expected score by integrating over lengths; the golds are balanced."""
    quantiles = (np.arange(_NODES) + 0.5) / _NODES
    length = np.maximum(np.rint(model.length * np.exp(0.5 * ndtri(quantiles))), 1.0)
    twice = 2.0 * _strength(model, length, by_length)
    right = (expit(twice + model.bias) + expit(twice - model.bias)) / 2.0
    return float(model.readable * (right * (length < limit)).mean())


_FIELDS = {"format": "readable", "prior": "bias", "length": "length", "skill": "skill"}


def _causes(base: Behaviour, adapter: Behaviour, by_length: float, limit: int) -> dict[str, float]:
    """Change one mechanism after the other, in every order, and average."""
    total = dict.fromkeys(_FIELDS, 0.0)
    orders = list(permutations(_FIELDS))
    for order in orders:
        for cause, change in _path(order, base, adapter, by_length, limit):
            total[cause] += change / len(orders)
    return total


def _path(
    order: tuple[str, ...], base: Behaviour, adapter: Behaviour, by_length: float, limit: int
) -> Iterator[tuple[str, float]]:
    model, before = base, _expected(base, by_length, limit)
    for cause in order:
        name = _FIELDS[cause]
        model = replace(model, **{name: getattr(adapter, name)})
        after = _expected(model, by_length, limit)
        yield cause, after - before
        before = after

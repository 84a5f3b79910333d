"""Which adapter a request should have: its task, and what the study measured on that task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.results import TransferStudy
from transferlens.serve.profiles import Profiles, fit_profiles
from transferlens.stats.arrays import FloatArray
from transferlens.transfer import Evidence, transfer_matrix

__all__ = ["Gains", "Route", "Router", "ascii_only", "fit_router", "stored_prompts"]

_MINOR = 0.02
"""Probability below which a task has no say in what a prompt is routed to."""


class Route(NamedTuple):
    """Where a prompt goes, and why."""

    adapter: str | None
    """Source whose adapter answers; None: the base."""
    task: str | None
    """Nearest task; None where the prompt is unlike all of them."""
    probability: float
    """Of that task, given that the prompt is of one of the study's."""
    similarity: float
    """Cosine of the prompt to the nearest task's profile, 0 to 1."""
    gain: float
    """Expected gain of the adapter over the base, in ``unit``; NaN for the base."""
    low: float
    """Lower confidence bound of that gain, one adapter among all; NaN for the base."""
    unit: str
    reason: str
    """In words."""


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """What every adapter does to every task, with a lower bound that holds for all adapters."""

    sources: tuple[str, ...]
    tasks: tuple[str, ...]
    gain: FloatArray
    """(source, task), upwards is better; NaN: not measured."""
    low: FloatArray
    """Lower bound: the chance that any adapter's lies above its true gain on a task is at most
    the level (Bonferroni over adapters)."""
    units: tuple[str, ...]

    @classmethod
    def of(cls, study: TransferStudy, *, level: float = 0.05) -> Gains:
        """Estimate them from a study's predictions."""
        # Both ends of the interval would be missed as often: only the lower one is used.
        confidence = 1.0 - 2.0 * level / max(len(study.sources), 1)
        data = transfer_matrix(study, Evidence(confidence=max(confidence, 0.5))).data
        fraction = data["unit"].values == "fraction"
        scale = np.where(fraction, 100.0, 1.0)[None]
        units = [
            "points" if flag else str(u)
            for flag, u in zip(fraction, data["unit"].values, strict=True)
        ]
        return cls(
            tuple(map(str, data["source"].values)),
            tuple(map(str, data["target"].values)),
            data["gain"].transpose("source", "target").values * scale,
            data["gain_low"].transpose("source", "target").values * scale,
            tuple(units),
        )

    def expected(self, shares: Mapping[str, float]) -> tuple[FloatArray, FloatArray, str]:
        """Return gain and lower bound of every source on a prompt whose task is not certain.

        Parameters
        ----------
        shares
            Probability of each task; those in another unit than the likeliest have no say.
        """
        unit = self.units[self.tasks.index(max(shares, key=lambda task: shares[task]))]
        places = [self.tasks.index(t) for t in shares if self.units[self.tasks.index(t)] == unit]
        weights = np.array([shares[self.tasks[at]] for at in places])
        weights = weights / weights.sum()
        gain = self.gain[:, places] @ weights
        # Errors on different tasks are independent: their examples are.
        below = (self.gain - self.low)[:, places] * weights
        return gain, gain - np.sqrt((below**2).sum(axis=1)), unit


@dataclass(frozen=True, slots=True, eq=False)
class Router:
    """Sends a prompt to the adapter of which most is certain, or to the base."""

    profiles: Profiles
    gains: Gains

    def __call__(self, prompt: str) -> Route:
        """Return where a prompt goes."""
        cosines = self.profiles.similarities([prompt])
        return self._route(cosines[0], self.profiles.probabilities(cosines)[0])

    def many(self, prompts: Sequence[str]) -> list[Route]:
        """Return where each of many prompts goes."""
        cosines = self.profiles.similarities(prompts)
        rows = zip(cosines, self.profiles.probabilities(cosines), strict=True)
        return [self._route(cosine, share) for cosine, share in rows]

    def for_task(self, task: str) -> Route:
        """Return where prompts go that are known to be of a task."""
        return self._best(task, {task: 1.0}, 1.0, math.nan)

    def _route(self, cosines: FloatArray, shares: FloatArray) -> Route:
        nearest = int(cosines.argmax())
        task, similarity = self.profiles.tasks[nearest], float(cosines[nearest])
        if similarity < self.profiles.floors[nearest] or similarity <= 0:
            why = (
                f"unlike every task of the study: {similarity:.2f} to {task}, whose own prompts "
                f"reach {self.profiles.floors[nearest]:.2f}; so the base answers"
            )
            return Route(None, None, math.nan, similarity, math.nan, math.nan, "", why)
        named = zip(self.profiles.tasks, shares.tolist(), strict=True)
        some = {name: share for name, share in named if share >= _MINOR or name == task}
        return self._best(task, some, float(shares[nearest]), similarity)

    def _best(
        self, task: str, shares: Mapping[str, float], probability: float, similarity: float
    ) -> Route:
        gain, low, unit = self.gains.expected(shares)
        bounds = np.where(np.isnan(low), -np.inf, low)
        best = int(bounds.argmax()) if len(bounds) else -1
        where = f"nearest task {task} ({probability:.0%})"
        if best < 0 or bounds[best] <= 0:
            why = f"{where}: no adapter helps there beyond doubt; so the base answers"
            return Route(None, task, probability, similarity, math.nan, math.nan, unit, why)
        name = self.gains.sources[best]
        bound = f"at least {low[best]:+.1f}"
        why = f"{where}: {name} brings {gain[best]:+.1f} {unit}, {bound}"
        numbers = (float(gain[best]), float(low[best]))
        return Route(name, task, probability, similarity, *numbers, unit, why)


def fit_router(
    study: TransferStudy,
    *,
    prompts: Mapping[str, Sequence[str]] | None = None,
    level: float = 0.05,
    seed: int = 0,
) -> Router:
    """Make the router of a study.

    Parameters
    ----------
    study
        With predictions, and with the texts of its examples.
    prompts
        Prompts of each task, in place of the stored ones.
    level
        Chance that the lower bound of any adapter's gain on a task lies above the true one.
    seed
        Of the halves on which the profiles are calibrated.

    Raises
    ------
    AnalysisError
        The study has no texts or no adapters to route between.
    """
    if not study.sources:
        msg = "the study has no adapters, so there is nothing to route between"
        raise AnalysisError(msg)
    texts = stored_prompts(study) if prompts is None else prompts
    return Router(
        fit_profiles(texts, rng=np.random.default_rng(seed)), Gains.of(study, level=level)
    )


def stored_prompts(study: TransferStudy) -> dict[str, list[str]]:
    """Return the prompts of every target whose texts are stored.

    Raises
    ------
    AnalysisError
        Those of no target are.
    """
    known = [info.name for info in study.targets if info.examples_id is not None]
    if study.path is None or not known:
        msg = (
            "the study does not hold the texts of its examples, which routing compares prompts "
            "with; name an adapter instead"
        )
        raise AnalysisError(msg)
    return {name: study.example_texts(name)["prompt"].to_list() for name in known}


def ascii_only(text: str) -> str:
    """Return a text as a header can carry it."""
    return text.encode("ascii", "backslashreplace").decode().replace("\n", " ").replace("\r", " ")

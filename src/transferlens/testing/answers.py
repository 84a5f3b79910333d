"""How a model of known quality answers examples of known difficulty.

A model of quality ``q`` meets an example of difficulty ``z`` with luck ``e``,
both standard normal::

    x = sqrt(d) * z + sqrt(1 - d) * e

A right/wrong answer is right if ``x`` is below the ``q`` quantile of the
normal distribution; a graded one scores ``(1 - Phi(x)) ** ((1 - q) / q)``.
Either way the expected score is exactly ``q``, and models agree the more on
which examples are hard the larger the share ``d`` is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.special import log_ndtr, ndtri

from transferlens.errors import SpecError
from transferlens.results import PREDICTION_SCHEMA
from transferlens.testing.structure import Array, BoolArray

__all__ = [
    "LOWEST",
    "Answers",
    "ExampleSet",
    "Sampling",
    "draw_answers",
    "draw_examples",
    "prediction_rows",
]

LOWEST = 0.01
"""Qualities are kept between this and one minus this; at 0 and 1 nothing is random."""

CHOICES = ("yes", "no")
REFERENCE, WRITTEN = "reference", "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a simulated matrix is observed: examples, training runs, metrics, gaps."""

    n_examples: int = 200
    n_seeds: int = 1
    seed_sd: float = 0.0
    """SD of an adapter's true quality between training runs, for each target anew."""
    graded: int = 0
    """So many targets, the last ones, have scores between 0 and 1 instead of right/wrong."""
    lower_is_better: int = 0
    """So many targets, the first ones, report errors: one minus the quality."""
    difficulty: float = 0.5
    """Share of the variance of single answers that the example has; the rest is luck."""
    majority: float = 0.5
    """Share of the gold answer "yes" among right/wrong examples (expected)."""
    unscored: float = 0.0
    """Share of an adapter's predictions without a score (expected); the base has all."""
    missing: float = 0.0
    """Share of the cells (all seeds at once) that were never run."""
    likelihoods: bool = False
    """Whether right/wrong predictions carry the log-likelihoods of "yes" and "no"."""

    def __post_init__(self) -> None:
        if min(self.n_examples, self.n_seeds) < 1:
            msg = f"{self.n_examples} examples and {self.n_seeds} seeds: one of each is needed"
            raise SpecError(msg)
        shares = {
            name: getattr(self, name) for name in ("difficulty", "majority", "unscored", "missing")
        }
        for name, share in shares.items():
            if not 0 <= share <= 1:
                msg = f"{name}={share} must be a share between 0 and 1"
                raise SpecError(msg)
        if not (self.seed_sd >= 0 and self.graded >= 0 and self.lower_is_better >= 0):
            msg = "seed_sd, graded and lower_is_better must be at least 0"
            raise SpecError(msg)


class ExampleSet(NamedTuple):
    """The examples of all targets, which every model answers."""

    difficulty: Array
    """Standard normal, above 0 is harder than usual, shape (target, example)."""
    rows: pl.DataFrame
    """The columns of the predictions that no answer changes, target by target."""
    graded: BoolArray
    """Shape (target,)."""
    lower_is_better: BoolArray
    """Shape (target,)."""


class Answers(NamedTuple):
    """What one model did with every example; each of shape (target, example)."""

    score: Array
    """In the target's own unit, NaN where unscored."""
    margin: Array
    """How far the example was from being answered wrong, in units of ``x``."""


def draw_examples(
    targets: tuple[str, ...], sampling: Sampling, *, rng: np.random.Generator
) -> ExampleSet:
    """Draw difficulties and gold answers."""
    p, n = len(targets), sampling.n_examples
    place = np.arange(p)
    graded = place >= p - sampling.graded
    gold = rng.random((p, n)) < sampling.majority
    label = np.where(graded[:, None], REFERENCE, np.where(gold, *CHOICES))
    keys = [f"{target}/{example}" for target in targets for example in range(n)]
    rows = pl.DataFrame(
        {
            "target": np.repeat(np.array(targets), n),
            "example": np.tile(np.arange(n), p),
            "gold": label.ravel(),
            "graded": np.repeat(graded, n),
            # As long as those of a real study.
            "prompt_hash": [_hash("prompt/" + key)[:16] for key in keys],
            "example_hash": [_hash("example/" + key) for key in keys],
        }
    )
    return ExampleSet(
        difficulty=rng.standard_normal((p, n)),
        rows=rows,
        graded=graded,
        lower_is_better=place < sampling.lower_is_better,
    )


def draw_answers(
    quality: Array,
    examples: ExampleSet,
    *,
    difficulty: float,
    unscored: float,
    rng: np.random.Generator,
) -> Answers:
    """Answer every example of every target.

    Parameters
    ----------
    quality
        Expected score where higher is better, strictly between 0 and 1, shape (target,).
    examples
        What is answered.
    difficulty, unscored
        See `Sampling`.
    rng
        Source of luck.
    """
    luck = rng.standard_normal(examples.difficulty.shape)
    x = np.sqrt(difficulty) * examples.difficulty + np.sqrt(1.0 - difficulty) * luck
    margin = ndtri(quality)[:, None] - x
    score = (margin > 0).astype(np.float64)
    power = ((1.0 - quality) / quality)[examples.graded, None]
    # The logarithm keeps the hardest examples above 0, where a power would round.
    score[examples.graded] = np.exp(power * log_ndtr(-x[examples.graded]))
    down = examples.lower_is_better
    score[down] = 1.0 - score[down]
    score[rng.random(score.shape) < unscored] = np.nan
    return Answers(score=score, margin=margin)


def prediction_rows(
    source: str,
    seed: int,
    answers: Answers,
    examples: ExampleSet,
    *,
    run: BoolArray,
    likelihoods: bool,
) -> pl.DataFrame:
    """Return the predictions of one model (`PREDICTION_SCHEMA`) on the targets that it ran."""
    score, margin = answers.score.ravel(), answers.margin.ravel()
    right, yes, graded = pl.col("right"), pl.col("gold") == CHOICES[0], pl.col("graded")
    answer = pl.when(right == yes).then(pl.lit(CHOICES[0])).otherwise(pl.lit(CHOICES[1]))
    logs: pl.Expr = pl.lit(None, dtype=PREDICTION_SCHEMA["choice_logprobs"])
    if likelihoods:
        towards_yes = pl.when(yes).then(pl.col("margin")).otherwise(-pl.col("margin"))
        # Log-odds of the two choices, so that their likelihoods sum to 1.
        pair = pl.concat_list(-(-towards_yes).exp().log1p(), -towards_yes.exp().log1p())
        logs = pl.when(~graded).then(pair)
    frame = examples.rows.with_columns(
        score=pl.Series(score), margin=pl.Series(margin), right=pl.Series(margin > 0)
    ).filter(pl.Series(np.repeat(run, examples.difficulty.shape[1])))
    return frame.with_columns(
        source=pl.lit(source),
        seed=pl.lit(seed, dtype=pl.Int64),
        # An answer that has no score is one that could not be read.
        prediction=pl.when(pl.col("score").is_nan())
        .then(None)
        .otherwise(pl.when(graded).then(pl.lit(WRITTEN)).otherwise(answer)),
        completion=pl.when(graded).then(pl.lit(WRITTEN)),
        n_tokens=pl.lit(1, dtype=pl.Int32),
        truncated=pl.lit(value=False),
        choice_logprobs=logs,
    ).select(PREDICTION_SCHEMA.names())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

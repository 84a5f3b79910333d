"""One adapter on one target: a prediction for every example, scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from transferlens.engine.base import Base
from transferlens.engine.choices import score_choices
from transferlens.engine.generate import generate
from transferlens.engine.harness_answers import answer_choices
from transferlens.engine.prepare import PreparedTarget
from transferlens.results import PREDICTION_SCHEMA, Cell
from transferlens.tasks import HarnessTask

__all__ = ["evaluate_cell"]

Columns = dict[str, list[Any]]
Tick = Callable[[int, int], None]


def evaluate_cell(
    base: Base, target: PreparedTarget, cell: Cell, *, batch_tokens: int, tick: Tick
) -> pl.DataFrame:
    """Return the predictions of whatever adapter is in the model, one row per example.

    Parameters
    ----------
    tick
        Called after each batch with its examples and tokens.

    Returns
    -------
    pl.DataFrame
        The columns of `transferlens.results.PREDICTION_SCHEMA`. A score of NaN
        means that the metric does not score the example.
    """
    examples = target.part.examples
    gold = [example.gold for example in examples]
    if target.part.harness:
        columns = _ask_for_harness(base, target, target.part.harness, batch_tokens, tick)
    else:
        predict = _choose if target.part.task.kind == "choice" else _write
        columns = predict(base, target, batch_tokens, tick)
        score = target.part.scorer.score
        columns["score"] = list(map(score, columns["prediction"], gold))
    columns["gold"] = gold
    columns["example"] = list(range(len(examples)))
    columns["prompt_hash"] = [example.prompt_hash for example in examples]
    columns["example_hash"] = [example.example_hash for example in examples]
    for name in ("source", "target", "seed"):
        columns[name] = [getattr(cell, name)] * len(examples)
    return pl.DataFrame({name: columns[name] for name in PREDICTION_SCHEMA}, PREDICTION_SCHEMA)


def _choose(base: Base, target: PreparedTarget, batch_tokens: int, tick: Tick) -> Columns:
    scores = score_choices(base, target.items, batch_tokens=batch_tokens, tick=tick)
    by_length = target.part.task.spec.length_normalized
    columns: Columns = {"prediction": [], "n_tokens": [], "choice_logprobs": scores}
    for example, item, sums in zip(target.part.examples, target.items, scores, strict=True):
        choices = example.choices or ()
        # As in lm-evaluation-harness: characters of the choice, its separator not counted.
        lengths = [len(choice) if by_length else 1 for choice in choices]
        best = int(np.argmax(np.array(sums) / np.array(lengths)))
        columns["prediction"].append(choices[best])
        columns["n_tokens"].append(len(item.choices[best]))
    columns["completion"] = [None] * len(scores)
    columns["truncated"] = [False] * len(scores)
    return columns


def _write(base: Base, target: PreparedTarget, batch_tokens: int, tick: Tick) -> Columns:
    columns = _completions(base, target, batch_tokens, tick)
    columns["prediction"] = [target.part.scorer.extract(text) for text in columns["completion"]]
    return columns


def _completions(base: Base, target: PreparedTarget, batch_tokens: int, tick: Tick) -> Columns:
    spec = target.part.task.spec
    written = generate(
        base,
        target.prompts,
        max_new_tokens=spec.max_new_tokens,
        stop=spec.stop,
        batch_tokens=batch_tokens,
        max_length=target.max_length,
        tick=tick,
    )
    return {
        "completion": [completion.text for completion in written],
        "n_tokens": [completion.n_tokens for completion in written],
        "truncated": [completion.truncated for completion in written],
        "choice_logprobs": [None] * len(written),
    }


def _ask_for_harness(
    base: Base, target: PreparedTarget, harness: HarnessTask, batch_tokens: int, tick: Tick
) -> Columns:
    """Let lm-eval score the answers; the prediction beside them is what its metric looks at."""
    if harness.writes:
        columns = _completions(base, target, batch_tokens, tick)
        judged = harness.judge(columns["completion"])
        return {
            **columns,
            "prediction": [answer.written for answer in judged],
            "score": [answer.score for answer in judged],
        }
    # Where each choice has a prompt of its own, there are more items than examples.
    share = len(target.part.examples) / len(target.items)
    answers = answer_choices(
        base,
        harness,
        target.items,
        batch_tokens=batch_tokens,
        tick=lambda items, tokens: tick(round(items * share), tokens),
    )
    judged = harness.judge(answers)
    choices = [example.choices or () for example in target.part.examples]
    lengths = iter(len(choice) for item in target.items for choice in item.choices)
    n_tokens = [[next(lengths) for _ in own] for own in answers]
    chosen = [answer.chosen for answer in judged]
    return {
        "prediction": [None if i is None else c[i] for i, c in zip(chosen, choices, strict=True)],
        "score": [answer.score for answer in judged],
        "n_tokens": [n[i or 0] for i, n in zip(chosen, n_tokens, strict=True)],
        "choice_logprobs": [
            [value for value, _ in some[: len(c)]] for some, c in zip(answers, choices, strict=True)
        ],
        "completion": [None] * len(judged),
        "truncated": [False] * len(judged),
    }

"""Where nothing differs nothing is found more often than promised, and intervals hold the truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from transferlens.explain import (
    MECHANISMS,
    AnswerFormat,
    Attribution,
    LabelShift,
    OutputLength,
)
from transferlens.explain.skew import jensen_shannon
from transferlens.results import BASE, PREDICTION_SCHEMA, TransferStudy

N_TARGETS, N_EXAMPLES = 120, 250
MIX = np.array([0.7, 0.3])
MEDIAN = 15.0


def rows(source, target, gold, rng):
    """Answer as every model here does: 60 % right, preferring "no", 85 % of it readable."""
    n = len(gold)
    right = rng.random(n) < 0.6
    answer = np.where(right, gold, np.where(rng.random(n) < MIX[0], "no", "yes"))
    readable = rng.random(n) < 0.85
    length = np.maximum(np.rint(MEDIAN * np.exp(0.5 * rng.standard_normal(n))), 1.0)
    said = [str(a) if r else None for a, r in zip(answer, readable, strict=True)]
    columns = {
        "source": source,
        "target": target,
        "seed": 0,
        "example": np.arange(n),
        "gold": gold,
        "prediction": said,
        "completion": ["well, no"] * n,
        "score": ((answer == gold) & readable).astype(float),
        "n_tokens": length.astype(int),
        "truncated": length > 40,
        "prompt_hash": "",
        "example_hash": [str(at) for at in range(n)],
        "choice_logprobs": None,
    }
    return pl.DataFrame(columns, schema_overrides=PREDICTION_SCHEMA).select(*PREDICTION_SCHEMA)


@pytest.fixture(scope="module")
def alike():
    """Return a study in which adapter and base answer alike, each with its own luck."""
    rng = np.random.default_rng(11)
    frames = []
    for number in range(N_TARGETS):
        gold = rng.choice(["no", "yes"], N_EXAMPLES, p=MIX)
        frames += [rows(source, f"t{number}", gold, rng) for source in (BASE, "s")]
    return TransferStudy.from_predictions(pl.concat(frames))


def rejected(data, name):
    """Return how often the interval leaves 0 out."""
    return float(((data[f"{name}_low"] > 0) | (data[f"{name}_high"] < 0)).mean())


def test_no_mechanism_stands_out_more_often_than_one_time_in_twenty(alike):
    data = Attribution(n_resamples=200)(alike, rng=np.random.default_rng(1)).data
    found = {name: rejected(data, name) for name in ("gain", *MECHANISMS)}
    assert max(found.values()) < 0.1, found
    assert np.mean(list(found.values())) == pytest.approx(0.05, abs=0.025)


@pytest.fixture(scope="module")
def lengths(alike):
    training = MEDIAN * 3.0 * np.exp(0.5 * np.random.default_rng(3).standard_normal(2000))
    found = OutputLength(n_resamples=200)
    return found(alike, rng=np.random.default_rng(1), lengths={"s": training}).data


@pytest.fixture(scope="module")
def labels(alike):
    prior = {"s": {"no": 20.0, "yes": 80.0}}
    return LabelShift(n_resamples=200)(alike, rng=np.random.default_rng(1), priors=prior).data


def test_no_part_of_length_or_form_does_either(alike, lengths):
    form = AnswerFormat(n_resamples=200)(alike, rng=np.random.default_rng(1)).data
    parts = [rejected(lengths, n) for n in ("lengths_changed", "better_at_equal_length")]
    parts += [rejected(form, n) for n in ("readable_more", "better_when_readable", "format_alone")]
    assert max(parts) < 0.1
    assert np.mean(parts) == pytest.approx(0.05, abs=0.025)


def test_neither_does_what_correction_of_the_label_mix_changes(labels):
    parts = [rejected(labels, n) for n in ("gain_at_gold_mix", "removed")]
    assert max(parts) < 0.1
    assert np.mean(parts) == pytest.approx(0.05, abs=0.03)


def test_intervals_of_the_shift_from_training_data_hold_the_truth(labels):
    # Right answers follow gold and the others the same mix, so all answers do.
    truth = float(jensen_shannon(MIX, np.array([0.2, 0.8])))
    low, high = (labels[f"shift_from_source_{end}"] for end in ("low", "high"))
    assert float(((low <= truth) & (truth <= high)).mean()) == pytest.approx(0.95, abs=0.04)
    assert float((low > 0).mean()) > 0.99


def test_intervals_of_the_interpolation_hold_the_truth(lengths):
    low, high = lengths["interpolation_low"], lengths["interpolation_high"]
    # Adapter and base are equally long: it has moved none of the way.
    assert float(((low <= 0) & (high >= 0)).mean()) == pytest.approx(0.95, abs=0.04)
    assert float((high - low).mean()) < 0.3

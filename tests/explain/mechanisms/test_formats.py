"""Readable answers, lenient scores, and what a gain owes to format."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from transferlens.explain import AnswerFormat
from transferlens.explain.formats import lenient_rows
from transferlens.results import BASE, TargetInfo, TransferStudy
from transferlens.testing import Behaviour, simulate_mechanisms

BASE_LINE = Behaviour(skill=0.8, readable=0.5)
ADAPTERS = {
    "format": Behaviour(skill=0.8, readable=0.95),
    "skill": Behaviour(skill=1.8, readable=0.5),
}


@pytest.fixture(scope="module")
def planted():
    return simulate_mechanisms(BASE_LINE, ADAPTERS, rng=np.random.default_rng(0), n_examples=10_000)


@pytest.fixture(scope="module")
def data(planted):
    return AnswerFormat(n_resamples=100)(planted.study, rng=np.random.default_rng(0)).data


def test_a_gain_of_format_and_one_of_skill_are_told_apart(data):
    by_format, by_skill = (data.sel(source=s, target="task") for s in ("format", "skill"))
    assert 0.9 < float(by_format["readable_more"] / by_format["gain"]) < 1.1
    assert 0.9 < float(by_skill["better_when_readable"] / by_skill["gain"]) < 1.1
    assert by_format["readable_more_low"] > 0


def test_readable_shares_are_those_of_the_rows(data, planted):
    rows = planted.study.predictions.collect()
    share = rows.filter(rows["source"] == "format")["prediction"].is_not_null().mean()
    assert float(data["readable"].sel(source="format", target="task")) == pytest.approx(share)
    base = rows.filter(rows["source"] == BASE)["prediction"].is_not_null().mean()
    assert float(data["base_readable"].sel(target="task")) == pytest.approx(base)


def texts(completions, scores, gold="18"):
    frame = simulate_mechanisms(
        Behaviour(), {}, rng=np.random.default_rng(0), n_examples=len(completions)
    ).study.predictions.collect()
    return frame.with_columns(
        completion=pl.Series(completions, dtype=pl.String),
        gold=pl.lit(gold),
        score=pl.Series(scores, dtype=pl.Float64),
    )


@pytest.mark.parametrize(
    ("completion", "gold", "expected"),
    [
        ("The answer is 18.", "18", 1.0),
        ("180 apples", "18", 0.0),
        ("It costs $1,800!", "1800", 1.0),
        ("So it is YES", "yes", 1.0),
        ("yesterday", "yes", 0.0),
        ("1.5", "5", 0.0),
        ("-3", "3", 0.0),
        ("", "3", 0.0),
    ],
)
def test_the_gold_counts_wherever_it_stands_as_whole_words(completion, gold, expected):
    rows = texts([completion], [0.0], gold)
    assert lenient_rows(rows.lazy(), TargetInfo(name="task"))["lenient"].to_list() == [expected]


def test_a_lenient_score_is_never_below_the_strict_one_and_unscored_stays_unscored():
    rows = texts(["nothing", "18", None], [1.0, float("nan"), 0.0])
    lenient = lenient_rows(rows.lazy(), TargetInfo(name="task"))["lenient"].to_numpy()
    assert lenient[0] == 1.0
    assert np.isnan(lenient[1:]).all()


def test_where_lower_is_better_a_named_gold_is_no_error():
    rows = texts(["it is 18", "no"], [1.0, 1.0])
    info = TargetInfo(name="task", higher_is_better=False)
    assert lenient_rows(rows.lazy(), info)["lenient"].to_list() == [0.0, 1.0]


def test_a_gain_that_only_unwraps_the_answer_is_format_alone():
    n = 200
    right = np.arange(n) % 2 == 0
    hidden = ["I think it is 18 or so" if r else "who knows" for r in right]
    plain = ["18" if r else "19" for r in right]
    base = texts(hidden, np.zeros(n)).with_columns(source=pl.lit(BASE), prediction=pl.lit(None))
    adapter = texts(plain, right.astype(float)).with_columns(
        source=pl.lit("s"), prediction=pl.Series(plain)
    )
    frame = pl.concat([base.cast(adapter.schema), adapter])
    found = AnswerFormat(n_resamples=50)(
        TransferStudy.from_predictions(frame), rng=np.random.default_rng(0)
    ).data.sel(source="s", target="task")
    assert float(found["gain"]) == float(found["format_alone"]) == 0.5
    assert float(found["lenient_gain"]) == 0.0
    assert float(found["base_lenient"]) == 0.5


def test_choices_are_all_readable_and_have_no_lenient_score():
    planted = simulate_mechanisms(
        BASE_LINE, ADAPTERS, rng=np.random.default_rng(0), n_examples=100, likelihoods=True
    )
    result = AnswerFormat(n_resamples=20)(planted.study, rng=np.random.default_rng(0))
    assert (result.data["readable"] == 1.0).all()
    assert np.isnan(result.data["lenient_gain"]).all()
    assert result.to_frame().height == 2

"""A planted effect of a twin is found, and one that is not there is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.stats import binomtest

from transferlens.errors import AnalysisError
from transferlens.explain import TwinEffect
from transferlens.explain.noise import against_floor, noise_floor
from transferlens.results import SourceInfo, TransferStudy
from transferlens.stats import mcnemar_test, two_way_test
from transferlens.testing import Behaviour, Sampling, Structure, simulate_study, simulate_twins
from transferlens.transfer import Evidence

QUICK = Evidence(n_resamples=399)


def effects(study, **parameters):
    return TwinEffect(evidence=QUICK, **parameters)(study)


def row(found, **where):
    (only,) = found.frame.filter(**where).iter_rows(named=True)
    return only


def paired(study, **control):
    """Call every second source the twin of the one before it."""
    names = [info.name for info in study.sources]
    infos = [
        SourceInfo(name=name, **({"twin_of": names[at - 1], **control} if at % 2 else {}))
        for at, name in enumerate(names)
    ]
    rows = study.predictions.collect()
    return TransferStudy.from_predictions(rows, sources=infos, targets=study.targets)


def test_a_planted_label_preference_is_found_in_the_shares_and_not_called_length():
    made = simulate_twins(
        Behaviour(skill=0.8, bias=1.5),
        {"balanced": Behaviour(skill=0.8), "prompt_format": Behaviour(skill=0.8, bias=1.5)},
        rng=np.random.default_rng(0),
        n_examples=800,
        n_targets=2,
    )
    found = effects(made.study)
    rows = made.study.with_twins().predictions.collect()
    for target in ("task0", "task1"):
        answers = rows.filter(pl.col("target") == target)
        share, source = (
            (answers.filter(pl.col("source") == name)["prediction"] == "yes").mean()
            for name in ("source-balanced", "source")
        )
        got = row(found, twin="source-balanced", target=target, measure="share")
        assert got["label"] == "yes"
        assert got["difference"] == pytest.approx(share - source)
        assert got["low"] < share - source < got["high"] < -0.1
        assert got["p_adjusted"] < 1e-6
        score = row(found, twin="source-balanced", target=target, measure="score")
        assert score["low"] <= made.truth["source-balanced"] <= score["high"]
    same = found.frame.filter(pl.col("twin") == "source-prompt_format")
    assert (same["difference"] == 0).all()
    assert (same["p_adjusted"] == 1).all()
    assert set(found.found()["twin"]) == {"source-balanced"}


def test_a_planted_length_is_found_in_tokens():
    made = simulate_twins(
        Behaviour(length=30.0),
        {"truncated_outputs": Behaviour(length=10.0)},
        rng=np.random.default_rng(1),
        likelihoods=False,
    )
    found = effects(made.study)
    got = row(found, measure="length")
    assert got["unit"] == "tokens"
    assert got["difference"] == pytest.approx(got["changed"] - got["original"])
    # The mean of a log-normal with this median and spread.
    assert got["difference"] == pytest.approx(-20 * np.exp(0.125), rel=0.1)
    # A bootstrap of 399 resamples knows no smaller p-value, and three tests are made.
    assert got["p_adjusted"] < 0.02


def test_one_run_is_tested_by_mcnemar_as_a_cell_of_the_matrix_is():
    base, _ = simulate_study(
        Structure(n_sources=2, n_targets=1, strengths=()),
        Sampling(n_examples=300),
        rng=np.random.default_rng(2),
    )
    study = paired(base, control="mislabelled")
    got = row(effects(study), measure="score")
    scores = study.with_twins().examples(study.targets[0].name)["score"].isel(seed=0)
    test = mcnemar_test(scores.isel(source=1).values, scores.isel(source=0).values)
    assert got["p_value"] == pytest.approx(test.p_value)
    assert (got["low"], got["high"]) == pytest.approx((test.low, test.high))
    assert not got["training_known"]


def test_several_seeds_are_tested_by_the_two_way_t_pooled_over_all_twins():
    base, _ = simulate_study(
        Structure(n_sources=6, n_targets=1, strengths=()),
        Sampling(n_examples=100, n_seeds=3, seed_sd=0.05),
        rng=np.random.default_rng(3),
    )
    study = paired(base, control="balanced")
    found = effects(study).frame.filter(measure="score")
    scores = study.with_twins().examples(study.targets[0].name)["score"].values
    # Sources of their own stand first.
    test = two_way_test(scores[3:] - scores[:3])
    np.testing.assert_allclose(found["p_value"], test.p_value)
    np.testing.assert_allclose(found["low"], test.low)
    assert found["training_known"].all()


@pytest.mark.parametrize(("n_seeds", "seed_sd"), [(1, 0.0), (3, 0.05)])
def test_without_an_effect_five_percent_of_the_tests_are_below_five_percent(n_seeds, seed_sd):
    base, _ = simulate_study(
        Structure(n_sources=80, n_targets=12, strengths=()),
        Sampling(n_examples=120, n_seeds=n_seeds, seed_sd=seed_sd),
        rng=np.random.default_rng(4),
    )
    frame = effects(paired(base, control="balanced")).frame.filter(measure="score")
    below = int((frame["p_value"] <= 0.05).sum())
    assert frame.height == 480
    assert binomtest(below, frame.height, 0.05).pvalue > 1e-3, below / frame.height


def null_frame(rng, *, n_studies, n_reseeded, n_targets, ratio):
    """Return rows of studies without effects, each a measure of its own."""
    frames = []
    for twins, control in ((n_reseeded, "reseeded"), (1, "balanced")):
        shape = (n_studies, twins, n_targets)
        error = rng.uniform(0.01, 0.05, shape)
        study, twin, target = np.indices(shape)
        frames.append(
            pl.DataFrame(
                {
                    "twin": [f"{control}{i}" for i in twin.ravel()],
                    "control": [control] * error.size,
                    "target": [f"task{i}" for i in target.ravel()],
                    "measure": [f"measure{i}" for i in study.ravel()],
                    "label": pl.Series([None] * error.size, dtype=pl.String()),
                    "difference": (ratio * error * rng.standard_normal(shape)).ravel(),
                    "standard_error": error.ravel(),
                    "low": np.zeros(error.size),
                    "high": np.zeros(error.size),
                    "p_value": np.zeros(error.size),
                    "training_known": [False] * error.size,
                    "test": ["mid-p"] * error.size,
                }
            )
        )
    return pl.concat(frames)


@pytest.mark.parametrize(("n_reseeded", "n_targets"), [(1, 4), (3, 4)])
def test_the_noise_floor_keeps_the_level_where_training_moves_what_examples_cannot_explain(
    n_reseeded, n_targets
):
    rng = np.random.default_rng(5)
    frame = null_frame(rng, n_studies=1500, n_reseeded=n_reseeded, n_targets=n_targets, ratio=3.0)
    floors = noise_floor(frame.filter(control="reseeded"))
    assert np.median([floor.inflation for floor in floors.values()]) == pytest.approx(3, rel=0.2)
    assert {floor.n for floor in floors.values()} == {n_reseeded * n_targets}
    tested = against_floor(frame, floors, confidence=0.95).filter(control="balanced")
    # Below the nominal level, since no error is less than what another seed did right there.
    share = (tested["p_value"] <= 0.05).mean()
    assert 0.02 < share < 0.062
    covered = (tested["low"] <= 0) & (tested["high"] >= 0)
    assert 0.938 < covered.mean() < 0.98
    # What the test over examples alone would have said.
    alone = 2 * stats.norm.sf((tested["difference"] / tested["standard_error"] * 3).abs())
    assert (alone <= 0.05).mean() > 0.3


def test_what_another_seed_alone_does_on_a_task_is_no_finding_there():
    frame = null_frame(
        np.random.default_rng(8), n_studies=1, n_reseeded=1, n_targets=20, ratio=1.0
    ).with_columns(
        difference=pl.when(pl.col("target") == "task0")
        .then(pl.when(pl.col("control") == "reseeded").then(-0.93).otherwise(0.96))
        .when(pl.col("target") == "task1")
        .then(pl.when(pl.col("control") == "reseeded").then(0.0).otherwise(0.96))
        .otherwise("difference"),
        standard_error=pl.lit(0.02),
    )
    floors = noise_floor(frame.filter(control="reseeded"))
    tested = against_floor(frame, floors, confidence=0.95).filter(control="balanced")
    there, elsewhere = (tested.row(at, named=True) for at in (0, 1))
    assert there["p_value"] > 0.2
    assert there["low"] < 0 < there["high"]
    assert there["floor"] == pytest.approx(0.93)
    # One task out of twenty that turned over widens the others, but does not hide all.
    assert floors["measure0"].inflation == pytest.approx(10.4, abs=0.3)
    assert elsewhere["p_value"] < 0.001


def test_a_quiet_floor_never_narrows_an_interval():
    rng = np.random.default_rng(6)
    frame = null_frame(rng, n_studies=20, n_reseeded=1, n_targets=4, ratio=0.01)
    floors = noise_floor(frame.filter(control="reseeded"))
    assert {floor.inflation for floor in floors.values()} == {1.0}
    tested = against_floor(frame, floors, confidence=0.95)
    np.testing.assert_allclose(tested["standard_error"], frame["standard_error"])


def reseeded_study(n_sources=4, **sampling):
    base, _ = simulate_study(
        Structure(n_sources=n_sources, n_targets=3, strengths=()),
        Sampling(n_examples=150, **sampling),
        rng=np.random.default_rng(7),
    )
    names = [info.name for info in base.sources]
    controls = ["balanced", *["reseeded"] * (n_sources - 2)]
    infos = [
        SourceInfo(name=names[0]),
        *(
            SourceInfo(name=name, twin_of=names[0], control=control)
            for name, control in zip(names[1:], controls, strict=True)
        ),
    ]
    rows = base.predictions.collect()
    return TransferStudy.from_predictions(rows, sources=infos, targets=base.targets)


def test_reseeded_twins_are_not_tested_but_widen_what_is():
    found = effects(reseeded_study(seed_sd=0.1))
    floor = found.frame.filter(control="reseeded")
    assert floor["p_adjusted"].is_nan().all()
    tested = found.frame.filter(control="balanced")
    assert (tested["test"] == "t over noise floor").all()
    for one in tested.iter_rows(named=True):
        same = floor.filter(target=one["target"], measure=one["measure"])
        assert one["floor"] == same["difference"].abs().max()
        assert one["low"] < one["difference"] < one["high"]
    assert any("another seed alone changes it" in note for note in found.notes)
    assert not any("training variance unknown" in note for note in found.notes)


def test_one_seed_without_a_floor_is_called_what_it_is():
    found = effects(reseeded_study(n_sources=2))
    assert found.frame["floor"].is_nan().all()
    assert any("training variance unknown" in note for note in found.notes)


def test_a_missing_twin_is_counted_and_stays_nan():
    study = reseeded_study(n_sources=3)
    rows = study.with_twins().predictions.collect()
    names = [twin.name for twin in study.twins]
    target = study.targets[0].name
    kept = rows.filter((pl.col("source") != names[0]) | (pl.col("target") != target))
    less = TransferStudy.from_predictions(
        kept, sources=(*study.sources, *study.twins), targets=study.targets
    )
    found = effects(less)
    gone = found.frame.filter(twin=names[0], target=target)
    assert gone["difference"].is_nan().all()
    assert gone["p_adjusted"].is_nan().all()
    assert any("differences are missing" in note for note in found.notes)


def test_a_sentence_says_property_quantity_target_and_interval():
    made = simulate_twins(
        Behaviour(bias=3.0), {"balanced": Behaviour()}, rng=np.random.default_rng(8)
    )
    first = effects(made.study).sentences()[0]
    got = row(effects(made.study), measure="share")
    by = f"{100 * got['difference']:+.0f}".replace("-", "−")
    assert first.startswith(
        f"making source balanced changes the predicted share of 'yes' on task0 by {by} points [−"
    )


def test_what_cannot_be_compared_is_said():
    made = simulate_twins(Behaviour(), {"balanced": Behaviour()}, rng=np.random.default_rng(9))
    study = made.study
    plain = TransferStudy.from_predictions(study.predictions.collect(), targets=study.targets)
    with pytest.raises(AnalysisError, match=r"no twins; name them under `controls`"):
        effects(plain)
    infos = (*study.sources, *study.twins)
    rows = study.with_twins().score_rows
    with pytest.raises(AnalysisError, match="scores only"):
        effects(TransferStudy.from_scores(rows, sources=infos))
    with pytest.raises(AnalysisError, match="max-T"):
        TwinEffect(evidence=Evidence(adjust="max-t"))(study)

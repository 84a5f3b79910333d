"""Factors: planted ones are found, absent ones are not, and what cannot be told is said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats as sps
from sklearn.linear_model import Ridge
from statsmodels.stats.power import TTestPower

from factor_study import rows, scores, study_of_gains, written_study
from transferlens.errors import AnalysisError
from transferlens.explain.cards import study_cards
from transferlens.explain.factors import (
    FACTORS,
    Factors,
    detectable_share,
    factor_values,
    sources_for_difference,
    sources_for_share,
)
from transferlens.explain.factors.blocks import _PENALTIES, block_fit, folds_of
from transferlens.explain.factors.needed import paired_t
from transferlens.results import BASE, TargetInfo, TransferStudy
from transferlens.stats import source_regression
from transferlens.stats.orders import task_orders

N = 14


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a study with rows, all its factors, and noise of sources, targets and pairs."""
    rng = generator(0)
    study = written_study(tmp_path_factory.mktemp("factors") / "s", np.zeros((N, N)), rng=rng)
    cards = study_cards(study)
    noise = 0.02 * (rng.standard_normal((N, 1)) + rng.standard_normal(N))
    noise = noise + 0.01 * rng.standard_normal((N, N))
    return study, cards, factor_values(study, cards), noise


def with_gains(study, gain):
    """Return the same study with other gains."""
    names = [info.name for info in study.sources]
    return TransferStudy.from_scores(
        scores(gain, names=names, targets=names), sources=study.sources, targets=study.targets
    )


def standard(values):
    away = values[~np.eye(N, dtype=bool)] if values.ndim == 2 else values
    return (values - away.mean()) / away.std()


def analyse(study, gain, cards, values, **how):
    settings = {"n_permutations": 199, "n_block_permutations": 0} | how
    analysis = Factors(**settings)
    return analysis(with_gains(study, gain), rng=generator(1), cards=cards, values=values)


def by_name(found):
    return {test.factor: test for test in found.tests}


def test_a_planted_factor_of_pairs_is_found_with_its_size(data):
    study, cards, values, noise = data
    gain = noise + 0.03 * standard(values["vocabulary_overlap"])
    found = analyse(study, gain, cards, values)
    test = by_name(found)["vocabulary_overlap"]
    assert test.p_adjusted <= 0.05
    assert test.low < 0.03 < test.high
    assert test.coefficient == pytest.approx(0.03, abs=0.006)
    assert (test.n_effective, test.n_cells) == (N, N * (N - 1))
    assert test in found.significant()
    size = by_name(found)["size"]
    assert size.reason == "the same for every source"
    assert np.isnan(size.p_value)


def test_a_planted_factor_of_sources_is_found_and_own_tasks_do_not_matter(data):
    study, cards, values, noise = data
    gain = noise * 0.2 + 0.03 * standard(values["label_skew"])[:, None]
    spoilt = gain + np.diag(np.full(N, 0.5))
    one, other = (by_name(analyse(study, g, cards, values))["label_skew"] for g in (gain, spoilt))
    assert one == other
    assert one.p_adjusted <= 0.05
    assert one.coefficient == pytest.approx(0.03, abs=0.006)
    assert one.correlation > 0.9


def test_of_noise_nothing_is_found_and_the_blocks_cannot_be_told_apart(data):
    study, cards, values, noise = data
    found = analyse(study, noise, cards, values, n_block_permutations=99)
    assert found.significant() == ()
    assert found.comparison.verdict == "cannot tell"
    sentence = found.comparison.sentence
    assert sentence.startswith(f"Cannot tell with {N} sources whether surface or hidden factors")
    assert f"would need about {found.comparison.sources_needed:,} sources." in sentence
    assert "needs 30 sources" in found.power_sentence
    # Planted: 0.02 between sources and between targets, 0.01 in pairs; shares 4, 4 and 1 of 9.
    shares = np.array(found.components) / sum(found.components)
    assert shares == pytest.approx(np.array([4, 4, 1]) / 9, abs=0.2)
    assert "lies between sources" in found.variance_sentence


@pytest.mark.parametrize("block", ["surface", "hidden"])
def test_the_block_whose_factors_make_the_gains_is_named(data, block):
    study, cards, values, noise = data
    names = {
        "surface": ("semantic_similarity", "style_similarity"),
        "hidden": ("label_skew", "input_length_gap"),
    }[block]
    x = [standard(values[name]) for name in names]
    gain = noise * 0.2 + sum(0.03 * (v[:, None] if v.ndim == 1 else v) for v in x)
    found = analyse(study, gain, cards, values, factors=("size",), n_block_permutations=99)
    got = found.comparison
    assert got.verdict == block
    assert getattr(got, block).r2 > 0.5
    assert getattr(got, block).p_value <= 0.05
    assert set(names) <= set(getattr(got, f"{block}_factors"))
    first = {"surface": "Similarity and quality", "hidden": "Class distribution, length and"}
    assert got.sentence.startswith(first[block])


def test_factors_in_one_model_are_held_fixed_and_too_many_are_refused(data):
    study, cards, values, noise = data
    x = standard(values["label_skew"])
    # A second factor that only goes with the gains because it goes with the first.
    shadow = x + 0.5 * generator(3).standard_normal(N)
    values = values | {"output_entropy": shadow}
    gain = noise * 0.3 + 0.03 * x[:, None]
    names = ("label_skew", "output_entropy")
    alone, joint = (
        by_name(analyse(study, gain, cards, values, factors=names, together=together))
        for together in (False, True)
    )
    assert alone["output_entropy"].p_value <= 0.05
    assert joint["output_entropy"].p_value > 0.05
    assert joint["label_skew"].p_value <= 0.05
    with pytest.raises(AnalysisError, match=r"^3 factors at once are too many for 14 sources"):
        analyse(study, gain, cards, values, factors=(*names, "input_length"), together=True)
    mixed = analyse(
        study, gain, cards, values, factors=("label_skew", "style_similarity"), together=True
    )
    assert by_name(mixed)["label_skew"].p_value <= 0.05
    assert by_name(mixed)["style_similarity"].p_value > 0.05


def test_what_else_is_tested_does_not_change_a_p_value(data):
    study, cards, values, noise = data
    alone = analyse(study, noise, cards, values, factors=("style_similarity",)).tests[0]
    among = by_name(analyse(study, noise, cards, values))["style_similarity"]
    assert (alone.p_value, alone.low, alone.mantel_p_value) == (
        among.p_value, among.low, among.mantel_p_value,
    )  # fmt: skip
    assert alone.p_adjusted <= among.p_adjusted


def test_renaming_and_reordering_the_tasks_changes_no_estimate(data):
    study, cards, values, noise = data
    gain = noise + 0.02 * standard(values["style_similarity"])
    order = generator(4).permutation(N)
    names = [f"other_{at}" for at in range(N)]
    moved = {k: v[order] if v.ndim == 1 else v[np.ix_(order, order)] for k, v in values.items()}
    table = scores(gain[np.ix_(order, order)], names=names, targets=names)
    analysis = Factors(n_permutations=19, n_block_permutations=0)
    before = analyse(study, gain, cards, values, n_permutations=19)
    after = analysis(
        TransferStudy.from_scores(table), rng=generator(), cards=cards, values=moved
    )  # fmt: skip
    for one, other in zip(before.tests, after.tests, strict=True):
        for name in ("coefficient", "correlation", "partial_r2", "spread"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), nan_ok=True)


def test_scores_alone_test_what_is_given_and_say_what_is_missing():
    rng = generator(5)
    study = study_of_gains(0.05 * rng.standard_normal((8, 6)))
    nothing = Factors(n_permutations=19)(study, rng=rng)
    assert {test.reason for test in nothing.tests} == {"not known of any source"}
    assert nothing.comparison is None
    assert nothing.notes[0].startswith("training rows not known: task_00, task_01")
    assert nothing.notes[-1].endswith("not compared: the data of 0 sources and 0 targets known")
    given = {info.name: rows(rng) for info in study.sources}
    found = Factors(n_permutations=19)(study, rng=rng, cards=study_cards(study, rows=given))
    tested = {test.factor for test in found.tests if not test.reason}
    assert {"label_skew", "lexical_diversity", "word_frequency"} <= tested
    assert {f.level for f in FACTORS if f.name in tested} == {"source"}


def test_targets_in_another_unit_are_left_out_and_directions_are_kept():
    rng = generator(6)
    gain = 0.1 * rng.standard_normal((8, 5))
    names = [f"s{at}" for at in range(8)]
    targets = [f"t{at}" for at in range(5)]
    table = scores(gain, names=names, targets=targets)
    infos = [TargetInfo(name=t) for t in targets[:3]]
    infos += [TargetInfo(name="t3", higher_is_better=False), TargetInfo(name="t4", unit="nats")]
    study = TransferStudy.from_scores(table, targets=infos)
    x = gain[:, :4].copy()
    x[:, 3] *= -1
    values = {"style_similarity": np.column_stack([x, gain[:, 4]])}
    analysis = Factors(factors=("style_similarity",), n_permutations=19, n_block_permutations=0)
    found = analysis(study, rng=rng, values=values)
    assert found.notes[0] == "left out, since not measured in fraction: t4"
    assert found.tests[0].n_cells == 32
    assert found.tests[0].correlation == pytest.approx(1.0)


def test_without_base_or_with_four_sources_there_is_one_sentence():
    table = pl.DataFrame({"source": ["a"], "target": ["b"], "score": [0.5]})
    with pytest.raises(AnalysisError, match="no base scores"):
        Factors()(TransferStudy.from_scores(table), rng=generator())
    with pytest.raises(AnalysisError, match=r"^4 sources have a gain on another task; factors"):
        Factors()(study_of_gains(np.zeros((4, 4))), rng=generator())
    with pytest.raises(AnalysisError, match=r"Did you mean 'label_skew'"):
        Factors(factors=("label_skwe",))(study_of_gains(np.zeros((6, 6))), rng=generator())
    assert BASE not in [info.name for info in study_of_gains(np.zeros((6, 6))).sources]


def held_out_errors(y, x, known, folds):
    """Return nested cross-validation by refitting scikit-learn's ridge regression."""

    def centred(train, test):
        mask = known & train[:, None]
        count = np.maximum(mask.sum(axis=0), 1)
        z = np.concatenate([y[None], x])
        rest = z - ((z * mask).sum(axis=1) / count)[:, None]
        return rest[:, mask], rest[:, known & test[:, None]]

    def errors(train, test, penalties):
        fitted, held = centred(train, test)
        found = []
        for penalty in penalties:
            model = Ridge(alpha=penalty * fitted.shape[1], fit_intercept=False)
            model.fit(fitted[1:].T, fitted[0])
            found.append(((held[0] - model.predict(held[1:].T)) ** 2).sum())
        return np.array(found), (held[0] ** 2).sum()

    error = total = 0.0
    for fold in np.unique(folds):
        others = [other for other in np.unique(folds) if other != fold]
        inner = sum(
            errors((folds != fold) & (folds != o), folds == o, _PENALTIES)[0] for o in others
        )
        best = _PENALTIES[inner.argmin()]
        made, usual = errors(folds != fold, folds == fold, [best])
        error, total = error + made[0], total + usual
    return error, total


def test_the_explained_share_is_that_of_refitting_every_fold_with_scikit_learn():
    rng = generator(7)
    n, m = 13, 7
    x = rng.standard_normal((3, n, m))
    y = 0.7 * x[0] + rng.standard_normal(m) + rng.standard_normal((n, m))
    y[rng.random((n, m)) < 0.1] = np.nan
    known = ~np.isnan(y)
    folds = folds_of(n, rng=rng)
    orders = task_orders(
        np.full(n, -1), m, rng=rng, n=19, active=np.ones((n, m), dtype=bool)
    )  # fmt: skip
    fit = block_fit(y, x, folds=folds, orders=orders)
    inside = x[:, known]
    scaled = (x - inside.mean(axis=1)[:, None, None]) / inside.std(axis=1)[:, None, None]
    error, total = held_out_errors(np.nan_to_num(y), scaled, known, folds)
    assert fit.r2 == pytest.approx(1 - error / total)
    assert fit.error.sum() == pytest.approx(error)
    assert fit.total.sum() == pytest.approx(total)
    assert fit.p_value == 1 / 20


def test_folds_hold_out_single_sources_up_to_ten():
    assert sorted(folds_of(8, rng=generator()).tolist()) == list(range(8))
    assert np.bincount(folds_of(25, rng=generator())).tolist() == [3] * 5 + [2] * 5


def test_chance_beats_its_own_permutations_no_more_often_than_stated():
    rng = generator(8)
    own, active = np.arange(8), np.ones((8, 8), dtype=bool)
    p = []
    for _ in range(100):
        y = rng.standard_normal((8, 1)) + rng.standard_normal(8) + rng.standard_normal((8, 8))
        np.fill_diagonal(y, np.nan)
        x = np.stack([rng.standard_normal((8, 8)), np.tile(rng.standard_normal((8, 1)), 8)])
        orders = task_orders(own, 8, rng=rng, n=19, active=active)
        p.append(block_fit(y, x, folds=own, orders=orders).p_value)
    # The standard error is 2.2 points.
    assert np.mean(np.array(p) <= 0.05) <= 0.12
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.15)


def test_the_number_of_sources_is_that_of_published_tables():
    # Cohen 1988, table 3.4.1, to within the two sources by which Fisher's formula is wary.
    for r, n in ((0.5, 28), (0.3, 84), (0.7, 13)):
        assert sources_for_share(r**2) == pytest.approx(n, abs=2.0)
    assert sources_for_share(detectable_share(40)) == 40
    assert np.isnan(detectable_share(3))


def test_permuting_finds_the_share_with_the_stated_power():
    rng = generator(9)
    n = sources_for_share(0.25)
    hits = 0
    for _ in range(200):
        x = rng.standard_normal(n)
        y = 0.5 * x + np.sqrt(0.75) * rng.standard_normal(n)
        hits += source_regression(y, x[None], rng=rng, n_permutations=99).p_value[0] <= 0.05
    # The standard error is 2.8 points.
    assert hits / 200 == pytest.approx(0.8, abs=0.08)


def test_the_paired_test_over_sources_is_students_and_its_size_that_of_statsmodels():
    values = generator(10).standard_normal(9) + 0.4
    got = paired_t(values, confidence=0.95)
    expected = sps.ttest_1samp(values, 0.0)
    assert got.p_value == pytest.approx(expected.pvalue)
    assert (got.low, got.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    needed = TTestPower().solve_power(effect_size=0.4, power=0.8, alpha=0.05)
    assert sources_for_difference(0.1, 0.25) == pytest.approx(needed, abs=1.0)
    assert sources_for_difference(0.1, 500.0) is None
    with pytest.raises(AnalysisError, match="must be above 0"):
        sources_for_difference(0.0, 1.0)

"""What a simulated matrix claims to hold is really in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transferlens.errors import SpecError
from transferlens.testing import Structure, draw_truth, simulate_scores
from transferlens.testing.structure import missing_cells
from transferlens.traits import choose_number, match, pca


def rng(seed=0):
    return np.random.default_rng(seed)


@st.composite
def structures(draw):
    n, p = draw(st.integers(2, 25)), draw(st.integers(1, 25))
    k = draw(st.integers(0, min(n - 1, p, 4)))
    strengths = sorted(draw(st.lists(st.floats(0.01, 0.2), min_size=k, max_size=k)), reverse=True)
    return Structure(
        n_sources=n,
        n_targets=p,
        strengths=tuple(strengths),
        pattern=draw(st.sampled_from(["simple", "dense"])),
        skew=draw(st.sampled_from([0.0, 1.5, -2.0])),
    )


@settings(max_examples=30, deadline=None)
@given(structure=structures(), seed=st.integers(0, 99))
def test_the_spectrum_of_the_centred_gains_is_that_of_the_strengths(structure, seed):
    gain = draw_truth(structure, rng=rng(seed)).gain
    n, p = gain.shape
    singular = np.linalg.svd(gain - gain.mean(axis=0), compute_uv=False)
    expected = np.zeros(min(n, p))
    k = len(structure.strengths)
    expected[:k] = np.array(structure.strengths) * np.sqrt(p * (n - 1))
    np.testing.assert_allclose(singular, expected, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(structure=structures(), seed=st.integers(0, 99))
def test_traits_are_standard_and_uncorrelated_and_loadings_orthogonal(structure, seed):
    truth = draw_truth(structure, rng=rng(seed))
    n, p, k = len(truth.sources), len(truth.targets), truth.n_traits
    np.testing.assert_allclose(truth.trait_scores.sum(axis=0), 0.0, atol=1e-9)
    covariance = truth.trait_scores.T @ truth.trait_scores / (n - 1)
    np.testing.assert_allclose(covariance, np.eye(k), atol=1e-9)
    products = truth.loadings.T @ truth.loadings / p
    np.testing.assert_allclose(products, np.diag(np.square(structure.strengths)), atol=1e-12)


def test_a_decomposition_without_noise_gives_the_planted_loadings_and_scores():
    truth = draw_truth(Structure(n_sources=12, n_targets=9, pattern="dense"), rng=rng())
    found = pca(truth.expected, 3)
    signs = np.sign((found.loadings * truth.loadings).sum(axis=0))
    np.testing.assert_allclose(found.loadings * signs, truth.loadings, atol=1e-12)
    np.testing.assert_allclose(found.standard_scores * signs, truth.trait_scores, atol=1e-9)


def test_a_simple_pattern_gives_each_target_one_trait_and_its_family():
    truth = draw_truth(Structure(n_targets=9, strengths=(0.02, 0.09)), rng=rng())
    assert ((truth.loadings != 0).sum(axis=1) == 1).all()
    assert truth.families == ("ability 1", "ability 2") * 4 + ("ability 1",)


def test_number_and_loadings_are_recovered_from_a_noisy_matrix_of_30_by_30():
    simulated = simulate_scores(Structure(pattern="dense"), rng=rng(), noise=0.02)
    assert choose_number(simulated.scores.values, rng=rng()).n_components == 3
    found = pca(simulated.scores.values, 3).loadings
    phi = match(simulated.truth.loadings, found[None]).congruence
    assert phi.min() >= 0.95


@pytest.mark.parametrize("skew", [-1.5, 0.0, 1.5])
def test_trait_scores_have_the_planted_skewness(skew):
    truth = draw_truth(
        Structure(n_sources=20_000, n_targets=2, strengths=(0.1,), skew=skew), rng=rng()
    )
    assert stats.skew(truth.trait_scores[:, 0]) == pytest.approx(skew, abs=0.1)


def test_effects_of_sources_and_targets_are_the_marginal_means():
    structure = Structure(strengths=(), source_sd=0.03, target_sd=0.05, mean_gain=-0.02)
    truth = draw_truth(structure, rng=rng())
    np.testing.assert_allclose(truth.gain.mean(axis=0), truth.target_effect)
    by_source = truth.gain.mean(axis=1) - truth.target_effect.mean()
    np.testing.assert_allclose(by_source, truth.source_effect)
    wide = Structure(n_sources=2000, n_targets=3, strengths=(), source_sd=0.03)
    assert draw_truth(wide, rng=rng()).source_effect.std() == pytest.approx(0.03, rel=0.05)
    long = Structure(n_sources=3, n_targets=2000, strengths=(), target_sd=0.05)
    assert draw_truth(long, rng=rng()).target_effect.std() == pytest.approx(0.05, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), p=st.integers(1, 12), seed=st.integers(0, 20))
def test_one_way_transfer_is_skew_symmetric_over_the_common_tasks(n, p, seed):
    structure = Structure(n_sources=n, n_targets=p, strengths=(), one_way_sd=0.1)
    truth = draw_truth(structure, rng=rng(seed))
    common = min(n, p)
    square = truth.gain[:common, :common]
    np.testing.assert_allclose(square, -square.T)
    assert not truth.gain[common:].any()
    assert not truth.gain[:, common:].any()
    assert truth.sources[:common] == truth.targets[:common]


def test_one_way_transfer_has_the_planted_size():
    structure = Structure(n_sources=100, n_targets=100, strengths=(), one_way_sd=0.1)
    upper = draw_truth(structure, rng=rng()).gain[np.triu_indices(100, 1)]
    assert upper.std() == pytest.approx(0.1, rel=0.03)


def test_scores_are_the_truth_plus_noise_of_the_stated_size():
    simulated = simulate_scores(Structure(n_sources=80, n_targets=70), rng=rng(), noise=0.03)
    scores, truth = simulated.scores, simulated.truth
    np.testing.assert_array_equal(scores.values, truth.expected + simulated.noise)
    np.testing.assert_array_equal(simulated.base.values, truth.base)
    assert simulated.noise.std() == pytest.approx(0.03, rel=0.05)
    assert (truth.base >= 0.35).all()
    assert (truth.base <= 0.65).all()


@settings(deadline=None)
@given(n=st.integers(2, 15), p=st.integers(2, 15), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_the_exact_share_is_missing_and_no_line_is_empty(n, p, share, seed):
    try:
        gone = missing_cells((n, p), share, rng=rng(seed))
    except SpecError:
        # What must stay: an own or stand-in cell per row and per column.
        assert round(share * n * p) > n * p - max(n, p)
        return
    assert gone.sum() == round(share * n * p)
    assert not gone.all(axis=0).any()
    assert not gone.all(axis=1).any()
    own = np.arange(min(n, p))
    assert not gone[own, own].any()


def test_missing_cells_are_nan_and_nothing_else_is():
    simulated = simulate_scores(rng=rng(), missing=0.2)
    assert np.isnan(simulated.scores.values).sum() == 180
    assert np.isfinite(simulated.truth.expected).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = (simulate_scores(rng=rng(seed), missing=0.1) for seed in (1, 1, 2))
    assert first.scores.values.tobytes() == again.scores.values.tobytes()
    assert first.truth.loadings.tobytes() == again.truth.loadings.tobytes()
    assert first.scores.values.tobytes() != other.scores.values.tobytes()


def test_as_a_study_the_matrix_keeps_scores_base_and_gaps():
    simulated = simulate_scores(Structure(n_sources=7, n_targets=5), rng=rng(), missing=0.2)
    scores = simulated.to_study().scores
    np.testing.assert_array_equal(scores["score"].values[:, :, 0], simulated.scores.values)
    np.testing.assert_array_equal(scores["base_score"].values[:, 0], simulated.base.values)
    assert scores["source"].values.tolist() == list(simulated.truth.sources)
    assert scores["family"].values.tolist() == list(simulated.truth.families)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_sources": 3, "strengths": (0.1, 0.1, 0.1)}, "at most 2 do"),
        ({"pattern": "simpel"}, "Did you mean 'simple'"),
        ({"n_targets": 0, "strengths": ()}, "at least 1 × 1"),
        ({"one_way_sd": -1.0}, "at least 0"),
    ],
)
def test_an_impossible_structure_is_refused_with_a_reason(change, words):
    with pytest.raises(SpecError, match=words):
        Structure(**change)


def test_negative_noise_is_refused():
    with pytest.raises(SpecError, match="noise=-1"):
        simulate_scores(rng=rng(), noise=-1.0)

"""Extraction, rotation, number of components and matching against R's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from transferlens.errors import AnalysisError
from transferlens.traits import (
    congruence,
    factor_analysis,
    kaiser_rule,
    match,
    oblimin,
    parallel_analysis,
    path_length,
    pca,
    procrustes,
    promax,
    seriate,
    tidy,
    varimax,
    velicer_map,
)

EXTRACTION, ROTATION = 1e-4, 1e-6


def array(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def aligned(reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    return match(reference, candidate).apply(candidate)


def columns_with(correlations: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Draw rows whose sample correlations are exactly those given."""
    raw = np.random.default_rng(seed).normal(size=(n, len(correlations)))
    white = np.linalg.svd(raw - raw.mean(axis=0), full_matrices=False)[0]
    return white @ np.linalg.cholesky(correlations).T


@pytest.mark.parametrize("method", ["minres", "ml"])
def test_unrotated_factors_are_those_of_psych(oracle: dict[str, Any], method: Any) -> None:
    theirs = oracle[f"fa_{method}"]["none"]
    ours = factor_analysis(array(oracle["R"]), oracle["n_factors"], method=method)
    assert ours.converged
    reference = array(theirs["loadings"])
    np.testing.assert_allclose(aligned(reference, ours.loadings), reference, atol=EXTRACTION)
    np.testing.assert_allclose(ours.communalities, theirs["communality"], atol=EXTRACTION)
    np.testing.assert_allclose(ours.explained, theirs["prop_var"], atol=EXTRACTION)


def test_maximum_likelihood_also_agrees_with_factanal(oracle: dict[str, Any]) -> None:
    ours = factor_analysis(array(oracle["R"]), oracle["n_factors"], method="ml")
    np.testing.assert_allclose(
        ours.uniquenesses, oracle["factanal"]["uniquenesses"], atol=EXTRACTION
    )


def test_principal_components_of_data_are_those_of_the_correlations_in_psych(
    oracle: dict[str, Any],
) -> None:
    theirs = oracle["pca"]["none"]
    data = columns_with(array(oracle["R"]), oracle["n_obs"])
    ours = pca(data, oracle["n_factors"], standardise=True)
    reference = array(theirs["loadings"])
    np.testing.assert_allclose(aligned(reference, ours.loadings), reference, atol=EXTRACTION)
    np.testing.assert_allclose(ours.explained, theirs["prop_var"], atol=EXTRACTION)
    np.testing.assert_allclose(ours.communalities, theirs["communality"], atol=EXTRACTION)


@pytest.mark.parametrize("kaiser", [True, False])
def test_varimax_of_a_fixed_input_is_that_of_r(oracle: dict[str, Any], *, kaiser: bool) -> None:
    theirs = array(oracle["rot"]["varimax_kaiser" if kaiser else "varimax_raw"]["L"])
    ours = varimax(array(oracle["rot_input"]), kaiser=kaiser)
    assert ours.converged
    np.testing.assert_allclose(aligned(theirs, ours.loadings), theirs, atol=ROTATION)


def test_promax_of_a_fixed_input_is_that_of_r(oracle: dict[str, Any]) -> None:
    theirs = array(oracle["rot"]["promax4_of_varimax_kaiser"]["L"])
    ours = promax(array(oracle["rot_input"]), kaiser=False)
    np.testing.assert_allclose(aligned(theirs, ours.loadings), theirs, atol=ROTATION)


@pytest.mark.parametrize("kaiser", [True, False])
def test_oblimin_of_a_fixed_input_is_that_of_gparotation(
    oracle: dict[str, Any], *, kaiser: bool
) -> None:
    theirs = oracle["rot"]["oblimin0_kaiser" if kaiser else "oblimin0_raw"]
    ours = oblimin(array(oracle["rot_input"]), rng=np.random.default_rng(0), kaiser=kaiser)
    assert ours.converged
    reference = array(theirs["L"])
    matched = match(reference, ours.loadings)
    np.testing.assert_allclose(matched.apply(ours.loadings), reference, atol=ROTATION)
    turned = ours.phi[np.ix_(matched.order, matched.order)] * np.outer(matched.sign, matched.sign)
    np.testing.assert_allclose(turned, array(theirs["Phi"]), atol=ROTATION)


@pytest.mark.parametrize(
    ("name", "rotate"),
    [
        ("varimax", varimax),
        ("promax", promax),
        ("Promax", lambda A: promax(A, kaiser=False)),
        ("oblimin", lambda A: oblimin(A, rng=np.random.default_rng(0))),
    ],
)
def test_rotated_minres_factors_are_those_of_psych(
    oracle: dict[str, Any], name: str, rotate: Any
) -> None:
    theirs = oracle["fa_minres"][name]
    extracted = factor_analysis(array(oracle["R"]), oracle["n_factors"])
    ours = tidy(rotate(extracted.loadings))
    reference = array(theirs["loadings"])
    # psych stops its varimax at a change of 1e-5; the fixed inputs above are turned to the end.
    np.testing.assert_allclose(aligned(reference, ours.loadings), reference, atol=5e-3)


def test_map_values_are_those_of_psych(oracle: dict[str, Any]) -> None:
    # psych's first value is that of no component; it computes at most eight.
    theirs = array(oracle["map"]["values"])
    ours = velicer_map(array(oracle["R"]))[1 : len(theirs) + 1]
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


def test_the_kaiser_rule_counts_as_r_does(oracle: dict[str, Any]) -> None:
    assert kaiser_rule(array(oracle["R"])) == oracle["kaiser_gt1"]


def test_parallel_analysis_keeps_as_many_components_as_r(oracle: dict[str, Any]) -> None:
    data = columns_with(array(oracle["R"]), oracle["n_obs"])
    ours = parallel_analysis(
        data, rng=np.random.default_rng(0), standardise=True, n_permutations=300
    )
    assert ours.n_components == oracle["parallel_pc95"]["n_pc_q95"] == oracle["parallel"]["ncomp"]


def test_tuckers_congruence_is_that_of_psych(oracle: dict[str, Any]) -> None:
    ours = congruence(
        array(oracle["fa_ml"]["varimax"]["loadings"]),
        array(oracle["fa_minres"]["varimax"]["loadings"]),
    )
    theirs = array(oracle["congruence"]["ml_varimax_vs_minres_varimax"])
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


@pytest.mark.parametrize(("standardise", "key"), [(False, "prcomp_cov"), (True, "prcomp_cor")])
def test_components_are_those_of_prcomp(
    matrices: dict[str, Any], key: str, *, standardise: bool
) -> None:
    X, theirs = array(matrices["X"]), matrices[key]
    ours = pca(X, standardise=standardise)
    np.testing.assert_allclose(ours.singular / np.sqrt(len(X) - 1), theirs["sdev"], atol=1e-9)
    turned = aligned(array(theirs["rotation"]), ours.right)
    np.testing.assert_allclose(turned, array(theirs["rotation"]), atol=1e-8)
    if not standardise:
        scores = ours.scores * match(array(theirs["rotation"]), ours.right).sign
        np.testing.assert_allclose(scores, array(theirs["x"]), atol=1e-8)


def test_procrustes_is_that_of_vegan(matrices: dict[str, Any]) -> None:
    theirs = matrices["procrustes"]
    ours = procrustes(array(theirs["A"]), array(theirs["B"]), scale=True, translate=True)
    assert ours.residual == pytest.approx(theirs["ss"], abs=1e-9)
    assert ours.scale == pytest.approx(theirs["scale"], abs=1e-9)
    np.testing.assert_allclose(ours.rotation, array(theirs["rotation"]), atol=1e-9)
    np.testing.assert_allclose(ours.translation, array(theirs["translation"]).ravel(), atol=1e-9)
    # vegan leaves the fitted points around the origin of the first configuration.
    centred = ours.fitted - array(theirs["A"]).mean(axis=0)
    np.testing.assert_allclose(centred, array(theirs["Yrot"]), atol=1e-9)


def test_the_tree_is_that_of_hclust_and_the_order_at_least_as_good(
    matrices: dict[str, Any],
) -> None:
    X = array(matrices["X"])
    ours = seriate(X)
    np.testing.assert_allclose(ours.tree[:, 2], matrices["hclust_average"]["height"], atol=1e-9)
    np.testing.assert_allclose(
        seriate(X, method="ward").tree[:, 2], matrices["hclust_ward"]["height"], atol=1e-9
    )
    best = path_length(ours.distances, ours.order)
    assert best <= matrices["seriation_OLO_path_length"] + 1e-9
    # seriation's own default cuts a complete-linkage tree.
    theirs = seriate(X, method="complete")
    assert path_length(theirs.distances, theirs.order) == pytest.approx(
        matrices["seriation_OLO_path_length"], abs=1e-9
    )
    assert path_length(pdist(X), np.arange(len(X))) == pytest.approx(
        matrices["seriation_identity_path_length"]
    )


def test_more_factors_than_variables_are_refused(oracle: dict[str, Any]) -> None:
    R = array(oracle["R"])
    with pytest.raises(AnalysisError, match=r"can be extracted"):
        factor_analysis(R, len(R))

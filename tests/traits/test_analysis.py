"""One call, from a study or a labelled matrix to traits that say how far to believe them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import xarray as xr

from transferlens.errors import AnalysisError
from transferlens.results import BASE, TargetInfo, TransferStudy
from transferlens.testing import Sampling, Structure, simulate_study
from transferlens.traits import (
    Model,
    bootstrap_given,
    decompose_traits,
    match,
    pca_fit,
    study_matrix,
)

UNITS = ("fraction", "percent", "nats")
STRUCTURE = Structure(n_sources=16, n_targets=12, strengths=(0.09, 0.07))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def simulated() -> Any:
    sampling = Sampling(n_examples=150, n_seeds=2, seed_sd=0.02, unscored=0.02, lower_is_better=1)
    return simulate_study(STRUCTURE, sampling, rng=rng(1))


def bare(study: TransferStudy, *, seeds: int | None = None) -> TransferStudy:
    """Return the study's scores without its predictions."""
    rows = study.score_rows
    if seeds is not None:
        rows = rows.filter(pl.col("seed").is_in(study.seeds[:seeds]))
    return TransferStudy.from_scores(rows, targets=study.targets, sources=study.sources)


def test_a_study_gives_planted_traits_with_both_bootstraps(simulated: Any) -> None:
    found = decompose_traits(simulated.study, rng=rng(), n_resamples=100)
    assert found.n_traits == 2
    truth = simulated.truth.matrix.loadings
    assert match(truth, found.decomposition.loadings).congruence.min() > 0.9
    assert {found.over_sources.kind, found.over_examples.kind} == {"sources", "examples"}
    # Sources are a harder question than examples and seeds.
    assert (found.over_examples.median >= found.over_sources.median).all()
    assert all("one seed" not in line for line in found.summary())
    assert any("turned round" in line for line in found.summary())


def test_a_study_of_bare_scores_says_that_examples_and_seeds_are_unknown(simulated: Any) -> None:
    found = decompose_traits(bare(simulated.study, seeds=1), rng=rng(), n_resamples=50)
    assert found.over_examples is None
    assert "stability over examples and seeds is unknown: only scores were given" in found.summary()
    assert "congruence_over_examples" not in found.to_xarray()
    assert found.n_traits == 2


def test_bare_scores_of_several_seeds_are_resampled_over_seeds_alone(simulated: Any) -> None:
    found = decompose_traits(bare(simulated.study), rng=rng(), n_resamples=50)
    assert found.over_examples is not None
    assert any("over seeds alone" in line for line in found.summary())


def test_one_seed_is_said_to_leave_training_variance_unknown() -> None:
    study, _ = simulate_study(STRUCTURE, Sampling(n_examples=60), rng=rng())
    found = decompose_traits(study, rng=rng(), n_resamples=20)
    assert any("one seed: training variance unknown" in line for line in found.summary())


def test_the_same_seed_gives_the_same_bytes(simulated: Any) -> None:
    def bytes_of(seed: int) -> dict[str, bytes]:
        made = decompose_traits(simulated.study, rng=rng(seed), n_resamples=30).to_xarray()
        return {name: made[name].values.tobytes() for name in made.data_vars}

    one = bytes_of(3)
    assert one == bytes_of(3)
    assert one["loading_low_over_examples"] != bytes_of(4)["loading_low_over_examples"]


def test_rescaling_every_score_scales_loadings_and_nothing_else(
    planted: Callable[..., Any],
) -> None:
    one = decompose_traits(planted(20, 12, 2).labelled, rng=rng(), n_resamples=30)
    other = decompose_traits(planted(20, 12, 2, scale=100).labelled, rng=rng(), n_resamples=30)
    np.testing.assert_allclose(other.decomposition.loadings, 100 * one.decomposition.loadings)
    np.testing.assert_allclose(other.over_sources.low, 100 * one.over_sources.low, rtol=1e-6)
    assert other.labels == one.labels


def test_shuffled_sources_and_targets_give_the_same_traits(planted: Callable[..., Any]) -> None:
    table = planted(20, 12, 2).labelled
    mixed = table.isel(source=rng().permutation(20), target=rng(1).permutation(12)).T
    one, other = (
        decompose_traits(each, rng=rng(), n_components=2, n_resamples=20).to_xarray()
        for each in (table, mixed)
    )
    again = other.sel(target=one["target"], source=one["source"])
    np.testing.assert_allclose(again["loading"], one["loading"], atol=1e-8)
    np.testing.assert_allclose(again["score"], one["score"], atol=1e-8)
    np.testing.assert_allclose(again["left_out_congruence"], one["left_out_congruence"], atol=1e-8)


@pytest.mark.parametrize(
    ("method", "rotation"),
    [
        ("pca", "none"),
        ("pca", "varimax"),
        ("pca", "oblimin"),
        ("minres", "promax"),
        ("ml", "varimax"),
        ("sparse", "none"),
    ],
)
def test_every_method_finds_the_planted_blocks(
    method: Any, rotation: Any, planted: Callable[..., Any]
) -> None:
    made = planted(40, 10, 2, noise=0.4, seed=2)
    found = decompose_traits(
        made.labelled, rng=rng(), method=method, rotation=rotation, n_components=2, n_resamples=12
    )
    loadings = found.decomposition.loadings
    assert match(made.loadings, loadings).congruence.min() > 0.95
    assert found.over_sources.n_failed == 0
    assert 0.5 < found.decomposition.explained.sum() <= 1
    np.testing.assert_allclose(np.diag(found.decomposition.phi), 1, atol=1e-9)


def test_non_negative_traits_are_found_in_scores_that_only_add(planted: Callable[..., Any]) -> None:
    basis = planted(30, 10, 2).loadings
    abilities = rng().exponential(size=(30, 2))
    table = planted(30, 10, 2).labelled.copy(data=abilities @ basis.T + 0.01)
    found = decompose_traits(table, rng=rng(), method="nmf", n_components=2, n_resamples=10)
    assert match(basis, found.decomposition.loadings).congruence.min() > 0.95
    assert found.decomposition.communalities.min() > 0.95


def test_labelled_results_hold_what_the_arrays_hold(simulated: Any) -> None:
    found = decompose_traits(simulated.study, rng=rng(), n_components=2, n_resamples=20)
    data, frame = found.to_xarray(), found.to_frame()
    row = frame.filter((pl.col("target") == found.targets[3]) & (pl.col("trait") == 2))
    value = float(data["loading"].sel(target=found.targets[3], trait=2))
    assert row["loading"].item() == value == found.decomposition.loadings[3, 1]
    assert row["low_over_sources"].item() == found.over_sources.low[3, 1]
    rebuilt = data["weight"] * data["singular_value"] @ data["axis"]
    centred = data["matrix"] - data["matrix"].mean("source")
    assert float(((rebuilt - centred) ** 2).sum() / (centred**2).sum()) < 0.2
    assert found.scores_frame().height == len(found.sources) * 2
    assert set(np.unique(data["source_cluster"])) == set(
        range(int(data["source_cluster"].max()) + 1)
    )


def test_missing_cells_are_completed_marked_and_said() -> None:
    sampling = Sampling(n_examples=80, n_seeds=2, missing=0.06)
    study, truth = simulate_study(STRUCTURE, sampling, rng=rng(2))
    found = decompose_traits(study, rng=rng(), n_resamples=20)
    np.testing.assert_array_equal(found.completion.missing, truth.missing)
    assert any(f"{truth.missing.sum()} of 192 cells are missing" in s for s in found.summary())
    assert np.isfinite(found.to_xarray()["loading_low_over_examples"].values).all()


def test_sources_and_targets_without_a_score_are_left_out_and_named(simulated: Any) -> None:
    rows = bare(simulated.study).score_rows
    gap = (pl.col("source") == "task_02") | (pl.col("target") == "task_05")
    score = pl.when(gap & (pl.col("source") != BASE)).then(None).otherwise(pl.col("score"))
    study = TransferStudy.from_scores(
        rows.with_columns(score.fill_null(float("nan")).alias("score")),
        targets=simulated.study.targets,
        sources=simulated.study.sources,
    )
    made = study_matrix(study)
    assert made.matrix.shape == (15, 11)
    assert "left out, because there is no scored cell: target task_05" in made.notes
    assert "left out, because there is no scored cell: source task_02" in made.notes
    (stack,) = made.draw(rng(), 3)
    assert stack.shape == (3, 15, 11)


@pytest.mark.parametrize("transform", ["raw", "gain", "normalized_gain", "z", "logit"])
@pytest.mark.parametrize("include_base", [False, True])
def test_resampled_matrices_scatter_around_the_matrix(
    simulated: Any, transform: Any, *, include_base: bool
) -> None:
    made = study_matrix(simulated.study, transform, include_base=include_base)
    stack = np.concatenate(list(made.draw(rng(), 400)))
    assert stack.shape[1:] == made.matrix.shape
    spread = stack.std(axis=0)
    off = np.abs(stack.mean(axis=0) - made.matrix.values) / np.where(spread > 0, spread, 1.0)
    # Standard errors of the mean of 400 draws are a twentieth of their spread. Drawing adds to
    # the spread of each column, so that z-scores shrink a little.
    assert np.quantile(off, 0.9) < (0.6 if transform == "z" else 0.25)
    # The metric that counts down has no known ceiling, so that it has no normalized gain.
    assert made.matrix.sizes["target"] == (11 if transform == "normalized_gain" else 12)


@pytest.mark.parametrize("seed_sd", [0.0, 0.06])
def test_drawn_seeds_and_examples_have_the_variance_that_was_planted(seed_sd: float) -> None:
    structure = Structure(n_sources=60, n_targets=5, strengths=())
    sampling = Sampling(n_examples=100, n_seeds=3, seed_sd=seed_sd, difficulty=0.0)
    study, truth = simulate_study(structure, sampling, rng=rng(5))
    made = study_matrix(study)
    drawn = np.concatenate(list(made.draw(rng(), 400))).var(axis=0, ddof=1).mean()
    error = 100 * (np.asarray(made.matrix.values) / 100 - truth.matrix.expected)
    assert drawn == pytest.approx((error**2).mean(), rel=0.25)


def test_metrics_that_count_down_load_like_their_mirror_image(simulated: Any) -> None:
    made = study_matrix(simulated.study)
    name = str(made.matrix["target"].values[0])
    plain = simulated.study.scores["score"].sel(target=name).mean("seed")
    np.testing.assert_allclose(made.matrix.sel(target=name), -100 * plain)


def test_points_and_fractions_give_the_same_matrix_and_mixed_units_are_said() -> None:
    rows = pl.DataFrame(
        {
            "source": np.repeat([f"s{i}" for i in range(5)], 3),
            "target": ["a", "b", "c"] * 5,
            "score": rng().uniform(size=15),
        }
    )
    infos = [TargetInfo(name=name, unit=unit) for name, unit in zip("abc", UNITS, strict=True)]
    percent = pl.when(pl.col("target") == "b").then(100.0).otherwise(1.0) * pl.col("score")
    mixed = study_matrix(
        TransferStudy.from_scores(rows.with_columns(percent.alias("score")), targets=infos)
    )
    plain = study_matrix(TransferStudy.from_scores(rows))
    np.testing.assert_allclose(mixed.matrix.values[:, :2], plain.matrix.values[:, :2])
    assert any("different units (fraction, percent, nats)" in note for note in mixed.notes)


def test_the_callers_own_resamples_are_used(planted: Callable[..., Any]) -> None:
    made = planted(15, 8, 1)
    draws = made.matrix + rng().normal(size=(40, 15, 8))
    found = decompose_traits(
        made.labelled, rng=rng(), n_components=1, n_resamples=20, resamples=draws
    )
    expected = bootstrap_given(draws, pca_fit(1), reference=found.decomposition.loadings)
    np.testing.assert_allclose(found.over_examples.low, expected.low)
    with pytest.raises(AnalysisError, match="give the same sources and targets"):
        decompose_traits(made.labelled, rng=rng(), resamples=draws[:, :5])


def test_names_come_from_families_or_from_the_user(planted: Callable[..., Any]) -> None:
    table = planted(20, 10, 2).labelled
    found = decompose_traits(table, rng=rng(), n_components=2, n_resamples=50)
    assert set(found.labels) == {"kind 0", "kind 1"}
    mine = decompose_traits(
        table, rng=rng(), n_components=2, n_resamples=50, names={1: "reasoning"}
    )
    assert mine.labels[0] == "reasoning"
    assert any("reasoning (named by the user)" in line for line in mine.summary())


def test_noise_is_not_read_as_a_trait(planted: Callable[..., Any]) -> None:
    found = decompose_traits(planted(20, 12, 0).labelled, rng=rng(), n_resamples=50)
    text = "\n".join(found.summary())
    assert "no trait is supported" in text
    assert "unstable: do not interpret" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "pcaa"}, "Did you mean 'pca'"),
        ({"rotation": "varimx"}, "Did you mean 'varimax'"),
        ({"method": "nmf", "rotation": "varimax"}, "no freedom of rotation"),
        ({"method": "nmf", "standardise": True}, "z-scores are negative"),
        ({"n_components": 40}, "components asked of"),
        ({"names": {9: "x"}, "n_components": 1}, "there are traits 1 to 1"),
        ({"families": {"t99": "x"}}, "unknown target 't99'"),
        ({"transform": "gain"}, "decomposed as it is"),
    ],
)
def test_wrong_choices_are_said_in_one_line(
    change: dict[str, Any], words: str, planted: Callable[..., Any]
) -> None:
    with pytest.raises(AnalysisError, match=words) as error:
        decompose_traits(planted(12, 6, 1).labelled, rng=rng(), **{"n_resamples": 10, **change})
    assert "\n" not in str(error.value)


def test_tables_that_are_no_transfer_matrices_are_refused(planted: Callable[..., Any]) -> None:
    table = planted(12, 6, 1).labelled
    flat = table.copy(data=np.where(table["target"].values == "t2", 1.0, table.values))
    empty = table.copy(data=np.where(table["target"].values == "t2", np.nan, table.values))
    twice = table.assign_coords(target=["t0", "t0", "t2", "t3", "t4", "t5"])
    for wrong, words, more in (
        (table.rename(source="model"), "over \\(source, target\\)", {}),
        (twice, "'t0' occurs more than once", {}),
        (table[:3], "3 sources × 6 targets are too few", {}),
        (empty, "target 't2' has no scored cell", {}),
        (flat, "the same on \\['t2'\\]", {"method": "minres"}),
    ):
        with pytest.raises(AnalysisError, match=words):
            decompose_traits(wrong, rng=rng(), **more)


def test_a_gain_without_base_scores_points_to_raw_scores(simulated: Any) -> None:
    rows = bare(simulated.study).score_rows.filter(pl.col("source") != BASE)
    study = TransferStudy.from_scores(rows, targets=simulated.study.targets)
    with pytest.raises(AnalysisError, match="decompose raw scores"):
        study_matrix(study, "gain")
    assert study_matrix(study).matrix.shape == (16, 12)


def test_a_rotated_batch_is_the_rotation_of_each_matrix(planted: Callable[..., Any]) -> None:
    stack = np.stack([planted(20, 9, 3, seed=seed).matrix for seed in range(3)])
    model = Model(method="pca", n_components=3, rotation="varimax")
    batched = model.batch(rng=rng())(stack)
    for matrix, loadings in zip(stack, batched, strict=True):
        single = model.fit(matrix, rng=rng()).loadings
        np.testing.assert_allclose(match(single, loadings).apply(loadings), single, atol=1e-6)


def test_an_array_without_names_of_families_gives_unnamed_traits() -> None:
    X = rng().normal(size=(15, 1)) @ np.ones((1, 6)) + 0.1 * rng(1).normal(size=(15, 6))
    names = {"source": [f"s{i}" for i in range(15)], "target": [f"t{j}" for j in range(6)]}
    table = xr.DataArray(X, dims=("source", "target"), coords=names)
    found = decompose_traits(table, rng=rng(), n_components=1, n_resamples=20)
    assert found.labels == ("unnamed trait 1",)
    assert found.names == (None,)

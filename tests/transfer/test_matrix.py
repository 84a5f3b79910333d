"""The transfer matrix with evidence."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

import transferlens as tl
from paired_study import binary_study, planted_study, study_of
from transferlens.errors import AnalysisError
from transferlens.results import BASE, TargetInfo, TransferStudy
from transferlens.transfer import Evidence, transfer_effects, transfer_matrix


def test_a_cell_equals_mcnemar_computed_by_scipy_from_the_discordant_counts():
    study = binary_study()
    matrix = transfer_matrix(study, Evidence(binary="exact"))
    examples = study.examples("b")
    adapted = examples["score"].sel(source="a").values[0]
    base = examples["base_score"].values[0]
    gained = int(((adapted == 1) & (base == 0)).sum())
    lost = int(((adapted == 0) & (base == 1)).sum())
    cell = matrix.data.sel(source="a", target="b")
    assert cell["p_value"].item() == pytest.approx(
        stats.binomtest(gained, gained + lost, 0.5).pvalue
    )
    assert cell["gain"].item() == pytest.approx((gained - lost) / len(base))
    assert cell["score"].item() == pytest.approx(adapted.mean())
    assert cell["gain_low"].item() < cell["gain"].item() < cell["gain_high"].item()


def test_adjusted_p_values_are_benjamini_hochberg_over_all_cells():
    matrix = transfer_matrix(binary_study())
    p = matrix.data["p_value"].values
    expected = stats.false_discovery_control(p.ravel()).reshape(p.shape)
    np.testing.assert_allclose(matrix.data["p_adjusted"].values, expected)


def test_one_seed_says_that_training_variance_is_unknown_and_several_do_not():
    assert any(
        "training variance unknown" in note for note in transfer_matrix(binary_study()).notes
    )
    assert not transfer_matrix(binary_study(seeds=3)).notes


def test_several_seeds_widen_the_interval_by_the_spread_between_runs():
    rng = np.random.default_rng(3)
    base = (rng.random(400) < 0.5).astype(float)
    cells = {(BASE, "t", 0): base}
    for source in ("x", "y"):
        for seed, rate in enumerate((0.02, 0.2, 0.4)):
            cells[source, "t", seed] = np.where(rng.random(400) < rate, 1.0, base)
    matrix = transfer_matrix(study_of(cells))
    naive = np.std(cells["x", "t", 1] - base, ddof=1) / np.sqrt(3 * 400)
    assert matrix.data["standard_error"].sel(source="x", target="t").item() > 3 * naive
    assert matrix.data["n_seeds"].sel(source="x", target="t").item() == 3


def test_a_metric_that_counts_down_turns_the_sign_of_the_gain_and_nothing_else():
    cells = {(BASE, "t", 0): np.linspace(0, 1, 50), ("s", "t", 0): np.linspace(0, 0.6, 50)}
    up = transfer_matrix(study_of(cells)).data
    down = transfer_matrix(study_of(cells, t={"higher_is_better": False})).data
    np.testing.assert_allclose(down["gain"], -up["gain"])
    np.testing.assert_allclose(down["standard_error"], up["standard_error"])
    assert down["score"].item() == up["score"].item()


def test_the_same_seed_gives_the_same_bytes():
    cells = {(BASE, "t", 0): np.linspace(0, 1, 50), ("s", "t", 0): np.linspace(0, 0.9, 50) ** 2}
    first, second = (transfer_matrix(study_of(cells), Evidence(seed=7)).data for _ in range(2))
    for name in first.data_vars:
        if first[name].dtype.kind == "f":
            assert first[name].values.tobytes() == second[name].values.tobytes()


@pytest.mark.parametrize("graded", ["bootstrap", "sign-flip"])
def test_a_targets_evidence_is_the_same_alone_and_beside_others(graded):
    rng = np.random.default_rng(11)
    cells = {
        (source, target, 0): rng.random(n).round(2)
        for source in (BASE, "x", "y")
        for target, n in (("p", 60), ("q", 60), ("r", 45), ("s", 60))
    }
    how = Evidence(graded=graded, n_resamples=499)
    together = transfer_matrix(study_of(cells), how).data
    for target in ("s", "r", "q", "p"):
        own = {key: scores for key, scores in cells.items() if key[1] == target}
        alone = transfer_matrix(study_of(own), how).data
        for name in ("gain_low", "gain_high", "p_value", "standard_error"):
            beside = together[name].sel(target=[target]).values
            assert beside.tobytes() == alone[name].values.tobytes(), name


def test_unscored_examples_are_counted_and_do_not_become_zero():
    scores = np.ones(20)
    scores[:5] = np.nan
    matrix = transfer_matrix(study_of({(BASE, "t", 0): np.zeros(20), ("s", "t", 0): scores}))
    cell = matrix.data.isel(source=0, target=0)
    assert cell["gain"].item() == 1.0
    assert (cell["n_scored"].item(), cell["n_unscored"].item()) == (15, 5)
    assert any("5 examples" in note for note in matrix.notes)


def test_scores_without_predictions_have_no_p_value_with_one_seed_and_one_with_several():
    def frame(seeds: int) -> pl.DataFrame:
        rng = np.random.default_rng(0)
        return pl.DataFrame(
            [
                {"source": s, "target": t, "seed": k, "score": 0.5 + 0.1 * rng.random()}
                for s in (BASE, "a", "b")
                for t in ("a", "b")
                for k in range(seeds)
            ]
        )

    one = transfer_matrix(TransferStudy.from_scores(frame(1)))
    assert np.isnan(one.data["p_value"].values).all()
    assert any("no evidence" in note for note in one.notes)
    many = transfer_matrix(TransferStudy.from_scores(frame(4)))
    assert np.isfinite(many.data["p_value"].values).all()
    assert (many.data["df"].values == 6).all()


def test_pooled_seed_evidence_agrees_with_students_t_for_a_single_source():
    rng = np.random.default_rng(1)
    gains = rng.normal(0.1, 0.05, 5)
    scores = [{"source": BASE, "target": "t", "seed": k, "score": 0.0} for k in range(5)]
    scores += [{"source": "s", "target": "t", "seed": k, "score": g} for k, g in enumerate(gains)]
    cell = transfer_matrix(TransferStudy.from_scores(pl.DataFrame(scores))).data.isel(source=0)
    assert cell["p_value"].item() == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)


def test_without_a_base_nothing_is_called_a_gain():
    frame = pl.DataFrame([{"source": "a", "target": "t", "score": 0.5}])
    with pytest.raises(AnalysisError, match="no base scores"):
        transfer_matrix(TransferStudy.from_scores(frame))


def test_max_t_is_stricter_than_benjamini_hochberg_and_refuses_bare_scores():
    study = binary_study()
    strict = transfer_matrix(study, Evidence(adjust="max-t", n_resamples=999)).data
    assert (strict["p_adjusted"] >= strict["p_value"] - 1e-2).all()
    bare = TransferStudy.from_scores(
        pl.DataFrame([{"source": s, "target": "t", "score": 0.5} for s in (BASE, "a")])
    )
    with pytest.raises(AnalysisError, match="scores only"):
        transfer_matrix(bare, Evidence(adjust="max-t"))


def test_effects_rank_planted_help_and_harm_and_leave_the_diagonal_out():
    effects = transfer_effects(transfer_matrix(planted_study()))
    assert effects.helps.row(0)[:2] == ("a", "b")
    assert effects.harms.row(0)[:2] == ("c", "d")
    assert effects.n_tested == 12
    first = effects.pairs.row(0, named=True)
    assert {first["first"], first["second"]} in ({"a", "b"}, {"c", "d"})
    assert first["p_adjusted"] < 0.01
    assert effects.donors.row(0)[0] == "a"
    assert effects.recipients.row(-1)[0] == "d"
    assert effects.asymmetry is not None
    assert effects.asymmetry.skew_p_value < 0.05


def test_effects_of_a_bare_matrix_are_empty_and_say_why():
    names = ("a", "b", "c")
    frame = pl.DataFrame(
        [{"source": s, "target": t, "score": 0.5} for s in (BASE, *names) for t in names]
    )
    effects = transfer_effects(transfer_matrix(TransferStudy.from_scores(frame)))
    assert effects.helps.is_empty()
    assert effects.harms.is_empty()
    assert effects.n_tested == 0
    assert any("no evidence" in note for note in effects.notes)


def test_the_frame_has_one_row_per_cell_with_base_and_test():
    matrix = transfer_matrix(binary_study())
    frame = matrix.to_frame()
    assert frame.height == 9
    row = frame.filter((pl.col("source") == "a") & (pl.col("target") == "b")).row(0, named=True)
    assert row["gain"] == pytest.approx(matrix.data["gain"].sel(source="a", target="b").item())
    assert row["score"] - row["base_score"] == pytest.approx(row["gain"])
    assert row["test"] == "McNemar mid-p"


def test_the_frame_keeps_nan_and_agrees_with_the_arrays_in_every_column():
    scores = np.ones(20)
    scores[:] = np.nan
    cells = {(BASE, "t", 0): np.zeros(20), ("s", "t", 0): scores, ("r", "t", 0): np.ones(20)}
    matrix = transfer_matrix(study_of(cells))
    frame = matrix.to_frame()
    assert frame.null_count().sum_horizontal().item() == 0
    for row in frame.iter_rows(named=True):
        cell = matrix.data.sel(source=row["source"], target=row["target"])
        for name in set(row) - {"source", "target"}:
            expected = cell[name].item()
            assert row[name] == expected or (np.isnan(row[name]) and np.isnan(expected)), name
    assert frame.filter(pl.col("source") == "s")["gain"].is_nan().all()


def test_single_runs_under_different_seeds_are_tested_like_one_run():
    one = binary_study(tasks=("a", "b"))
    spread = one.predictions.collect().with_columns(
        seed=pl.when(pl.col("source") == "b").then(7).otherwise(0).cast(pl.Int64)
    )
    matrix = transfer_matrix(
        TransferStudy.from_predictions(spread, targets=one.targets, sources=one.sources)
    )
    np.testing.assert_array_equal(matrix.data["p_value"], transfer_matrix(one).data["p_value"])
    assert set(matrix.data["test"].values) == {"McNemar mid-p"}
    assert any("training variance unknown" in note for note in matrix.notes)


def test_a_target_with_one_seed_among_others_with_several_is_named():
    several = binary_study(seeds=2, tasks=("a", "b"))
    rows = several.predictions.collect().filter(
        (pl.col("target") == "a") | (pl.col("seed") == 0) | (pl.col("source") == BASE)
    )
    matrix = transfer_matrix(TransferStudy.from_predictions(rows))
    assert "one seed, training variance unknown: b" in matrix.notes
    assert matrix.data["training_known"].sel(target="a").item()
    assert matrix.data["test"].sel(target="b").item() == "McNemar mid-p"


def test_the_interval_of_a_score_includes_the_spread_between_runs():
    rng = np.random.default_rng(3)
    cells = {(BASE, "t", 0): np.zeros(400)}
    for source in ("x", "y", "z"):
        for seed, rate in enumerate((0.3, 0.5, 0.7)):
            cells[source, "t", seed] = (rng.random(400) < rate).astype(float)
    cell = transfer_matrix(study_of(cells)).data.sel(source="x", target="t")
    # Three runs whose true scores have a standard deviation of 20 points.
    assert cell["score_high"].item() - cell["score_low"].item() > 2 * 1.9 * 0.2 / np.sqrt(3)


def test_with_several_seeds_the_strict_adjustment_sees_training_variance():
    rng = np.random.default_rng(8)
    cells = {(BASE, "t", 0): (rng.random(500) < 0.5).astype(float)}
    for source in "uvwxyz":
        for seed in range(3):
            shift = rng.normal(0, 0.1)
            draw = rng.random(500)
            moved = np.where(draw < abs(shift), float(shift > 0), cells[BASE, "t", 0])
            cells[source, "t", seed] = moved
    matrix = transfer_matrix(study_of(cells), Evidence(adjust="max-t"))
    data = matrix.data
    assert data.attrs["adjust"] == "holm"
    assert (data["p_adjusted"] >= data["p_value"]).all()
    assert any("Holm" in note for note in matrix.notes)


def test_the_best_score_of_a_metric_that_counts_down_gives_its_headroom():
    cells = {(BASE, "t", 0): np.full(20, 0.4), ("s", "t", 0): np.full(20, 0.1)}
    down = {"higher_is_better": False, "ceiling": 0.0}
    cell = transfer_matrix(study_of(cells, t=down)).data.isel(source=0, target=0)
    assert cell["normalized_gain"].item() == pytest.approx(0.75)
    assert cell["perfection_gap_factor"].item() == pytest.approx(0.25)


def test_scores_beyond_the_best_possible_one_have_no_normalized_gain_and_a_note():
    cells = {(BASE, "t", 0): np.full(20, 40.0), ("s", "t", 0): np.full(20, 50.0)}
    matrix = transfer_matrix(study_of(cells))
    assert np.isnan(matrix.data["normalized_gain"].item())
    assert matrix.data["gain"].item() == 10.0
    assert any("beyond the best possible one: t" in note for note in matrix.notes)


def test_a_target_without_a_base_has_no_gain_and_is_named():
    frame = pl.DataFrame(
        [{"source": s, "target": t, "score": 0.5} for s in (BASE, "a") for t in ("t", "u")]
    ).filter((pl.col("source") != BASE) | (pl.col("target") == "t"))
    matrix = transfer_matrix(TransferStudy.from_scores(frame))
    assert np.isnan(matrix.data["gain"].sel(source="a", target="u").item())
    assert "no base score, hence no gain: u" in matrix.notes


def test_targets_read_together_are_those_read_alone(monkeypatch):
    study = planted_study(seeds=2)
    monkeypatch.setattr("transferlens.results.container._ROWS_AT_ONCE", 5_000)
    together = list(study.iter_examples())
    assert [examples.attrs["target"] for examples in together] == list("abcd")
    for examples in together:
        assert examples.identical(study.examples(examples.attrs["target"]))


def test_forgetting_is_the_share_of_the_bases_score_that_is_gone():
    harm = transfer_effects(transfer_matrix(planted_study())).harms.row(0, named=True)
    assert harm["lost"] == pytest.approx(1 - harm["score"] / harm["base_score"])
    assert 0.3 < harm["lost"] < 0.5


def test_all_tables_of_the_effects_stand_in_one_frame():
    effects = transfer_effects(transfer_matrix(planted_study()))
    frame = effects.to_frame()
    assert frame.group_by("kind").len().sort("kind").rows() == [
        ("donor", 4), ("harm", 1), ("help", 1), ("hub", 4), ("pair", 6), ("recipient", 4),
    ]  # fmt: skip
    first = frame.row(0, named=True)
    assert (first["kind"], first["first"], first["second"]) == ("help", "a", "b")
    assert first["value"] == effects.helps["gain"][0]


def test_targets_in_another_unit_stay_out_of_pairs_and_roles_and_rank_last():
    study = planted_study()
    rows = study.predictions.collect()
    targets = [
        TargetInfo(name=t.name, unit="nats" if t.name == "b" else "fraction") for t in study.targets
    ]
    odd = TransferStudy.from_predictions(rows, targets=targets, sources=study.sources)
    effects = transfer_effects(transfer_matrix(odd))
    assert effects.unit == "fraction"
    assert set(effects.recipients["target"]) == {"a", "c", "d"}
    assert "b" not in {*effects.pairs["first"], *effects.pairs["second"]}
    assert effects.helps["unit"].to_list() == ["nats"]
    assert any("nats cannot be compared" in note for note in effects.notes)


def test_the_public_names_lead_here():
    study = planted_study()
    found = tl.transfer_effects(tl.transfer_matrix(study, tl.Evidence(adjust="holm")))
    assert found.helps["target"].to_list() == ["b"]

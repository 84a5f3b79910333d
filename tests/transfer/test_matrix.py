"""The transfer matrix with evidence."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy
from transferlens.transfer import Evidence, transfer_effects, transfer_matrix


def rows(source: str, target: str, scores: np.ndarray, seed: int = 0) -> pl.DataFrame:
    n = len(scores)
    return pl.DataFrame(
        {
            "source": [source] * n,
            "target": [target] * n,
            "seed": [seed] * n,
            "example": list(range(n)),
            "gold": ["a"] * n,
            "prediction": ["a"] * n,
            "completion": [None] * n,
            "score": scores.astype(float),
            "n_tokens": [1] * n,
            "truncated": [False] * n,
            "prompt_hash": [f"p{i}" for i in range(n)],
            "example_hash": [f"{target}{i}" for i in range(n)],
            "choice_logprobs": [None] * n,
        },
        schema_overrides={
            "completion": pl.String,
            "choice_logprobs": pl.List(pl.Float64),
            "n_tokens": pl.Int32,
        },
    )


def study_of(
    cells: dict[tuple[str, str, int], np.ndarray], **targets: dict[str, object]
) -> TransferStudy:
    names = dict.fromkeys(target for _, target, _ in cells)
    sources = dict.fromkeys(source for source, _, _ in cells if source != BASE)
    frame = pl.concat([rows(s, t, scores, seed) for (s, t, seed), scores in cells.items()])
    return TransferStudy.from_predictions(
        frame,
        targets=[TargetInfo(name=t, **{"ceiling": 1.0} | targets.get(t, {})) for t in names],
        sources=[SourceInfo(name=s) for s in sources],
    )


def binary_study(
    seed: int = 0, n: int = 200, seeds: int = 1, tasks: tuple[str, ...] = ("a", "b", "c")
) -> TransferStudy:
    rng = np.random.default_rng(seed)
    cells = {(BASE, t, 0): (rng.random(n) < 0.5).astype(float) for t in tasks}
    for s in tasks:
        for t in tasks:
            for run in range(seeds):
                base = cells[BASE, t, 0]
                better = rng.random(n) < (0.6 if s == t else 0.1)
                worse = rng.random(n) < 0.05
                cells[s, t, run] = np.where(better, 1.0, np.where(worse, 0.0, base))
    return study_of(cells)


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
    rng = np.random.default_rng(5)
    tasks = ("a", "b", "c", "d")
    cells = {(BASE, t, 0): (rng.random(400) < 0.5).astype(float) for t in tasks}
    for s in tasks:
        for t in tasks:
            base = cells[BASE, t, 0]
            draw = rng.random(400)
            rate = {("a", "b"): 0.4}.get((s, t), 0.0) + (0.5 if s == t else 0.0)
            loss = {("c", "d"): 0.4}.get((s, t), 0.0)
            noise = rng.random(400) < 0.02
            value = np.where(draw < rate, 1.0, np.where(draw < loss, 0.0, base))
            cells[s, t, 0] = np.where(noise, 1.0 - value, value)
    effects = transfer_effects(transfer_matrix(study_of(cells)))
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

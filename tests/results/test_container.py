"""A `TransferStudy` reads lazily, counts what was not scored, and keeps the base apart."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_study import N_EXAMPLES, RIGHT, TASKS, cell_rows, finished_folder, small_plan
from transferlens.errors import ResultsError
from transferlens.results import BASE, TargetInfo, TransferStudy, open_study


@pytest.fixture
def store(tmp_path):
    return finished_folder(tmp_path / "study")


def predictions(scores, *, source="a", target="t", seed=0):
    """Return rows of one cell with the given scores."""
    cell = small_plan().cells[0]
    frame = pl.concat([cell_rows(cell, 1).head(1)] * len(scores))
    return frame.with_columns(
        source=pl.lit(source), target=pl.lit(target), seed=pl.lit(seed),
        example=pl.int_range(len(scores)), score=pl.Series(scores, dtype=pl.Float64),
    )  # fmt: skip


def test_the_base_is_a_variable_and_no_row(store):
    study = open_study(store.path)
    scores = study.scores
    assert tuple(scores["source"].values) == TASKS
    assert scores["base_score"].dims == ("target", "seed")
    np.testing.assert_array_equal(scores["base_score"].values[:, 0], RIGHT[0] / N_EXAMPLES)
    np.testing.assert_array_equal(scores["score"].values[..., 0], RIGHT[1:] / N_EXAMPLES)
    assert BASE not in {info.name for info in study.sources}
    assert BASE in study.score_rows["source"].to_list()


def test_a_base_that_ran_once_is_repeated_over_the_seeds_of_the_adapters(tmp_path):
    scores = open_study(finished_folder(tmp_path / "s", seeds=(3, 5)).path).scores
    assert scores["seed"].values.tolist() == [3, 5]
    np.testing.assert_array_equal(scores["base_score"][:, 0], scores["base_score"][:, 1])
    assert not np.array_equal(scores["score"][..., 0], scores["score"][..., 1])


def test_opening_reads_no_cell_and_one_target_reads_its_own_files_only(store):
    cells = {cell.key: store.cell_path(cell) for cell in store.plan.cells}
    cells["mood", "topic", 0].write_bytes(b"rubbish")
    study = open_study(store.path)
    assert [info.name for info in study.targets] == list(TASKS)
    assert study._rows.scan(["maths"]).collect().height == 4 * N_EXAMPLES
    with pytest.raises(ResultsError, match="mood0-topic"):
        study.examples("topic")
    with pytest.raises(ResultsError, match="mood0-topic"):
        _ = study.predictions


def test_predictions_are_a_lazy_table_with_the_documented_columns(store):
    table = open_study(store.path).predictions
    assert isinstance(table, pl.LazyFrame)
    right = table.filter(pl.col("source") == "maths").select(pl.col("score").sum()).collect()
    assert right.item() == RIGHT[1].sum()


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.one_of(st.none(), st.just(float("nan")), st.sampled_from([0.0, 0.5, 1.0])),
             min_size=1, max_size=30)
)  # fmt: skip
def test_what_was_not_scored_is_counted_and_never_averaged(scores):
    study = TransferStudy.from_predictions(predictions(scores))
    cell = study.scores.isel(source=0, target=0, seed=0)
    known = [s for s in scores if s is not None and s == s]  # noqa: PLR0124 - NaN is unlike itself
    assert cell["n_scored"] == len(known)
    assert cell["n_unscored"] == len(scores) - len(known)
    np.testing.assert_allclose(cell["score"], np.mean(known) if known else np.nan)


def test_a_cell_that_is_not_finished_is_nan_with_no_examples(store):
    cell = store.plan.cells[4]
    store.discard_cell(cell.id)
    scores = open_study(store.path).scores.sel(source=cell.source, target=cell.target, seed=0)
    assert np.isnan(scores["score"])
    assert scores["n_scored"] == 0
    assert scores["n_unscored"] == 0


def test_arrays_cannot_be_changed_and_a_copy_leaves_the_study_alone(store):
    study = open_study(store.path)
    with pytest.raises(ValueError, match="read-only"):
        study.scores["score"].values[0, 0, 0] = 1
    changed = study.scores.assign(score=study.scores["score"] + 1)
    assert not changed.identical(study.scores)
    with pytest.raises(AttributeError):
        study.targets = ()


def test_examples_are_paired_by_number_whatever_the_order_of_the_rows():
    rows = pl.concat([
        predictions([1.0, 0.0, 1.0], source=BASE),
        predictions([0.0, 1.0, float("nan")]),
    ]).sample(fraction=1, shuffle=True, seed=1)  # fmt: skip
    examples = TransferStudy.from_predictions(rows).examples("t")
    np.testing.assert_array_equal(examples["score"].values[0, 0], [0, 1, np.nan])
    np.testing.assert_array_equal(examples["base_score"].values[0], [1, 0, 1])


def test_examples_that_differ_between_sources_are_refused():
    rows = pl.concat([
        predictions([1.0, 0.0], source="a"),
        predictions([1.0, 0.0], source="b").with_columns(example_hash=pl.lit("another")),
    ])  # fmt: skip
    with pytest.raises(ResultsError, match="example 0 is not the same text for every source"):
        TransferStudy.from_predictions(rows).examples("t")


def test_a_prediction_that_occurs_twice_is_refused():
    rows = pl.concat([predictions([1.0]), predictions([0.0])])
    with pytest.raises(ResultsError, match="example 0 of a -> t, seed 0, occurs twice"):
        TransferStudy.from_predictions(rows)
    scores = pl.DataFrame({"source": ["a", "a"], "target": ["t", "t"], "score": [1.0, 2.0]})
    with pytest.raises(ResultsError, match="the cell a -> t, seed 0, occurs twice"):
        TransferStudy.from_scores(scores)


def test_an_unknown_target_is_named_with_the_nearest_known_one(store):
    with pytest.raises(ResultsError, match=r"no target 'moood'\. Did you mean 'mood'\?"):
        open_study(store.path).examples("moood")


def test_a_study_of_scores_says_that_it_has_no_predictions():
    scores = pl.DataFrame({"source": ["a"], "target": ["t"], "score": [0.5]})
    study = TransferStudy.from_scores(scores)
    with pytest.raises(ResultsError, match="no predictions for 't': this study has scores only"):
        study.examples("t")
    assert np.isnan(study.scores["n_scored"].item())
    assert np.isnan(study.scores["base_score"].item())


def test_order_and_metadata_are_as_given_and_the_rest_in_order_of_appearance():
    rows = pl.concat([predictions([1.0], target=name) for name in ("z", "y", "x")])
    info = TargetInfo(name="x", metric="f1", unit="points", higher_is_better=False, ceiling=0.0)
    scores = TransferStudy.from_predictions(rows, targets=[info]).scores
    assert scores["target"].values.tolist() == ["x", "z", "y"]
    assert scores["metric"].values.tolist() == ["f1", "score", "score"]
    assert scores["higher_is_better"].values.tolist() == [False, True, True]
    assert scores["ceiling"].values[0] == 0.0


def test_a_spec_that_this_version_does_not_know_is_one_line(store):
    study = open_study(store.path)
    assert study.spec is not None
    assert study.spec.sources[0].name == "maths"
    broken = TransferStudy(sources=(), targets=(), origin={"sources": ["a"], "new": 1})
    with pytest.raises(ResultsError, match="the spec of the study does not fit this version"):
        _ = broken.spec

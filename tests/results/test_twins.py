"""Twins are stored with the study and stay out of every number about its sources."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from transferlens.results import (
    StudyStore,
    TransferStudy,
    matrix_values,
    open_study,
    write_study,
)
from transferlens.testing import Behaviour, simulate_twins
from transferlens.transfer import transfer_matrix


@pytest.fixture(scope="module")
def planted():
    ways = {"balanced": Behaviour(bias=-1.0), "reseeded": Behaviour()}
    return simulate_twins(Behaviour(), ways, rng=np.random.default_rng(0), n_examples=60).study


@pytest.fixture(scope="module")
def stored(planted, tmp_path_factory):
    return write_study(planted, tmp_path_factory.mktemp("twins") / "study")


def without_twins(study):
    rows = study.with_twins().predictions.collect()
    names = [twin.name for twin in study.twins]
    return TransferStudy.from_predictions(
        rows.filter(~pl.col("source").is_in(names)), sources=study.sources, targets=study.targets
    )


@pytest.mark.parametrize("which", ["planted", "stored"])
def test_scores_examples_and_matrix_are_those_of_a_study_without_twins(which, request):
    study = request.getfixturevalue(which)
    plain = without_twins(study)
    assert [source.name for source in study.sources] == ["source"]
    assert study.scores.identical(plain.scores)
    assert study.examples("task0").identical(plain.examples("task0"))
    assert (
        study.predictions.collect()
        .sort("source", "example")
        .equals(plain.predictions.collect().sort("source", "example"))
    )
    assert study.score_rows.sort("source").equals(plain.score_rows.sort("source"))
    assert matrix_values(study).identical(matrix_values(plain))
    assert transfer_matrix(study).data.identical(transfer_matrix(plain).data)


@pytest.mark.parametrize("which", ["planted", "stored"])
def test_with_twins_they_are_sources_behind_the_others(which, request):
    whole = request.getfixturevalue(which).with_twins()
    names = ["source", "source-balanced", "source-reseeded"]
    assert [info.name for info in whole.sources] == names
    assert whole.twins == ()
    assert whole.scores["source"].to_numpy().tolist() == names
    assert set(whole.predictions.collect()["source"]) == {"base", *names}
    assert whole.scores.sel(source=["source"]).identical(request.getfixturevalue(which).scores)


def test_a_folder_keeps_whose_twin_it_is_and_in_which_property(planted, stored):
    assert stored.twins == planted.twins
    reopened = open_study(stored.path)
    assert [(t.twin_of, t.control) for t in reopened.twins] == [
        ("source", "balanced"),
        ("source", "reseeded"),
    ]
    assert {cell.source for cell in StudyStore.open(stored.path).plan.cells} == {
        "base", "source", "source-balanced", "source-reseeded",
    }  # fmt: skip


def test_bare_scores_leave_twins_out_as_well(planted):
    rows = planted.with_twins().score_rows
    bare = TransferStudy.from_scores(
        rows, sources=(*planted.sources, *planted.twins), targets=planted.targets
    )
    assert bare.scores["score"].identical(planted.scores["score"])
    assert bare.with_twins().scores.sizes["source"] == 3

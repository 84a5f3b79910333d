"""A folder that format version 1 wrote stays readable, complete and open to more work.

``archive/v1`` is never written again: merged and single cells, texts, an adapter, a
failure, a missing cell and two unscored examples, without the folders that git loses.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from small_study import N_EXAMPLES, RIGHT, TASKS, cell_rows
from transferlens.results import StudyStore, open_study, study_status

ARCHIVE = Path(__file__).parent / "archive" / "v1"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(ARCHIVE, tmp_path / "study")


def test_the_archive_is_small_and_untouched():
    files = [path for path in ARCHIVE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 50_000
    assert StudyStore.open(ARCHIVE).verify() == []


def test_its_scores_are_those_that_were_written():
    scores = open_study(ARCHIVE).scores
    expected = RIGHT[1:] / N_EXAMPLES
    expected[TASKS.index("mood"), TASKS.index("maths")] = 4 / (N_EXAMPLES - 2)
    expected[TASKS.index("topic"), TASKS.index("topic")] = np.nan
    np.testing.assert_allclose(scores["score"][..., 0], expected)
    np.testing.assert_allclose(scores["base_score"][:, 0], RIGHT[0] / N_EXAMPLES)
    assert scores["n_unscored"].sel(source="mood", target="maths").item() == 2


def test_its_metadata_texts_and_likelihoods_are_read():
    study = open_study(ARCHIVE)
    assert [info.metric for info in study.targets] == ["accuracy"] * 3
    assert np.isnan(study.targets[2].ceiling)
    assert study.example_texts("maths")["prompt"][3] == "What is 3 + 3?"
    rows = study.predictions.collect()
    known = rows.filter(rows["choice_logprobs"].is_not_null())
    assert known["choice_logprobs"].to_list() == [[-1.0, -2.5]] * 120
    assert known.select("source", "target").n_unique() == 6


def test_its_failure_and_its_trained_adapter_are_shown():
    status = study_status(ARCHIVE)
    assert status.cells == {"done": 11, "failed": 1}
    assert status.failures[0].message == "out of memory"
    # An adapter whose folder is gone once all its cells are done leaves nothing to do.
    assert status.adapters == {"done": 2, "failed": 1}
    assert status.progress[1].seconds == 65.0


def test_work_goes_on_in_it_although_git_lost_its_empty_folders(folder):
    store = StudyStore.create(folder)
    cell = store.plan.cells[-1]
    with store.claim("cell", cell.id) as free:
        assert free
        store.write_cell(cell, cell_rows(cell, 17))
    store.clear_failure(cell.id)
    assert study_status(folder).cells == {"done": 12}
    assert open_study(folder).scores["score"].values[2, 2, 0] == 0.85

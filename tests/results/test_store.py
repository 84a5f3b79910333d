"""A study folder keeps what is finished, whatever the plan does, and refuses what it is not."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest

from small_study import N_EXAMPLES, TASKS, cell_rows, finished_folder, small_plan
from transferlens.errors import ResultsError
from transferlens.results import (
    VERSION,
    Plan,
    StudyStore,
    TransferStudy,
    open_study,
    study_status,
    write_study,
)
from transferlens.results.manifest import read_json


@pytest.fixture
def store(tmp_path):
    return finished_folder(tmp_path / "study")


def refusal(call):
    with pytest.raises(ResultsError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


# What the folder is


def test_a_folder_with_foreign_files_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    message = refusal(lambda: StudyStore.create(tmp_path))
    assert message == f"{tmp_path} holds other files (thesis.tex); choose an empty or a new folder"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_creation_that_was_interrupted_is_completed(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / ".tmp-manifest.json.1.abc").write_bytes(b"{")
    store = StudyStore.create(tmp_path)
    assert store.manifest["format"] == "transferlens-study"
    assert store.collect_garbage() == [tmp_path / ".tmp-manifest.json.1.abc"]


def test_a_newer_version_is_refused_with_what_to_do_and_stays_unchanged(store):
    file = store.path / "manifest.json"
    file.write_text(json.dumps({**store.manifest, "version": VERSION + 1}), encoding="utf-8")
    before = file.read_bytes()
    for call in (StudyStore.create, StudyStore.open, open_study, study_status):
        message = refusal(lambda call=call: call(store.path))
        assert f"has version {VERSION + 1}, this program reads up to {VERSION}" in message
        assert "update transferlens" in message
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "manifest.json is damaged"),
        ("[]", "holds no JSON object"),
        ('{"format": "other", "version": 1}', "is not of a study: its format is 'other'"),
        ('{"format": "transferlens-study"}', "None is no version"),
        ('{"format": "transferlens-study", "version": "1"}', "'1' is no version"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(store, text, part):
    (store.path / "manifest.json").write_text(text, encoding="utf-8")
    assert part in refusal(lambda: open_study(store.path))


def test_a_file_instead_of_a_folder_is_no_study(tmp_path):
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    assert "is not a study folder" in refusal(lambda: open_study(file))
    assert "cannot create" in refusal(lambda: StudyStore.create(file))


def test_a_folder_without_a_plan_says_to_run_the_study(tmp_path):
    store = StudyStore.create(tmp_path)
    assert "has no plan.json yet; run the study first" in refusal(lambda: open_study(store.path))


def test_a_damaged_plan_names_the_field(store):
    value = json.loads((store.path / "plan.json").read_bytes())
    value["cells"][2]["seed"] = "x"
    (store.path / "plan.json").write_text(json.dumps(value), encoding="utf-8")
    assert "plan.json: not a plan at cells.2.seed" in refusal(lambda: store.plan)


def test_a_plan_survives_the_way_to_json_and_back(store):
    plan = dataclasses.replace(
        store.plan, targets=(dataclasses.replace(store.plan.targets[0], ceiling=math.nan),)
    )
    again = Plan.from_json(plan.to_json(), where="here")
    assert math.isnan(again.targets[0].ceiling)
    assert again.cells == plan.cells
    assert again.to_json() == plan.to_json()


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "", "x" * 129, "a\0b"])
def test_a_name_that_could_leave_the_folder_is_refused(store, name):
    assert "cannot be part of a file name" in refusal(lambda: store.clear_failure(name))
    plan = store.plan
    cell = dataclasses.replace(plan.cells[0], id=name)
    changed = dataclasses.replace(plan, cells=(cell,))
    assert "cannot be part of a file name" in refusal(lambda: store.write_plan(changed))


# Cells


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda rows: rows.head(19), "19 predictions for 20 examples"),
        (lambda rows: rows.with_columns(example=pl.lit(3)), "an example occurs twice"),
        (lambda rows: rows.with_columns(source=pl.lit("mood")), "its rows are of ('mood', "),
        (lambda rows: rows.drop("gold"), "missing ['gold']"),
        (lambda rows: rows.with_columns(extra=1), "unknown ['extra']"),
        (lambda rows: rows.with_columns(score=pl.lit("good")), "values of the wrong type"),
    ],
)
def test_rows_that_are_not_those_of_the_cell_are_not_stored(store, change, part):
    cell = store.plan.cells[3]
    before = store.cell_path(cell).read_bytes()
    message = refusal(lambda: store.write_cell(cell, change(cell_rows(cell, 1))))
    assert message.startswith("cell maths -> maths, seed 0: ")
    assert part in message
    assert store.cell_path(cell).read_bytes() == before


def test_states_are_done_running_failed_and_left(store):
    done, failed, running, left = store.plan.cells[:4]
    for cell in (failed, running, left):
        store.discard_cell(cell.id)
    store.record_failure(failed.id, "cell", "no memory", "log")
    with store.claim("cell", running.id) as free:
        assert free
        states = store.cell_states()
        assert [states[cell.id] for cell in (done, failed, running, left)] == [
            "done", "failed", "running", "left",
        ]  # fmt: skip
        assert [store.cell_state(cell) for cell in (done, failed, running, left)] == [
            "done", "failed", "running", "left",
        ]  # fmt: skip
    assert store.cell_state(running) == "left"


def test_a_failure_keeps_its_message_time_and_log_until_it_is_cleared(store):
    log = store.record_failure("abc", "adapter", "zu wenig Speicher: 3 GiB – §", "Traceback …")
    assert log.read_text(encoding="utf-8") == "Traceback …"
    (failure,) = store.failures()
    assert failure.message == "zu wenig Speicher: 3 GiB – §"
    assert failure.kind == "adapter"
    assert failure.time.endswith("+00:00")
    store.clear_failure("abc")
    store.clear_failure("abc")
    assert store.failures() == []


def test_a_damaged_record_of_a_failure_is_named(store):
    file = store.path / "failures" / "abc.json"
    file.write_text('{"id": "abc"}', encoding="utf-8")
    assert "abc.json is damaged: it is no record of a failure" in refusal(store.failures)


def test_a_failure_that_is_cleared_while_it_is_listed_is_no_error(store, monkeypatch):
    store.record_failure("abc", "cell", "why", "log")

    def cleared(file):
        file.unlink()
        return read_json(file)

    monkeypatch.setattr("transferlens.results.failures.read_json", cleared)
    assert store.failures() == []


# A changed plan


def test_a_changed_plan_keeps_the_files_of_finished_cells_and_reads_its_own_only(store):
    plan = small_plan()
    old = plan.cells[5]
    new = dataclasses.replace(old, id="other", n_examples=N_EXAMPLES)
    fewer = dataclasses.replace(plan, cells=(*plan.cells[:5], new))
    store.write_plan(fewer)
    assert store.cell_states() == {**dict.fromkeys((c.id for c in plan.cells[:5]), "done"),
                                   "other": "left"}  # fmt: skip
    assert old.id in store.done_cells()
    assert open_study(store.path).predictions.collect().height == 5 * N_EXAMPLES
    store.write_cell(new, cell_rows(new, 1))
    scores = open_study(store.path).scores
    assert scores["score"].sel(source=old.source, target=old.target).item() == 1 / N_EXAMPLES
    store.write_plan(plan)
    assert set(store.cell_states().values()) == {"done"}


def test_a_merged_file_gives_only_the_cells_of_the_plan_even_when_a_target_has_changed(store):
    store.compact()
    plan = small_plan()
    old = next(cell for cell in plan.cells if cell.key == ("maths", "maths", 0))
    new = dataclasses.replace(old, id="other")
    store.write_plan(
        dataclasses.replace(plan, cells=tuple(new if c is old else c for c in plan.cells))
    )
    assert np.isnan(open_study(store.path).scores["score"].sel(source="maths", target="maths"))
    store.write_cell(new, cell_rows(new, 2))
    again = open_study(store.path)
    assert again.scores["score"].sel(source="maths", target="maths").item() == 2 / N_EXAMPLES
    assert again.predictions.collect().height == len(plan.cells) * N_EXAMPLES
    store.compact()
    assert open_study(store.path).scores.identical(again.scores)


# Merging


def test_merged_files_give_the_same_study_as_single_ones(tmp_path):
    store = finished_folder(tmp_path / "study", seeds=(0, 1))
    key = ["source", "target", "seed", "example"]
    single = open_study(store.path)
    rows, scores = single.predictions.collect().sort(key), single.scores
    examples = single.examples("mood")
    assert store.compact() == 21
    assert len(list((store.path / "cells").glob("*.parquet"))) == 7
    merged = open_study(store.path)
    assert merged.predictions.collect().sort(key).equals(rows)
    assert merged.scores.identical(scores)
    assert merged.examples("mood").identical(examples)
    assert store.verify() == []
    assert set(store.cell_states().values()) == {"done"}


def test_merging_twice_changes_nothing(store):
    store.compact()
    before = {path.name: path.read_bytes() for path in (store.path / "cells").iterdir()}
    assert store.compact() == 0
    assert {path.name: path.read_bytes() for path in (store.path / "cells").iterdir()} == before


def test_a_cell_that_is_made_again_after_a_merge_wins(store):
    store.compact()
    cell = store.plan.cells[0]
    store.write_cell(cell, cell_rows(cell, 20))
    assert open_study(store.path).scores["base_score"].values[0, 0] == 1.0
    store.compact()
    assert open_study(store.path).scores["base_score"].values[0, 0] == 1.0


def test_merging_refuses_a_damaged_cell_and_removes_nothing(store):
    file = store.cell_path(store.plan.cells[4])
    file.write_bytes(file.read_bytes()[:-9])
    of_adapter = set((store.path / "cells").glob("maths0-*"))
    assert file.name in refusal(store.compact)
    assert of_adapter <= set((store.path / "cells").iterdir())
    store.discard_cell(store.plan.cells[4].id)
    store.compact()
    assert store.verify() == []
    assert open_study(store.path).predictions.collect().height == 11 * N_EXAMPLES


def test_a_reader_that_listed_a_file_before_it_was_merged_away_looks_again(store, monkeypatch):
    cell = store.plan.cells[0]
    store.compact()
    known = StudyStore.cells_in
    merged = next(path for path in (store.path / "cells").iterdir() if "base0" in path.name)
    copy = merged.with_name("merged-aaa.parquet")

    def vanishing(self, file):
        if file == merged and merged.exists():
            merged.rename(copy)
            msg = f"{merged} cannot be read"
            raise ResultsError(msg)
        return known(self, file)

    monkeypatch.setattr(StudyStore, "cells_in", vanishing)
    assert store.cell_files()[cell.id] == copy


# Texts and scores


def test_texts_of_examples_are_stored_once_and_read_back(store):
    frame = pl.DataFrame({"example": [0], "prompt": ["Why?"]})
    store.write_examples("abc", frame)
    store.write_examples("abc", pl.DataFrame({"example": [9]}))
    assert store.read_examples("abc").equals(frame)
    assert "cannot be read" in refusal(lambda: store.read_examples("xyz"))


def test_a_study_of_bare_scores_is_stored_and_read_back(tmp_path):
    rows = pl.DataFrame(
        {"source": ["a", "base"], "target": ["t", "t"], "score": [0.5, None]},
    )
    study = TransferStudy.from_scores(rows)
    stored = write_study(study, tmp_path / "study")
    assert stored.scores.identical(study.scores)
    assert stored.predictions is None
    assert "holds a study already" in refusal(lambda: write_study(study, tmp_path / "study"))


def test_a_study_in_memory_is_stored_and_read_back(store, tmp_path):
    frame = open_study(store.path).predictions.collect()
    study = TransferStudy.from_predictions(
        frame, targets=store.plan.targets, sources=store.plan.sources
    )
    stored = write_study(study, tmp_path / "copy")
    assert stored.scores.identical(study.scores)
    assert (
        stored.predictions.collect().sort(frame.columns[:4]).equals(frame.sort(frame.columns[:4]))
    )
    assert study_status(tmp_path / "copy").cells == {"done": 4 * len(TASKS)}

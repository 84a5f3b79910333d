"""A run leaves the same folder however often it is stopped, shared, repeated or changed."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter

import numpy as np
import polars as pl
import pytest

import transferlens as tl
from engine.small_run import N_TEST, N_TRAIN, assert_same, content, make_place, spec_of, start
from transferlens.errors import ResultsError
from transferlens.results import StudyStore, study_status


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny random base, data and a study file of two tasks and two seeds."""
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def undisturbed(place):
    tl.run(spec_of(place), place / "undisturbed", log="quiet")
    return place / "undisturbed"


def written(folder):
    return {
        path: path.stat().st_mtime_ns
        for part in ("cells", "adapters")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }


def test_every_adapter_and_the_base_answer_every_example(undisturbed):
    counts = (
        tl.open_study(undisturbed).predictions.group_by("source", "seed", "target").len().collect()
    )
    assert counts.height == (1 + 2 * 2) * 2
    assert counts["len"].unique().to_list() == [N_TEST]
    status = study_status(undisturbed)
    assert status.cells == {"done": 10}
    assert status.adapters == {"done": 4}
    assert status.failures == ()


def test_an_adapter_records_what_it_was_trained_on_and_how(place, undisturbed):
    store = StudyStore.open(undisturbed)
    spec = spec_of(place)
    for adapter in store.plan.adapters:
        manifest = store.read_adapter_manifest(adapter)
        training = manifest["training"]
        assert manifest["source"] == adapter.source
        assert training["seed"] == adapter.seed
        assert training["n_rows"] == N_TRAIN
        assert training["n_steps"] == len(training["losses"]) > 1
        assert training["losses"][-1] < training["losses"][0]
        assert manifest["method"]["rank"] == spec.method.rank
        assert manifest["base"]["fingerprint"] == store.plan.base["fingerprint"]
        assert manifest["environment"]["versions"]["torch"]
        assert store.adapters.damage(adapter) is None
        config = json.loads((store.adapter_dir(adapter) / "adapter_config.json").read_bytes())
        assert config["base_model_name_or_path"] == str(place / "model")
    assert not list((undisturbed / "adapters").rglob("*.bin"))


def test_the_rows_of_a_source_are_stored_with_what_was_learnt(place, undisturbed):
    store = StudyStore.open(undisturbed)
    for source in store.plan.sources:
        rows = store.read_examples(source.examples_id)
        adapter = next(a for a in store.plan.adapters if a.source == source.name)
        training = store.read_adapter_manifest(adapter)["training"]
        assert rows.height == N_TRAIN
        # Twice through all rows, each with its end token.
        assert 2 * (rows["n_tokens"].sum() + N_TRAIN) == training["learnt_tokens"]
    sums = pl.read_ndjson(place / "numbers-train.jsonl")
    wanted = [str(a + b) for a, b in sums.iter_rows()]
    assert store.read_examples(store.plan.sources[1].examples_id)["gold"].to_list() == wanted


def test_the_same_study_gives_the_same_bytes(place, undisturbed, tmp_path):
    tl.run(spec_of(place), tmp_path / "again", log="quiet")
    assert_same(undisturbed, tmp_path / "again")


def test_another_seed_gives_another_adapter(undisturbed):
    _, weights = content(undisturbed)
    assert len(set(weights.values())) == 4


def test_a_finished_study_is_recognised_without_torch_and_left_alone(place, undisturbed):
    before = written(undisturbed)
    process = start(place, undisturbed)
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "False\n", "")
    assert written(undisturbed) == before


def test_a_changed_study_runs_only_what_is_new(place, undisturbed, tmp_path):
    folder = tmp_path / "changing"
    tl.run(spec_of(place, "targets=[colours]", "seeds=[0]"), folder, log="quiet")
    before = written(folder)
    tl.run(spec_of(place), folder, log="quiet")
    after = written(folder)
    assert before.items() <= after.items()
    assert_same(undisturbed, folder)


def test_a_smaller_study_in_the_same_folder_shows_only_its_own_part(place, undisturbed, tmp_path):
    folder = tmp_path / "smaller"
    shutil.copytree(undisturbed, folder)
    study = tl.run(spec_of(place, "sources=[numbers]", "seeds=[1]"), folder, log="quiet")
    assert study.scores["score"].shape == (1, 2, 1)
    assert {path.name for path in written(folder)} == {path.name for path in written(undisturbed)}


def test_two_processes_share_one_folder_and_its_work(place, undisturbed, tmp_path):
    folder = tmp_path / "shared"
    processes = [start(place, folder) for _ in range(2)]
    events = []
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        events.append([json.loads(line) for line in errors.splitlines()])
    trained = [(e["source"], e["seed"]) for log in events for e in log if e["event"] == "trained"]
    assert sorted(trained) == [(s, i) for s in ("colours", "numbers") for i in (0, 1)]
    evaluated = [e for log in events for e in log if e["event"] == "evaluated"]
    assert len(evaluated) == 10
    assert_same(undisturbed, folder)


def test_a_damaged_adapter_is_named_and_the_others_go_on(place, undisturbed, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(undisturbed, folder)
    store = StudyStore.open(folder)
    adapter = next(a for a in store.plan.adapters if (a.source, a.seed) == ("colours", 1))
    weights = store.adapter_dir(adapter) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for cell in store.plan.cells:
        if cell.seed == 1:
            store.discard_cell(cell.id)
    with pytest.warns(UserWarning, match="2 of 10 cells are missing"):
        tl.run(spec_of(place), folder, log="quiet")
    (failure,) = study_status(folder).failures
    assert failure.what == "adapter colours, seed 1"
    assert "adapter_model.safetensors; delete that folder and run" in failure.message
    assert "EngineError" in failure.log.read_text(encoding="utf-8")
    shutil.rmtree(store.adapter_dir(adapter))
    tl.run(spec_of(place), folder, log="quiet")
    assert study_status(folder).failures == ()
    assert_same(undisturbed, folder)


def test_training_that_diverges_is_recorded_with_its_step_and_tried_again(place, tmp_path):
    folder = tmp_path / "diverged"
    wild = spec_of(place, "method.learning_rate=1e30", "method.max_grad_norm=1e30", "seeds=[0]")
    with pytest.warns(UserWarning, match="4 of 6 cells are missing"):
        study = tl.run(wild, folder, log="quiet")
    assert np.isnan(study.scores["score"].values).all()
    assert not np.isnan(study.scores["base_score"].values).any()
    failures = study_status(folder).failures
    assert [failure.what for failure in failures] == [
        f"adapter {source}, seed 0"
        for source in sorted(
            ["colours", "numbers"],
            key=lambda s: next(a.id for a in study.plan.adapters if a.source == s),
        )
    ]
    assert all("diverged at step" in failure.message for failure in failures)
    calm = tl.run(spec_of(place, "seeds=[0]"), folder, log="quiet")
    assert not np.isnan(calm.scores["score"].values).any()
    assert study_status(folder).failures == ()


def test_json_lines_tell_of_every_part(place, tmp_path):
    process = start(place, tmp_path / "told", "seeds=[0]")
    _, errors = process.communicate()
    events = [json.loads(line) for line in errors.splitlines()]
    told = Counter(event["event"] for event in events)
    assert told["begin"] == 1
    assert told["train"] == told["trained"] == 2
    assert told["evaluated"] == 6
    assert events[0]["adapters"] == 2
    assert events[0]["cells"] == 6


def test_a_folder_of_other_things_is_refused_and_left_as_it_was(place, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"thesis\.txt"):
        tl.run(spec_of(place), tmp_path, log="quiet")
    assert os.listdir(tmp_path) == ["thesis.txt"]  # noqa: PTH208 - names are all we want

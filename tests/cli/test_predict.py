"""Predicting, planning and recommending on the command line."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from factor_study import rows, scores, written_study
from paired_study import planted_study
from transferlens.cli import app
from transferlens.cli.plan import _further
from transferlens.errors import AnalysisError
from transferlens.explain.cards import study_cards
from transferlens.explain.factors import factor_values
from transferlens.predict import Newcomers, PairRidge, known_problem, problem_of
from transferlens.results import StudyStore, TransferStudy, open_study, write_study

N = 12


def cli(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a study of which a few cells are missing, and whose gains follow the words."""
    root = tmp_path_factory.mktemp("predict")
    path = root / "study"
    study = written_study(path, np.zeros((N, N)), rng=np.random.default_rng(11))
    x = factor_values(study, study_cards(study, cache=root / "cache"))["vocabulary_overlap"]
    rng = np.random.default_rng(0)
    gain = 0.05 * x / x[~np.eye(N, dtype=bool)].std() + 0.01 * rng.standard_normal((N, N))
    names = [info.name for info in study.sources]
    table = scores(gain, names=names, targets=names)
    missing = (pl.col("source") == "task_03") & (pl.col("target") == "task_07")
    missing |= pl.col("source") == "task_11"
    StudyStore.open(path).write_scores(TransferStudy.from_scores(table.filter(~missing)).score_rows)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    path = tmp_path_factory.mktemp("pair") / "study"
    write_study(planted_study(), path)
    return path


def quick(command, folder, *args):
    cache = ("--cache", folder.parent / "cache")
    return cli(command, folder, *cache, *args)


def test_missing_cells_are_predicted_and_measured_ones_are_not(folder):
    table = list(csv.DictReader(io.StringIO(quick("predict", folder, "--format", "csv"))))
    places = {(row["source"], row["target"]) for row in table}
    new = {("task_11", f"task_{at:02d}") for at in range(N - 1)}
    assert places == {("task_03", "task_07"), *new}
    assert all(float(row["low"]) <= float(row["predicted"]) for row in table)


def test_the_table_says_what_predicts_and_what_was_tried(folder):
    text = quick("predict", folder)
    assert "predicted, not measured; points" in text
    assert "a new source: all its cells are hidden: by features" in text
    assert "additive" in text.rpartition("tried:")[2]


def test_a_new_dataset_and_a_new_task_are_predicted_from_their_rows_alone(folder, tmp_path):
    rows(np.random.default_rng(5)).write_ndjson(tmp_path / "new.jsonl")
    document = json.loads(
        quick(
            "predict",
            folder,
            *("--source", f"mine={tmp_path / 'new.jsonl'}", "--target", tmp_path / "new.jsonl"),
            *("--predictor", "features", "--format", "json"),
        )
    )
    cells = {(cell["source"], cell["target"]): cell for cell in document["cells"]}
    assert {source for source, _ in cells} >= {"mine", "task_00"}
    assert ("mine", "new") in cells
    assert ("task_00", "new") in cells
    kinds = {choice["protocol"] for choice in document["choices"]}
    assert kinds == {"cells", "source", "target", "both"}


def test_cards_predict_a_dataset_that_the_study_had_and_is_taken_out(folder):
    study = open_study(folder)
    store = StudyStore.open(folder)
    gone = study.sources[5]
    table = store.read_examples(gone.examples_id)
    smaller = TransferStudy.from_scores(
        study.score_rows.filter(pl.col("source") != gone.name),
        sources=[info for info in study.sources if info.name != gone.name],
        targets=study.targets,
    )
    from dataclasses import replace

    smaller = replace(smaller, path=study.path)
    given = known_problem(smaller, newcomers=Newcomers(sources={"new": table}, targets={}))
    assert given.sources[-1] == "new"
    predicted = PairRidge().fit(given, rng=np.random.default_rng(0)).predict()[-1]
    truth = known_problem(study).gains[5]
    here = ~np.isnan(truth)
    assert np.corrcoef(predicted[here], truth[here])[0, 1] > 0.6


def test_an_evaluation_has_every_protocol_and_baseline(folder):
    text = quick("predict", folder, "--evaluate", "--format", "json", "--predictor", "features")
    document = json.loads(text)
    found = {(row["protocol"], row["predictor"]): row for row in document["rows"]}
    names = ("random order", "zero", "target mean", "additive", "features")
    assert set(found) == {
        (protocol, name) for protocol in ("source", "target", "both", "cells") for name in names
    }
    assert found["source", "features"]["rmse"] < found["source", "additive"]["rmse"]
    assert found["source", "features"]["spearman"] > 0.3
    assert found["source", "target mean"]["spearman"] is None
    lines = quick("predict", folder, "--evaluate", "--predictor", "additive").splitlines()
    assert lines[1].split()[:4] == ["RMSE", "covered", "width", "Spearman"]
    assert any("the adapter of the task itself does not count" in line for line in lines)


def test_wrong_names_and_options_end_in_one_line(folder, tmp_path):
    assert "Did you mean 'features'" in quick_error(folder, "--predictor", "feature")
    rows(np.random.default_rng(5)).write_ndjson(tmp_path / "task_01.jsonl")
    file = tmp_path / "task_01.jsonl"
    assert "OTHERNAME=FILE" in quick_error(folder, "--source", file)
    assert "leave --source and --target out" in quick_error(folder, "--evaluate", "--source", file)
    assert "scores only" in quick_error(folder, "--class-scores")


def quick_error(folder, *args):
    return cli("predict", folder, "--cache", folder.parent / "cache", *args, code=2)


def test_a_plan_lists_cells_and_the_adapters_that_it_needs(folder):
    text = quick("plan", folder, "--budget", 5, "--format", "json")
    document = json.loads(text)
    assert len(document["cells"]) == 5
    assert document["adapters"] == ["task_11"]
    assert document["error_then"] < document["error_now"]
    none = json.loads(quick("plan", folder, "--adapters", 0, "--budget", 5, "--format", "json"))
    assert [(c["source"], c["target"]) for c in none["cells"]] == [("task_03", "task_07")]


def test_a_share_counts_what_is_measured_already(folder):
    given = problem_of(open_study(folder))
    assert [_further(text, given) for text in ("30%", "100%", "7")] == [0, 12, 7]
    for wrong in ("many", "-1", "120%", "30%x"):
        with pytest.raises(AnalysisError, match="a share such as 30%"):
            _further(wrong, given)


def test_a_recommendation_names_the_measured_helper_and_its_harm(pair):
    lines = cli("recommend", pair, "--target", "b", "--others").splitlines()
    assert lines[0] == "For b, train on a."
    assert lines[3].split()[:2] == ["a", "b"]
    assert "above 0 after adjustment" in lines[3]


def test_what_the_evidence_does_not_support_is_called_a_guess(pair):
    text = cli("recommend", pair, "--target", "c", "--others")
    assert text.startswith(("The evidence does not support any choice for c", "Train on nothing"))


def test_a_limit_of_harm_is_read_in_scores(pair):
    text = cli("recommend", pair, "--target", "c", "--no-harm", "d:-0.01", "--json")
    document = json.loads(text)
    assert "c" not in document["chosen"]
    breach = next(one for one in document["ruled_out"] if one["source"] == "c")
    assert breach["target"] == "d"
    assert breach["gain"] < -1.0


def test_options_of_a_recommendation_that_cannot_be_read_are_one_line(pair):
    assert "TASK:GAIN" in cli("recommend", pair, "--target", "b", "--no-harm", "d", code=2)
    assert "N tokens" in cli("recommend", pair, "--target", "b", "--budget", "lots", code=2)
    assert "--target" in cli("recommend", pair, code=2)
    assert "Did you mean" in cli("recommend", pair, "--target", "bb", code=2)

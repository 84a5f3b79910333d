"""A study from the file that `init` writes to the matrix, by the commands alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import transferlens as tl
from transferlens.cli import app

TINY = ["limits.train=8", "limits.test=4", "method.steps=1", "compute.threads=1"]


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def call(*args, code=0):
        result = runner.invoke(app, [str(arg) for arg in args])
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    return call


def test_init_writes_a_commented_study_that_is_valid_as_it_is(cli, tmp_path):
    assert cli("init").startswith("Wrote study.yaml.")
    text = (tmp_path / "study.yaml").read_text(encoding="utf-8")
    assert text.count("#") > 20
    spec = tl.StudySpec.from_yaml("study.yaml")
    assert len(spec.sources) == 3


def test_the_commented_examples_in_the_file_are_valid_too(cli, tmp_path):
    cli("init")
    text = (tmp_path / "study.yaml").read_text(encoding="utf-8")
    lines = text[text.index("# tasks:") :].splitlines()
    tasks = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines))
    spec = tl.StudySpec.from_dict({**tasks, "sources": ["tickets"], "targets": ["trivia"]})
    assert spec.tasks["tickets"].choices == ("billing", "delivery", "other")


def test_init_does_not_overwrite_unless_forced(cli, tmp_path):
    (tmp_path / "study.yaml").write_text("mine", encoding="utf-8")
    assert "--force" in cli("init", code=2)
    assert (tmp_path / "study.yaml").read_text(encoding="utf-8") == "mine"
    cli("init", "--force")
    assert (tmp_path / "study.yaml").read_text(encoding="utf-8") != "mine"


def test_init_takes_a_folder_or_a_file_in_a_new_one(cli, tmp_path):
    cli("init", tmp_path)
    cli("init", tmp_path / "new" / "other.yaml")
    assert (tmp_path / "study.yaml").is_file()
    assert (tmp_path / "new" / "other.yaml").is_file()


def test_a_dry_run_prints_the_plan_and_its_cost_and_writes_nothing(cli, tmp_path):
    cli("init")
    output = cli("run", "study.yaml", "--dry-run")
    assert "my-study -> my-study: base embedded" in output
    assert "3 adapters, 20 cells" in output
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}
    assert rows["topic"][1] in {"choice", "400"}
    for word in ("time:", "memory:", "disk:"):
        assert rows[word][1] == "about"
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study of `init`, cut to size and run once for all tests that look at it."""
    folder = tmp_path_factory.mktemp("finished")
    before = os.getcwd()  # noqa: PTH109 - to go back
    os.chdir(folder)
    try:
        runner = CliRunner()
        runner.invoke(app, ["init"], catch_exceptions=False)
        result = runner.invoke(app, ["run", "study.yaml", *TINY, "--log", "quiet"])
    finally:
        os.chdir(before)
    assert result.exit_code == 0, result.output
    return folder, result


def test_run_says_where_the_study_is_and_what_to_do_next(finished):
    _, result = finished
    assert result.stdout == "20 cells in my-study. See: transferlens matrix my-study\n"
    assert result.stderr == ""


def test_every_cell_of_the_study_has_its_predictions(finished):
    folder, _ = finished
    study = tl.open_study(folder / "my-study")
    counts = study.predictions.group_by("source", "target").len().collect()
    assert counts.height == 20
    assert counts["len"].unique().to_list() == [4]


def test_all_is_done_and_the_times_are_known(finished, cli):
    output = cli("status", finished[0] / "my-study")
    assert "cells:    20 done, 0 running, 0 failed, 0 left" in output
    row = next(line for line in output.splitlines() if line.startswith("topic")).split()
    assert row[2] == "done"
    assert row[3] != "-"


def test_the_matrix_holds_the_scores_of_the_study(finished, cli):
    folder = finished[0] / "my-study"
    document = json.loads(cli("matrix", folder, "--format", "json", "--values", "score"))
    scores = tl.open_study(folder).scores
    for source, row in document["score"].items():
        for target, value in row.items():
            stored = float(scores["score"].sel(source=source, target=target, seed=0))
            assert value == pytest.approx(100 * stored)


def test_running_again_does_nothing_and_a_changed_study_runs_only_what_is_new(finished, cli):
    folder = finished[0] / "my-study"
    files = {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    file = finished[0] / "study.yaml"
    cli("run", file, *TINY, "-o", folder, "--log", "quiet")
    assert {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()} == files
    wider = "targets=[sentiment,sentiment_skewed,topic,inference,arithmetic,paraphrase]"
    cli("run", file, *TINY, wider, "-o", folder, "--log", "quiet")
    now = {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    assert files.items() <= now.items()
    assert len(now) == len(files) + 4


def test_json_log_is_one_object_per_line(cli):
    cli("init")
    command = [sys.executable, "-m", "transferlens", "run", "study.yaml", *TINY]
    command += ["sources=[topic]", "targets=[topic]", "--log", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert events
    assert all(isinstance(event, dict) for event in events)


def test_a_mistake_in_the_data_is_one_line_with_its_place(cli, tmp_path):
    (tmp_path / "bad").mkdir()
    pl.DataFrame({"text": ["a", "b"], "label": ["yes", "maybe"]}).write_csv("bad/train.csv")
    pl.DataFrame({"text": ["c"], "label": ["no"]}).write_csv("bad/test.csv")
    (tmp_path / "study.yaml").write_text(
        "tasks:\n"
        "  bad:\n"
        "    data: bad\n"
        '    prompt: "{{ text }}"\n'
        "    choices: ['yes', 'no']\n"
        "sources: [bad]\n"
        "targets: [bad]\n",
        encoding="utf-8",
    )
    message = cli("run", "study.yaml", "--dry-run", code=2)
    assert message.count("\n") == 1
    assert message.startswith("Error: study.yaml:")
    assert "maybe" in message
    assert "train.csv" in message


def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(cli, tmp_path):
    cli("init")
    command = [sys.executable, "-m", "transferlens", "run", "study.yaml", "--log", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cells = tmp_path / "my-study" / "cells"
    while process.poll() is None and not any(cells.glob("[!.]*.parquet")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith("give the same command to go on.")
    assert any(cells.glob("[!.]*.parquet"))

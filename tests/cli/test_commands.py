"""Each command prints what the study holds, in a terminal as in a pipe."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from small_study import TASKS, cell_rows, finished_folder, small_plan
from transferlens import __version__
from transferlens.cli import app
from transferlens.results import StudyStore

GAINS = [[70, -5, 0], [0, 50, 10], [-10, 10, 45]]


@pytest.fixture
def cli():
    runner = CliRunner()

    def call(*args, code=0):
        result = runner.invoke(app, [str(arg) for arg in args])
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finished_folder(tmp_path_factory.mktemp("study") / "small").path


@pytest.fixture
def unfinished(tmp_path):
    """One adapter trained, one failed, one not begun; two cells of the base done."""
    store = StudyStore.create(tmp_path / "unfinished")
    plan = small_plan()
    store.write_plan(plan)
    maths, mood, _ = plan.adapters
    trained = store.temporary_adapter_dir(maths)
    (trained / "manifest.json").write_text('{"training": {"seconds": 65}}', encoding="utf-8")
    store.commit_adapter(trained, maths)
    store.record_failure(mood.id, "adapter", "training diverged at step 3", "a long log")
    for cell in plan.cells[:2]:
        store.write_cell(cell, cell_rows(cell, 5, unscored=1))
    return store


def test_version_is_that_of_the_package(cli):
    assert cli("--version") == f"transferlens {__version__}\n"


def test_matrix_prints_the_base_first_and_gains_with_their_sign(cli, folder):
    lines = cli("matrix", folder).splitlines()
    assert lines[0].split() == ["trained", "on", *TASKS]
    assert lines[1].split() == ["base", "(score)", "20.0", "50.0", "40.0"]
    assert lines[2].split() == ["maths", "[+70.0]", "-5.0", "0.0"]
    assert lines[4].split() == ["topic", "-10.0", "+10.0", "[+45.0]"]


def test_matrix_says_what_one_seed_cannot_show(cli, folder):
    assert "one seed (0): training variance unknown" in cli("matrix", folder)


def test_matrix_says_how_many_seeds_a_mean_is_over(cli, tmp_path):
    folder = finished_folder(tmp_path / "seeds", seeds=(0, 2)).path
    assert "mean of 2 seeds" in cli("matrix", folder)
    assert cli("matrix", folder, "--seed", 2, "--values", "score").splitlines()[2].split() == [
        "maths", "[100.0]", "55.0", "50.0",
    ]  # fmt: skip
    assert "no seed 1; it has 0, 2" in cli("matrix", folder, "--seed", 1, code=2)


def test_matrix_counts_what_was_not_scored_and_shows_gaps(cli, unfinished):
    output = cli("matrix", unfinished.path)
    assert "2 examples have no score" in output
    assert output.splitlines()[2].split() == ["maths", "[-]", "-", "-"]
    # The unscored example is no wrong answer: 5 of 19.
    assert output.splitlines()[1].split() == ["base", "(score)", "26.3", "26.3", "-"]


def test_csv_has_the_gains_alone_and_no_base_among_them(cli, folder):
    rows = list(csv.reader(io.StringIO(cli("matrix", folder, "--format", "csv"))))
    assert rows[0] == ["source", *TASKS]
    assert [row[0] for row in rows[1:]] == list(TASKS)
    assert [[round(float(x), 9) for x in row[1:]] for row in rows[1:]] == GAINS


def test_csv_of_scores_has_the_base_first(cli, folder):
    text = cli("matrix", folder, "--format", "csv", "--values", "score")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[1] == ["base", "20.0", "50.0", "40.0"]
    assert rows[2] == ["maths", "90.0", "45.0", "40.0"]


def test_json_has_null_for_a_missing_cell_and_the_counts(cli, folder, unfinished):
    whole = json.loads(cli("matrix", folder, "--format", "json"))
    assert [[round(x, 9) for x in row.values()] for row in whole["gain"].values()] == GAINS
    assert whole["base_score"] == {"maths": 20.0, "mood": 50.0, "topic": 40.0}
    part = json.loads(cli("matrix", unfinished.path, "--format", "json"))
    assert part["gain"]["maths"] == dict.fromkeys(TASKS)
    assert part["base_unscored"] == {"maths": 1, "mood": 1, "topic": 0}


def test_status_counts_cells_and_adapters_by_state_with_times(cli, unfinished):
    output = cli("status", unfinished.path)
    assert "adapters: 1 done, 0 running, 1 failed, 1 left" in output
    assert "cells:    2 done, 0 running, 3 failed, 7 left" in output
    row = next(line for line in output.splitlines() if line.startswith("maths"))
    assert row.split()[:4] == ["maths", "0", "done", "0:01:05"]


def test_status_shows_why_something_failed_and_where_its_log_is(cli, unfinished):
    output = cli("status", unfinished.path)
    assert "failed: adapter mood, seed 0" in output
    assert "  training diverged at step 3" in output
    log = re.search(r"log: (\S+)", output)[1]
    assert Path(log).read_text(encoding="utf-8") == "a long log"


def test_status_shows_what_another_process_works_on(cli, unfinished):
    topic = unfinished.plan.adapters[2]
    with unfinished.claim("adapter", topic.id):
        output = cli("status", unfinished.path)
    assert "adapters: 1 done, 1 running, 1 failed, 0 left" in output


def test_status_of_a_finished_study_has_nothing_left(cli, folder):
    output = cli("status", folder)
    assert "adapters: 3 done, 0 running, 0 failed, 0 left" in output
    assert "cells:    12 done, 0 running, 0 failed, 0 left" in output


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_plot_writes_the_picture_and_prints_its_path(cli, folder, tmp_path, kind):
    file = tmp_path / f"picture.{kind}"
    assert cli("plot", folder, "-o", file, "--values", "score").strip() == str(file)
    assert file.stat().st_size > 5_000


def test_plot_writes_into_the_study_unless_told_otherwise(cli, tmp_path):
    folder = finished_folder(tmp_path / "own").path
    assert cli("plot", folder).strip() == str(folder / "matrix.png")
    # The picture is no foreign file: the study opens as before.
    assert "one seed" in cli("matrix", folder)


def test_a_wide_matrix_is_continued_below_in_a_terminal(cli, folder, monkeypatch):
    from transferlens.cli import console

    monkeypatch.setattr(console, "_ENDLESS", 36)
    lines = cli("matrix", folder).splitlines()
    heads = [line.split() for line in lines if line.startswith("trained on")]
    assert heads == [["trained", "on", "maths", "mood"], ["trained", "on", "topic"]]
    assert sum(line.startswith("topic ") for line in lines) == 2


def test_tasks_lists_a_line_for_each_task(cli):
    lines = cli("tasks").splitlines()
    assert {"gsm8k", "imdb", "mnli"} <= {line.split()[0] for line in lines[1:]}
    assert all(len(line.split()) > 3 for line in lines[1:])

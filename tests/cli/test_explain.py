"""The story of a cell, and the most surprising cells, on the command line."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from paired_study import planted_study
from transferlens.cli import app
from transferlens.explain import MECHANISMS
from transferlens.results import BASE, SourceInfo, TargetInfo, TransferStudy, write_study
from transferlens.testing import Behaviour, simulate_mechanisms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    planted = simulate_mechanisms(
        Behaviour(skill=0.8, bias=2.5), {"flipkart": Behaviour(skill=0.8)},
        rng=np.random.default_rng(0), n_examples=1000,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("cell") / "study"
    write_study(planted.study, path)
    return path


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """Return four tasks of two families: a helps b, of the other one; c harms d, of its own."""
    study = planted_study()
    family = {"a": "words", "b": "sums", "c": "sums", "d": "sums"}
    made = TransferStudy.from_predictions(
        study.predictions.collect(),
        targets=[TargetInfo(name=n, family=f, ceiling=1.0) for n, f in family.items()],
        sources=[SourceInfo(name=n) for n in family],
    )
    path = tmp_path_factory.mktemp("families") / "study"
    write_study(made, path)
    return path


def cli(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def test_the_story_names_the_planted_cause(folder):
    lines = cli("explain", folder, "flipkart", "task").splitlines()
    assert lines[0].startswith("flipkart gains +")
    assert "from which labels it prefers" in lines[0]
    assert any(line.startswith("labels: answers ") and ", gold " in line for line in lines)
    assert any(line.startswith("confusions: takes 'no' for 'yes' in ") for line in lines)
    assert any("training data not known" in line for line in lines)


def test_json_holds_the_numbers_behind_the_story(folder):
    document = json.loads(cli("explain", folder, "flipkart", "task", "--json"))
    parts = document["attribution"]
    assert sum(parts[name] for name in MECHANISMS) == pytest.approx(parts["gain"])
    assert parts["gain"] == pytest.approx(document["evidence"]["gain"])
    assert parts["prior"] > 0.8 * parts["gain"]
    counts = np.array(document["confusion"]["adapter"])
    assert counts.sum() == 1000
    assert np.trace(counts) / 1000 == pytest.approx(document["evidence"]["score"])
    assert document["labels"]["shift_from_source"] is None


def test_the_same_seed_tells_the_same_story_and_another_the_same_gain(folder):
    first, again, other = (
        json.loads(cli("explain", folder, "flipkart", "task", "--json", "--seed", seed))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first["attribution"]["gain"] == other["attribution"]["gain"]
    assert first["attribution"]["gain_low"] != other["attribution"]["gain_low"]


def test_unknown_names_are_answered_with_near_ones(folder):
    assert "Did you mean 'flipkart'?" in cli("explain", folder, "flipcart", "task", code=2)
    assert "Did you mean 'task'?" in cli("explain", folder, "flipkart", "tasks", code=2)
    assert "name the task as well" in cli("explain", folder, "flipkart", code=2)


def test_surprising_are_help_between_families_and_harm_within_one(families):
    lines = cli("explain", families).splitlines()
    assert lines[0] == "Surprising: 2 cells"
    cells = {tuple(line.split()[:3]) for line in lines[2:4]}
    assert cells == {("a", "b", "helps"), ("c", "d", "harms")}
    document = json.loads(cli("explain", families, "--json"))
    assert [abs(cell["gain"]) for cell in document["cells"]] == sorted(
        (abs(cell["gain"]) for cell in document["cells"]), reverse=True
    )
    assert document["cells"][0]["unit"] == "points"
    assert "and 1 more" in cli("explain", families, "--top", 1)
    assert cli("explain", families, "--alpha", 1e-60).startswith("Surprising: 0 cells")


def test_scores_alone_cannot_be_explained_and_say_so(tmp_path):
    rows = [{"source": s, "target": "t", "score": 0.5} for s in (BASE, "s")]
    write_study(TransferStudy.from_scores(pl.DataFrame(rows)), tmp_path / "study")
    assert "scores only" in cli("explain", tmp_path / "study", "s", "t", code=2)
    assert "Surprising: 0 cells" in cli("explain", tmp_path / "study")

"""`transferlens twins` prints what the analysis says, and the matrix does without twins."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from transferlens.cli.app import app
from transferlens.explain import TwinEffect
from transferlens.results import write_study
from transferlens.testing import Behaviour, simulate_twins


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = simulate_twins(
        Behaviour(skill=0.8, bias=2.0),
        {"balanced": Behaviour(skill=0.8), "prompt_format": Behaviour(skill=0.8, bias=2.0)},
        rng=np.random.default_rng(0),
        n_examples=500,
    )
    return write_study(made.study, tmp_path_factory.mktemp("twins") / "study")


def shown(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


def test_the_table_has_differences_sentences_and_what_was_not_found(study):
    code, text = shown("twins", study.path)
    assert code == 0
    found = TwinEffect()(study)
    assert f"* {found.sentences()[0]}\n" in text
    assert "source-balanced: source, balanced\n" in text
    share = found.frame.filter(measure="share", twin="source-balanced")["difference"][0]
    (line,) = [
        line for line in text.splitlines()
        if line.startswith("task0  share of 'yes'") and "*" in line
    ]  # fmt: skip
    assert f"{100 * share:+.1f}*" in line
    assert "nothing found: source-prompt_format\n" in text
    assert "training variance unknown" in text


def test_json_has_every_number_of_the_frame(study):
    code, text = shown("twins", study.path, "--json")
    assert code == 0
    document = json.loads(text)
    found = TwinEffect()(study)
    assert document["sentences"] == list(found.sentences())
    assert len(document["effects"]) == found.frame.height
    for row, cell in zip(document["effects"], found.frame.iter_rows(named=True), strict=True):
        assert row["difference"] == pytest.approx(100 * cell["difference"])
        assert row["p_adjusted"] == cell["p_adjusted"]
        assert row["significant"] is (cell["p_adjusted"] <= 0.05)
        assert row["unit"] == "points"
        assert row["floor"] is None


def test_the_matrix_says_that_twins_are_left_out(study):
    code, text = shown("matrix", study.path)
    assert code == 0
    assert "source-balanced" not in text
    assert "2 twins are left out: see `transferlens twins`" in text
    _, csv = shown("matrix", study.path, "--format", "csv")
    assert [line.split(",")[0] for line in csv.splitlines()] == ["source", "source"]


def test_a_study_without_twins_is_told_how_to_get_some(tmp_path):
    made = simulate_twins(Behaviour(), {}, rng=np.random.default_rng(0), n_examples=20)
    plain = write_study(made.study, tmp_path / "plain")
    code, text = shown("twins", plain.path)
    assert code == 2
    assert text.startswith("Error: the study has no twins; name them under `controls`")

"""``transferlens verify`` prints every figure and fails if one of them differs."""

from __future__ import annotations

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from transferlens.cli import app
from transferlens.verify import tables


@pytest.fixture
def invoke():
    return lambda *args: CliRunner().invoke(app, ["verify", *map(str, args)])


@pytest.fixture
def falsified(monkeypatch):
    """One shipped count is another."""
    real = tables._read

    def read(file):
        table = real(file)
        if file.name != "paper_confusion.csv":
            return table
        return table.with_columns(pl.col("count").replace({"544": "444"}))

    monkeypatch.setattr(tables, "_read", read)


def test_the_table_shows_published_ours_difference_and_verdict(invoke):
    result = invoke()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    row = next(line for line in lines if line.startswith("mean gain on other tasks"))
    assert row.split()[-4:] == ["-2.02", "-2.0196", "+0.0004", "agrees"]
    flagged = next(line for line in lines if line.startswith("cell that makes"))
    assert flagged.split()[-1] == "agrees"
    assert flagged.count("GLUE-STSB → GLUE-MNLI") == 2
    n = sum(line.split()[-1:] in (["agrees"], ["differs"]) for line in lines)
    assert f"{n} of {n} figures agree" in lines
    assert lines[-1].startswith("not checked without --data: FusionBench (other tables); ")


def test_json_holds_the_figures_with_all_digits(invoke):
    result = invoke("--format", "json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["differ"] == 0
    assert document["agree"] == len(document["figures"])
    figure = next(f for f in document["figures"] if f["quantity"].startswith("accuracy, IMDB"))
    assert figure["published"] == "0.8555"
    assert figure["ours"] == 0.8555
    assert figure["allowed"] == pytest.approx(0.00005)
    words = next(f for f in document["figures"] if f["ours"] == "GLUE-CoLA".upper())
    assert words["difference"] is None


@pytest.mark.usefixtures("falsified")
def test_a_falsified_number_is_named_and_ends_in_exit_code_1(invoke):
    table = invoke()
    assert table.exit_code == 1
    named = "differs: arXiv:2509.13624 (figures): accuracy, Flipkart adapter on IMDB"
    assert named in table.stdout.splitlines()
    document = invoke("--format", "json")
    assert document.exit_code == 1
    differs = [f for f in json.loads(document.stdout)["figures"] if f["verdict"] == "differs"]
    assert [f["quantity"] for f in differs] == ["accuracy, Flipkart adapter on IMDB"]


def test_with_the_matrices_nothing_is_left_unchecked(invoke, shared):
    result = invoke("--data", shared / "matrices")
    assert result.exit_code == 0
    assert "not checked" not in result.stdout
    assert "Roberta: score of MRPC → MNLI" in result.stdout


def test_a_folder_without_the_tables_is_exit_code_2(invoke, tmp_path):
    result = invoke("--data", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {tmp_path}")
    assert len(result.stderr.splitlines()) == 1

"""``transferlens import`` makes a folder that the other commands take, and says what it did."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from transferlens.cli import app

TABLE = "Model,a,b,Avg.\nPre-trained,20,40,30\na,60,30,45\nb,10,80,99\n"


@pytest.fixture
def cli():
    runner = CliRunner()

    def call(*args, code=0):
        result = runner.invoke(app, [str(arg) for arg in args])
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    return call


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text(TABLE, encoding="utf-8")
    return file


def test_an_imported_table_is_a_study_for_every_command(cli, table, tmp_path):
    folder = tmp_path / "study"
    output = cli("import", table, "-o", folder)
    assert "- rows are sources, columns targets: the first column is 'Model'" in output
    assert "the average is given as 99, but the 2 cells give 45" in output
    assert output.splitlines()[-1] == f"{folder}: 2 sources, 2 targets, 1 seed, scores only"
    lines = cli("matrix", folder).splitlines()
    assert lines[1].split() == ["base", "(score)", "20.0", "40.0"]
    assert lines[2].split() == ["a", "[+40.0]", "-10.0"]
    assert lines[3].split() == ["b", "-10.0", "[+40.0]"]
    assert cli("status", folder).startswith("scores (")
    assert cli("plot", folder).strip() == str(folder / "matrix.png")


def test_options_reach_the_importer(cli, table, tmp_path):
    folder = tmp_path / "study"
    cli(
        "import", table, "-o", folder, "--kind", "matrix", "--rows", "target", "--base", "a",
        "--drop", "Pre-trained", "--unit", "percent", "--metric", "f1", "--lower-is-better", "all",
        "--layout", "wide",
    )  # fmt: skip
    lines = cli("matrix", folder).splitlines()
    assert lines[0].split() == ["trained", "on", "a", "b"]
    assert lines[1].split() == ["base", "(score)", "60.0", "10.0"]
    # b on target b: 80 where 10 was, and less is better.
    assert lines[2].split() == ["b", "+30.0", "[-70.0]"]
    assert "a: f1, points, lower is better" in lines


def test_without_a_base_it_says_how_to_see_scores(cli, tmp_path):
    file = tmp_path / "m.csv"
    file.write_text("model,a\nx,0.5\n", encoding="utf-8")
    output = cli("import", file, "-o", tmp_path / "study")
    assert f"transferlens matrix {tmp_path / 'study'} --values score" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--filter", "none"], "--filter belongs to lm-eval, but these are results of kind matrix"),
        (["--name", "x=y"], "--name belongs to lm-eval, mteb, inspect"),
        (["--column", "source"], "--column takes two names with = between them"),
        (["--metric", "a=acc"], "a table takes one metric"),
        (["--metric", "acc", "--metric", "f1"], "one name for all tasks"),
        (["--base", "nobody"], "no source is called 'nobody'"),
    ],
)
def test_an_option_that_cannot_be_obeyed_is_an_error(cli, table, tmp_path, options, message):
    assert message in cli("import", table, "-o", tmp_path / "study", *options, code=2)
    assert not (tmp_path / "study").exists()


def test_a_folder_that_holds_a_study_is_not_overwritten(cli, table, tmp_path):
    cli("import", table, "-o", tmp_path / "study")
    error = cli("import", table, "-o", tmp_path / "study", code=2)
    assert "holds a study already" in error


def test_one_table_at_a_time(cli, table, tmp_path):
    error = cli("import", table, table, "-o", tmp_path / "study", code=2)
    assert "one table at a time" in error

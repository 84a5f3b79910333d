"""Evidence and effects on the command line: stars, a row per cell, what helps and what harms."""

from __future__ import annotations

import csv
import io
import json

import polars as pl
import pytest
from typer.testing import CliRunner

from paired_study import planted_study
from transferlens.cli import app
from transferlens.results import BASE, TransferStudy, write_study
from transferlens.transfer import transfer_effects, transfer_matrix


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "study"
    write_study(planted_study(), path)
    return path


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    names = ("a", "b", "c")
    rows = [{"source": s, "target": t, "score": 0.5} for s in (BASE, *names) for t in names]
    path = tmp_path_factory.mktemp("bare") / "study"
    write_study(TransferStudy.from_scores(pl.DataFrame(rows)), path)
    return path


def cli(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def test_significant_cells_carry_a_star_and_others_do_not(folder):
    rows = [line.split() for line in cli("matrix", folder, "--evidence").splitlines()]
    by_source = {row[0]: row[1:] for row in rows[2:6]}
    starred = {
        (source, "abcd"[at])
        for source, cells in by_source.items()
        for at, cell in enumerate(cells)
        if "*" in cell
    }
    assert starred == {(t, t) for t in "abcd"} | {("a", "b"), ("c", "d")}


def test_a_row_per_cell_follows_with_interval_and_both_p_values(folder):
    lines = cli("matrix", folder, "--evidence").splitlines()
    start = next(i for i, line in enumerate(lines) if "95% interval" in line)
    cells = [line.split() for line in lines[start + 1 : start + 17]]
    assert [(cell[0], cell[1]) for cell in cells] == [(s, t) for s in "abcd" for t in "abcd"]
    cell = transfer_matrix(planted_study()).data.sel(source="a", target="b")
    low, high = 100 * cell["gain_low"].item(), 100 * cell["gain_high"].item()
    assert cells[1][4:8] == [
        f"{100 * cell['gain'].item():+.1f}*",
        f"{low:+.1f}",
        "to",
        f"{high:+.1f}",
    ]
    assert any("training variance unknown" in line for line in lines)


def test_csv_has_every_number_of_every_cell_in_points(folder):
    table = list(
        csv.DictReader(io.StringIO(cli("matrix", folder, "--evidence", "--format", "csv")))
    )
    frame = transfer_matrix(planted_study()).to_frame()
    assert len(table) == frame.height
    assert set(table[0]) == {*frame.columns, "significant"}
    for row, expected in zip(table, frame.iter_rows(named=True), strict=True):
        assert row["unit"] == "points"
        assert float(row["gain"]) == pytest.approx(100 * expected["gain"])
        assert float(row["p_adjusted"]) == pytest.approx(expected["p_adjusted"])
        assert float(row["normalized_gain"]) == pytest.approx(expected["normalized_gain"])


def test_json_has_no_nan_and_says_how_it_was_tested(folder, bare):
    document = json.loads(cli("matrix", folder, "--evidence", "--format", "json", "--strict"))
    assert document["adjust"] == "max-t"
    assert sum(cell["significant"] for cell in document["cells"]) == 6
    without = json.loads(cli("matrix", bare, "--evidence", "--format", "json"))
    assert {cell["p_value"] for cell in without["cells"]} == {None}
    assert "no evidence can be computed" in without["notes"][0]


def test_scores_alone_have_no_star_and_say_what_is_missing(bare):
    output = cli("matrix", bare, "--strict")
    assert "import the per-example results or several seeds" in output
    assert "*]" not in output


def test_one_seed_and_evidence_over_all_seeds_exclude_each_other(folder):
    assert "leave --seed out" in cli("matrix", folder, "--evidence", "--seed", 0, code=2)


def test_effects_print_what_helps_what_harms_and_who_is_one_way(folder):
    sections = cli("effects", folder).split("\n\n")
    helps, harms, pairs = (section.splitlines() for section in sections[:3])
    assert helps[0] == "Helps: 1 of 12 effects on other tasks"
    assert helps[2].split()[:2] == ["a", "b"]
    assert harms[2].split()[:2] == ["c", "d"]
    lost = transfer_effects(transfer_matrix(planted_study())).harms["lost"][0]
    assert harms[2].split()[-1] == f"{lost:.0%}"
    assert {tuple(line.split()[:2]) for line in pairs[2:]} == {("a", "b"), ("c", "d")}
    assert sections[3].startswith("Beyond givers and takers")


def test_rows_beyond_the_top_are_counted(folder):
    assert "and 3 more: --top 0 prints all" in cli("effects", folder, "--top", 1)
    assert "more" not in cli("effects", folder, "--top", 0)


def test_a_smaller_alpha_finds_less(folder):
    assert "Helps: 0 of 12" in cli("effects", folder, "--alpha", 1e-60)


def test_effects_as_csv_and_json_agree(folder):
    table = list(csv.DictReader(io.StringIO(cli("effects", folder, "--format", "csv"))))
    document = json.loads(cli("effects", folder, "--format", "json"))
    pairs = [row for row in table if row["kind"] == "pair"]
    assert [(row["first"], row["second"]) for row in pairs] == [
        (pair["first"], pair["second"]) for pair in document["pairs"]
    ]
    assert [float(row["value"]) for row in pairs] == pytest.approx(
        [pair["difference"] for pair in document["pairs"]]
    )
    assert document["harms"][0]["unit"] == "points"
    assert 0 < document["asymmetry"]["one_way_p_value"] <= 1


def test_effects_of_scores_alone_are_none_and_say_why(bare):
    output = cli("effects", bare)
    assert "Helps: 0 of 0" in output
    assert "no evidence can be computed" in output


def test_the_picture_of_a_study_marks_the_same_cells(folder, tmp_path):
    from transferlens.plots import plot_matrix
    from transferlens.results import open_study

    study = open_study(folder)
    matrix = transfer_matrix(study)
    figure = plot_matrix(study, evidence=matrix)
    starred = [t.get_text() for axes in figure.axes for t in axes.texts if "*" in t.get_text()]
    assert len(starred) == int(matrix.significant().sum()) == 6
    data = plot_matrix(study, evidence=matrix, backend="none")
    assert (data["significant"] == matrix.significant()).all()
    file = tmp_path / "m.svg"
    assert cli("plot", folder, "-o", file).strip() == str(file)

"""The report on the command line: once, for papers, while a study runs, and of one cell."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from report.studies import texts_study
from small_study import N_EXAMPLES, RIGHT, cell_rows, finished_folder
from transferlens.cli import app
from transferlens.results import StudyStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return texts_study(tmp_path_factory.mktemp("cli") / "study").path


def cli(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def test_a_report_is_a_page_with_its_data_beside_it(folder, tmp_path):
    out = cli("report", folder, "-o", tmp_path / "r.html", "--cells", 0)
    assert out.startswith(f"{tmp_path / 'r.html'} (")
    assert "<h1>small</h1>" in (tmp_path / "r.html").read_text("utf-8")
    assert (tmp_path / "r_data" / "cells.parquet").is_file()
    assert "Not finished" not in (tmp_path / "r.html").read_text("utf-8")


def test_by_default_the_page_lies_in_the_study_which_stays_a_study(folder, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(folder, copy)
    cli("report", copy, "--cells", 0)
    assert (copy / "report.html").is_file()
    cli("report", copy, "--cells", 0)
    assert "mood" in cli("matrix", copy)


def test_without_texts_no_example_is_on_the_page_or_in_its_data(folder, tmp_path):
    for name, option in (("with", "--texts"), ("without", "--no-texts")):
        cli("report", folder, "-o", tmp_path / f"{name}.html", option)
    (prompt, *_), *_ = StudyStore(folder).read_examples("mood-texts").select("prompt").iter_rows()
    for name, shown in (("with", True), ("without", False)):
        page = (tmp_path / f"{name}.html").read_text("utf-8")
        data = (tmp_path / f"{name}_data" / "summary.json").read_text("utf-8")
        assert ('<dl class="example">' in page) is shown
        assert ('"prompt"' in data) is shown
    assert "their texts are not shown here" in page
    assert prompt not in page


def test_pictures_for_papers_are_svg_and_pdf_with_their_fonts(folder, tmp_path):
    cli("report", folder, "-o", tmp_path / "r.html", "--cells", 0, "--figures")
    files = {file.name for file in (tmp_path / "r_data").iterdir()}
    assert {"matrix.svg", "matrix.pdf", "scree.pdf", "loadings.svg"} <= files
    assert b"/Type /Font" in (tmp_path / "r_data" / "matrix.pdf").read_bytes()


def test_watching_writes_the_page_again_until_the_last_cell_is_done(tmp_path, monkeypatch):
    store = finished_folder(tmp_path / "study")
    held = [cell for cell in store.plan.cells if cell.source in {"topic", "mood"}]
    for cell in held:
        store.discard_cell(cell.id)
    page, seen = tmp_path / "r.html", []

    def finish_one(_seconds):
        seen.append(page.read_text("utf-8"))
        cell = held.pop()
        row = ("base", "maths", "mood", "topic").index(cell.source)
        right = int(RIGHT[row, ("maths", "mood", "topic").index(cell.target)])
        StudyStore.open(tmp_path / "study").write_cell(
            cell, cell_rows(cell, min(right, N_EXAMPLES))
        )

    monkeypatch.setattr("transferlens.cli.report.time.sleep", finish_one)
    out = cli("report", tmp_path / "study", "-o", page, "--watch", "--cells", 0)
    assert out.count("of 12 cells") == 7
    assert "Not finished: 6 of 12 cells." in seen[0]
    assert "Not finished: 11 of 12 cells." in seen[-1]
    assert "Not finished" not in page.read_text("utf-8")


def test_watching_waits_for_the_first_cell(tmp_path, monkeypatch):
    store = finished_folder(tmp_path / "study")
    kept = {cell.id: store.cell_path(cell).read_bytes() for cell in store.plan.cells}
    for cell in store.plan.cells:
        store.discard_cell(cell.id)

    def finish(_seconds):
        for cell in store.plan.cells:
            store.cell_path(cell).write_bytes(kept[cell.id])

    monkeypatch.setattr("transferlens.cli.report.time.sleep", finish)
    out = cli("report", tmp_path / "study", "-o", tmp_path / "r.html", "--watch", "--cells", 0)
    assert out.splitlines()[0] == "no cell is finished yet"
    assert out.splitlines()[-1].endswith("12 of 12 cells")


def test_a_study_without_any_finished_cell_has_a_page_that_says_so(tmp_path):
    store = finished_folder(tmp_path / "study")
    for cell in store.plan.cells:
        store.discard_cell(cell.id)
    cli("report", tmp_path / "study", "-o", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "Not finished: 0 of 12 cells." in page
    assert "Gains are not known" in page


def test_a_page_of_one_cell_is_written_by_explain(folder, tmp_path):
    out = cli(
        "explain", folder, "mood", "sums", "--linguistics", "none", "--html", tmp_path / "c.html"
    )
    assert out.strip() == str(tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text("utf-8")
    assert "<h1>mood → sums</h1>" in page
    assert "Is this sums number" in page
    assert "a page is of one cell" in cli("explain", folder, "--html", tmp_path / "c.html", code=2)


def test_where_nothing_can_be_written_the_error_is_one_line(folder, tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    error = cli("report", folder, "-o", tmp_path / "file" / "r.html", "--cells", 0, code=2)
    assert error.startswith("Error: ")
    assert error.count("\n") == 1

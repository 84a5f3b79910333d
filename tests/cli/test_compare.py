"""`transferlens compare`, and the section of the report that says the same."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from transferlens.cli import app
from transferlens.explain.replication import compare_all, compare_studies, of_seed
from transferlens.importers import import_matrix
from transferlens.report import Depth
from transferlens.report.page import report_page
from transferlens.report.summary import summarise
from transferlens.report.summary_compare import compare_view, write_comparison
from transferlens.results import open_grid, open_study
from transferlens.testing import Sampling, Structure, simulate_study
from transferlens.transfer import transfer_matrix


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two studies of the same truth, with other examples."""
    root = tmp_path_factory.mktemp("compare")
    for name, seed in (("one", 1), ("two", 2)):
        simulate_study(
            Structure(n_sources=5, n_targets=5, strengths=(0.2,)),
            Sampling(n_examples=60, n_seeds=2),
            path=root / name,
            rng=np.random.default_rng(seed),
        )
    return root / "one", root / "two"


def shown(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


def test_the_command_prints_what_the_analysis_says(folders):
    code, text = shown("compare", *folders, "--traits", 1)
    assert code == 0
    labels = (str(folders[0]), str(folders[1]))
    found = compare_studies(*map(open_study, folders), labels=labels, n_traits=1)
    assert text.startswith(f"{labels[0]} against {labels[1]}\nin both: 5 sources, 5 targets\n")
    for sentence in found.sentences():
        assert f"- {sentence}\n" in text
    row = found.changed().row(0, named=True)
    (line,) = [
        line for line in text.splitlines()
        if line.split()[:2] == [row["source"], row["target"]]
    ]  # fmt: skip
    assert f"{100 * row['difference']:+.1f}" in line.split()


def test_json_has_every_cell_and_no_nan(folders):
    code, text = shown("compare", *folders, "--traits", 1, "--json", "--alpha", 0.2)
    assert code == 0
    document = json.loads(text)
    found = compare_studies(*map(open_study, folders), n_traits=1, level=0.2)
    assert [cell["verdict"] for cell in document["cells"]] == found.cells["verdict"].to_list()
    differences = [cell["difference"] for cell in document["cells"]]
    assert differences == pytest.approx((100 * found.cells["difference"]).to_list())
    assert document["verdicts"] == found.counts()
    assert document["traits"][0]["congruence"] == pytest.approx(found.traits[0].congruence)


def test_two_seeds_of_one_study_are_two_studies(folders):
    code, text = shown("compare", folders[0], folders[0], "--seed", 0, "--seed2", 1, "--traits", 1)
    assert code == 0
    assert text.startswith("simulated, seed 0 against simulated, seed 1\n")
    assert "0 of 25 tested cells changed" in text
    code, text = shown("compare", folders[0], folders[0], "--seed", 5)
    assert (code, text) == (2, "Error: the study has no seed 5; it has 0, 1\n")


def test_the_page_says_what_the_command_says_and_its_data_has_every_cell(folders, tmp_path):
    first, second = (of_seed(open_study(folder), 0) for folder in folders)
    view, found = compare_view(first, second, level=0.05)
    assert [claim.text for claim in view.claims] == list(found.sentences())
    summary = summarise(first, Depth(cells=0))
    page = report_page(summary, compared=view)
    assert '<a href="#compare">Another study</a>' in page
    assert '<section id="compare"' in page
    assert "Cells that changed significantly" in page
    assert 'id="compare"' not in report_page(summary)
    files = write_comparison(found, tmp_path)
    assert [file.name for file, _ in files] == ["comparison.parquet", "comparison.csv"]
    assert pl.read_parquet(tmp_path / "comparison.parquet").equals(found.cells)


def test_a_study_with_nothing_in_common_is_one_line_of_the_page(folders):
    first = open_study(folders[0])
    other = type(first).from_scores(
        pl.DataFrame({"source": ["base", "x"], "target": ["y", "y"], "score": [0.1, 0.2]})
    )
    view, found = compare_view(first, other, level=0.05)
    assert found is None
    assert view.why.startswith("The studies cannot be compared: the studies simulated and study")


@pytest.fixture
def grid(folders, tmp_path):
    """The two studies and the first once more, as a grid."""
    for name, folder in zip("abc", (*folders, folders[0]), strict=True):
        shutil.copytree(folder, tmp_path / "grid" / name)
    record = {"format": "transferlens.grid", "version": 1, "name": "g", "variants": ["a", "b", "c"]}
    (tmp_path / "grid" / "grid.json").write_text(json.dumps(record), encoding="utf-8")
    return tmp_path / "grid"


def test_a_grid_compares_all_pairs_as_each_pair_alone(grid, folders):
    code, text = shown("compare", grid, "--traits", 1, "--json")
    assert code == 0
    document = json.loads(text)
    assert document["studies"] == ["a", "b", "c"]
    alone = compare_studies(*map(open_study, folders), n_traits=1)
    rows = [r for r in document["agreement"] if r["scope"] == "other tasks"]
    assert [(r["first"], r["second"]) for r in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert rows[0]["r"] == pytest.approx(alone.gains[0].r)
    assert rows[0]["low"] == pytest.approx(alone.gains[0].low)
    # A study agrees with its copy wholly, and Holm's factors are 3, 2, 1.
    assert rows[1]["r"] == pytest.approx(1.0)
    p = np.array([r["p_value"] for r in rows])
    expected = np.maximum.accumulate(np.sort(p) * [3, 2, 1])
    assert sorted(r["p_adjusted"] for r in rows) == pytest.approx(np.minimum(expected, 1.0))
    assert document["traits"][1]["congruence"] == pytest.approx(1.0)


def test_a_gain_is_everywhere_only_where_every_study_has_it(grid):
    studies = open_grid(grid).studies()
    found = compare_all(studies, n_traits=1, n_resamples=99)
    matrices = {name: transfer_matrix(study).to_frame() for name, study in studies.items()}
    for row in found.cells.iter_rows(named=True):
        signs = []
        for frame in matrices.values():
            cell = frame.row(
                by_predicate=(pl.col.source == row["source"]) & (pl.col.target == row["target"]),
                named=True,
            )
            signs.append(np.sign(cell["gain"]) if cell["p_adjusted"] <= 0.05 else 0.0)
        assert (row["n_helps"], row["n_harms"]) == (signs.count(1.0), signs.count(-1.0))
        assert (row["verdict"] == "everywhere") == (set(signs) in ({1.0}, {-1.0}))
    assert found.cells.height == 25


def test_commands_for_one_study_name_the_variants_and_status_lists_them(grid):
    code, text = shown("matrix", grid)
    assert code == 2
    assert text == (
        f"Error: {grid} is a grid of studies; give one of them: {grid}/a, {grid}/b, {grid}/c\n"
    )
    code, text = shown("status", grid)
    assert code == 0
    assert "a grid of 3 studies" in text
    code, text = shown("check", grid)
    assert code == 0
    assert text.count("Nothing is wrong") == 3
    assert shown("compare", grid / "a")[1].startswith(f"Error: {grid / 'a'} is one study")


def test_methods_and_bases_of_a_published_matrix_are_compared_together(shared):
    folder = shared / "matrices" / "fusion_bench"
    names = {"lora": "base_glue_lora16", "full": "base_glue_fullft", "large": "large_glue_lora16"}
    studies = {
        name: import_matrix(
            folder / f"flan_t5_{file}.csv",
            base="Pretrained" if name == "large" else "Pre-trained",
        )
        for name, file in names.items()
    }
    found = compare_all(studies, n_traits=1, n_resamples=199)
    rows = found.agreement.filter(scope="other tasks")
    alone = compare_studies(studies["lora"], studies["full"], n_traits=1, n_resamples=199)
    assert rows["r"][0] == pytest.approx(alone.gains[0].r)
    # LoRA against full fine-tuning, base against large, and what differs in both.
    assert rows["r"].to_numpy() == pytest.approx([0.57, 0.69, 0.26], abs=0.01)
    assert found.cells["verdict"].unique().to_list() == ["not tested"]
    assert found.sentences()[-1].startswith("Which gains replicate in all studies cannot be")

"""`transferlens compare`, and the section of the report that says the same."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from transferlens.cli import app
from transferlens.explain.replication import compare_studies, of_seed
from transferlens.report import Depth
from transferlens.report.page import report_page
from transferlens.report.summary import summarise
from transferlens.report.summary_compare import compare_view, write_comparison
from transferlens.results import open_study
from transferlens.testing import Sampling, Structure, simulate_study


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

"""Published numbers come out again, and a falsified one is caught."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files

import numpy as np
import polars as pl
import pytest

from transferlens.errors import DataError
from transferlens.verify import verify
from transferlens.verify.fusion import (
    full_figures,
    fusion_averages,
    fusion_copies,
    lora_figures,
)
from transferlens.verify.paper import paper_copies, paper_figures, shipped_paper
from transferlens.verify.prompts import prompt_figures
from transferlens.verify.scaling import scaling_figures
from transferlens.verify.tables import numbers, shipped_table

# What the README of the published matrices asks for, as it is printed there.
ASKED = {
    *("0.8555", "0.8390", "0.5780", "0.7715"),
    *("75.735160", "78.957422", "73.103128", "-2.02", "0.357", "-54.8", "13.1", "0.812"),
    *("0.808", "0.566", "0.760", "0.530", "0.871", "0.638", "0.834", "0.6589", "0.3271"),
    *("0.8100", "0.1166", "0.0401", "0.7546", "0.148", "0.0491"),
}


@pytest.fixture
def matrices(shared, tmp_path):
    """A copy of the published matrices that a test may falsify."""
    folder = tmp_path / "matrices"
    shutil.copytree(shared / "matrices", folder, copy_function=shutil.copyfile)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    return folder


def failed(figures):
    return {figure.quantity for figure in figures if not figure.agrees}


def shipped_copies(folder):
    tables = map(shipped_table, ("fusion_bench_full", "fusion_bench_lora16"))
    return fusion_copies(folder, *tables)


def replaced(table, row, column, value):
    """Return a table with one cell changed."""
    cells = table[column].to_list()
    cells[row] = str(value)
    return table.with_columns(pl.Series(column, cells))


def test_every_shipped_figure_agrees_and_what_is_left_out_is_named():
    found = verify()
    assert found.failed == ()
    assert len(found.figures) >= 35
    assert len(found.left_out) == 3


def test_with_the_matrices_every_figure_that_was_asked_for_agrees(shared):
    found = verify(shared / "matrices")
    assert found.failed == ()
    assert found.left_out == ()
    assert {figure.published for figure in found.figures} >= ASKED


def test_confusion_counts_give_the_accuracies_by_hand(shared):
    _, _, confusion = shipped_paper()
    file = shared / "matrices" / "paper_2509_13624" / "confusion_matrices_fig.json"
    given = {name: np.array(one["matrix"]) for name, one in json.loads(file.read_text()).items()}
    by_hand = [np.trace(counts) / counts.sum() for counts in given.values()]
    ours = [
        figure.ours
        for figure in paper_figures(*shipped_paper())
        if figure.quantity.startswith("accuracy")
    ]
    assert ours == by_hand
    assert confusion["count"].cast(pl.Int64).sum() == sum(one.sum() for one in given.values())


def test_gains_and_the_first_component_agree_with_plain_numpy():
    table = shipped_table("fusion_bench_lora16")
    scores = numbers(table, table.columns[1:-1])
    gains = scores[1:] - scores[0]
    others = gains[~np.eye(8, dtype=bool)]
    singular = np.linalg.svd(gains - gains.mean(axis=0), compute_uv=False) ** 2
    ours = {figure.quantity: figure.ours for figure in lora_figures(table)}
    assert ours["mean gain on other tasks"] == pytest.approx(others.mean())
    assert ours["share of other tasks that gain"] == pytest.approx((others > 0).mean())
    assert ours["variance explained by the first component"] == pytest.approx(
        singular[0] / singular.sum()
    )


def test_a_loading_of_the_wrong_sign_is_caught():
    loadings, weights, confusion = shipped_paper()
    wrong = replaced(loadings, 0, "GSM8K", -0.27)
    assert "loadings: largest product of two" in failed(paper_figures(wrong, weights, confusion))


def test_weights_that_are_u_times_s_are_caught():
    loadings, weights, confusion = shipped_paper()
    scaled = weights.with_columns(
        (pl.col(name).cast(pl.Float64) * size).cast(pl.String)
        for name, size in zip(weights.columns[1:], (4, 3, 2, 1), strict=True)
    )
    caught = failed(paper_figures(loadings, scaled, confusion))
    assert "row weights: largest norm of a component" in caught


def test_weights_of_a_matrix_that_was_not_centred_are_caught():
    loadings, weights, confusion = shipped_paper()
    shifted = weights.with_columns(
        (pl.col(name).cast(pl.Float64) + 0.1).cast(pl.String) for name in weights.columns[1:]
    )
    caught = failed(paper_figures(loadings, shifted, confusion))
    assert "row weights: largest sum of a column" in caught


def test_a_falsified_count_is_caught():
    loadings, weights, confusion = shipped_paper()
    wrong = replaced(confusion, 0, "count", 229)
    caught = failed(paper_figures(loadings, weights, wrong))
    assert caught == {"accuracy, IMDB adapter on Flipkart"}


@pytest.mark.parametrize("row", [0, 3, 8])
def test_a_falsified_cell_does_not_match_its_printed_average(row):
    table = shipped_table("fusion_bench_full")
    value = float(table["GLUE-QQP"][row]) + 0.001
    name = "base" if row == 0 else table["Model"][row]
    caught = failed(full_figures(replaced(table, row, "GLUE-QQP", value)))
    assert f"average of {name}" in caught


def test_without_its_outlier_another_cell_is_named_and_the_figures_differ():
    table = shipped_table("fusion_bench_lora16")
    figures = list(lora_figures(replaced(table, 8, "GLUE-MNLI", 54.0)))
    flagged = {figure.quantity: figure.ours for figure in figures}
    assert flagged["cell that makes the first component"] == "GLUE-MNLI → GLUE-MNLI"
    assert {
        "cell that makes the first component",
        "variance explained by the first component",
        "worst gain on another task",
    } <= failed(figures)


@pytest.mark.parametrize(
    "forgery",
    [
        (
            paper_copies,
            "paper_2509_13624/pca_loadings_fig.csv",
            "PC1,-0.24",
            "PC1,-0.25",
            {"loadings: cells that differ from the shipped copy"},
        ),
        (
            shipped_copies,
            "fusion_bench/flan_t5_base_glue_lora16.csv",
            "39.9",
            "39.8",
            {"cells that differ from the shipped copy"},
        ),
        (
            fusion_averages,
            "fusion_bench/gpt2_glue_fullft.csv",
            "76.8",
            "86.8",
            {"gpt2_glue_fullft: printed averages, largest error"},
        ),
        (
            prompt_figures,
            "prompt_transferability/target_x_source_Roberta.csv",
            "0.6589",
            "0.6859",
            {
                "Roberta: score of MNLI → MRPC",
                "Roberta: relative score between types of tasks",
            },
        ),
        (
            scaling_figures,
            "obs_scaling/base_llm_benchmark_eval_first_commit.csv",
            "0.1448066717210007",
            "0.9448066717210007",
            {
                f"variance explained by component {at}, {what}"
                for at in (1, 2, 3)
                for what in ("centred", "standardised")
            },
        ),
    ],
)
def test_a_falsified_number_in_the_given_folder_is_caught(matrices, forgery):
    figures, name, old, new, caught = forgery
    file = matrices / name
    text = file.read_text()
    assert old in text
    assert failed(figures(matrices)) == set()
    file.write_text(text.replace(old, new, 1))
    assert failed(figures(matrices)) == caught


def test_prompts_read_with_rows_as_sources_would_be_caught(matrices):
    file = matrices / "prompt_transferability" / "target_x_source_RobertaLarge.csv"
    table = pl.read_csv(file)
    flipped = table.transpose(include_header=True, header_name="target", column_names="target")
    flipped.write_csv(file)
    caught = failed(prompt_figures(matrices))
    assert "RobertaLarge: relative score between types of tasks" in caught


def test_a_missing_table_is_named(matrices):
    file = matrices / "obs_scaling" / "base_llm_benchmark_eval_first_commit.csv"
    file.unlink()
    with pytest.raises(DataError, match=r"first_commit\.csv is missing"):
        list(scaling_figures(matrices))
    with pytest.raises(DataError, match="is no folder"):
        verify(matrices / "nowhere")


def test_a_cell_that_is_no_number_is_named(matrices):
    file = matrices / "fusion_bench" / "gpt2_glue_fullft.csv"
    file.write_text(file.read_text().replace("76.8", "n/a", 1))
    with pytest.raises(DataError, match="does not hold the numbers"):
        list(fusion_averages(matrices))


def test_the_licence_of_the_shipped_tables_lies_beside_them():
    facts = files("transferlens.verify").joinpath("facts")
    assert "Copyright (c) 2024 Anke Tang" in facts.joinpath("fusion_bench_LICENSE.txt").read_text()
    said = facts.joinpath("README.md").read_text()
    shipped = {file.name for file in facts.iterdir()} - {"README.md"}
    assert all(name in said for name in shipped)

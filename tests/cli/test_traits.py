"""``transferlens traits`` says how many traits there are, what they are, and what is doubtful."""

from __future__ import annotations

import csv
import io
import json
import sys

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from plots.planted import FAMILIES, planted_study
from transferlens.cli import app
from transferlens.cli.console import print_table
from transferlens.results import TransferStudy, open_study, write_study
from transferlens.traits import decompose_traits

QUICK = ("--bootstrap", 40)


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
    return planted_study(tmp_path_factory.mktemp("study") / "planted")


@pytest.fixture(scope="module")
def glue(shared, tmp_path_factory):
    """Flan-T5 base with LoRA on GLUE: the matrix in which one cell makes a component."""
    file = shared / "matrices" / "fusion_bench" / "flan_t5_base_glue_lora16.csv"
    wide = pl.read_csv(file).drop("Average")
    rows = wide.unpivot(index="Model", variable_name="target", value_name="score").select(
        pl.col("Model").replace("Pre-trained", "base").alias("source"),
        "target",
        pl.col("score") / 100,
    )
    path = tmp_path_factory.mktemp("glue") / "study"
    write_study(TransferStudy.from_scores(rows), path)
    return path


@pytest.fixture(scope="module")
def found(folder):
    """What the library says about the same study, with the same seed."""
    return decompose_traits(open_study(folder), rng=np.random.default_rng(0), n_resamples=40)


@pytest.fixture(scope="module")
def text(folder):
    return CliRunner().invoke(app, ["traits", str(folder), "--bootstrap", "40"]).stdout


def section(text, head):
    """Rows of the table whose header begins with ``head``, split at blanks."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(head))
    rows = []
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        rows.append(line.split())
    return rows


def test_it_says_how_many_traits_and_why_and_names_the_planted_ones(text):
    lines = text.splitlines()
    assert lines[0].startswith("2 traits of 12 sources × 8 targets by pca explain ")
    assert lines[1].startswith("number of traits: parallel analysis ")
    named = [line for line in lines if line.startswith("trait ")]
    for at, family in enumerate(FAMILIES[:2]):
        assert named[at].startswith(f"trait {at + 1}: {family} (")
        assert "; for: task_" in named[at]
        assert "explains" in named[at]
        assert "congruence over examples and seeds" in named[at]


def test_what_it_says_is_what_the_library_found(text, found):
    assert tuple(text.split("\n\n", maxsplit=1)[0].splitlines()) == found.summary()


def test_loadings_stand_with_both_intervals_and_a_star_where_they_exclude_0(text, found):
    rows = section(text, "loading of")
    assert [row[0] for row in rows] == list(found.targets)
    for at, row in enumerate(rows):
        assert row[1] == found.families[at]
        assert row[2] == f"{found.decomposition.loadings[at, 0]:+.1f}"
        for place, stability in ((3, found.over_examples), (5, found.over_sources)):
            assert row[place] == f"[{stability.low[at, 0]:+.1f},"
            star = "*" if stability.significant[at, 0] else ""
            assert row[place + 1] == f"{stability.high[at, 0]:+.1f}]{star}"


def test_scores_stand_for_each_adapter(text, found):
    rows = section(text, "score of")
    for name, numbers, row in zip(found.sources, found.decomposition.scores, rows, strict=True):
        assert row == [name, *(f"{number:+.2f}" for number in numbers)]


def test_the_same_seed_prints_the_same_text_and_another_one_other_intervals(cli, folder, text):
    assert cli("traits", folder, *QUICK, "--seed", 0) == text
    assert cli("traits", folder, *QUICK, "--seed", 5) != text


def test_csv_has_the_loadings_with_their_intervals(cli, folder, found):
    rows = list(csv.DictReader(io.StringIO(cli("traits", folder, *QUICK, "--format", "csv"))))
    assert len(rows) == 8 * 2
    for row in rows:
        at = (found.targets.index(row["target"]), int(row["trait"]) - 1)
        assert float(row["loading"]) == pytest.approx(found.decomposition.loadings[at])
        assert float(row["low_over_sources"]) == pytest.approx(found.over_sources.low[at])


def test_json_has_everything(cli, folder, found):
    document = json.loads(cli("traits", folder, *QUICK, "--format", "json"))
    assert document["n_traits"] == 2
    assert document["number"]["cross_validation"] == 2
    assert document["summary"] == list(found.summary())
    first = document["traits"][0]
    assert first["named"]["name"] == "arithmetic"
    assert set(first["named"]["for"]) == {f"task_{at}" for at in range(0, 8, 2)}
    assert first["congruence_over_sources"] == pytest.approx(found.over_sources.median[0])
    assert document["communality"]["task_3"] == pytest.approx(found.decomposition.communalities[3])
    assert len(document["scores"]) == 12 * 2
    weights = np.array(list(document["pca"]["weights_u"].values()))
    np.testing.assert_allclose(weights.T @ weights, np.eye(2), atol=1e-12)
    groups = [set(group["members"]) for group in document["groups_of_targets"]]
    assert {f"task_{at}" for at in range(0, 8, 2)} in groups


def test_a_rotated_factor_analysis_is_one_command(cli, folder):
    options = ("--method", "minres", "--rotation", "oblimin", "--components", 2)
    text = cli("traits", folder, *QUICK, *options)
    assert text.startswith("2 traits of 12 sources × 8 targets by minres, oblimin rotation")
    assert "2 traits were asked for; the rules would keep:" in text
    assert "in SD of the task" in text


def test_the_user_can_name_a_trait(cli, folder):
    text = cli("traits", folder, *QUICK, "--name", "2=mood")
    assert "trait 2: mood (named by the user)" in text
    assert "trait 1: arithmetic" in text


def test_the_papers_convention_is_one_option(cli, folder):
    text = cli("traits", folder, *QUICK, "--paper")
    assert text.startswith("4 traits of 13 sources × 8 targets by pca")
    scores = open_study(folder).scores.mean("seed")
    table = np.vstack([scores["base_score"].values, scores["score"].values])
    left, _, right = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    for head, theirs, names in (
        ("weight (U)", left[:, :4], ["base", *scores["source"].values]),
        ("axis (V)", right.T[:, :4], list(scores["target"].values)),
    ):
        rows = section(text, head)
        assert [row[0] for row in rows] == names
        ours = np.array([[float(x) for x in row[1:]] for row in rows])
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=0.0051)


def test_missing_cells_are_filled_and_said(cli, folder, tmp_path):
    study = open_study(folder)
    rows = study.score_rows.filter(
        ~((pl.col("source") == "adapter_3") & (pl.col("target") == "task_1"))
    )
    write_study(TransferStudy.from_scores(rows, targets=study.targets), tmp_path / "gap")
    document = json.loads(cli("traits", tmp_path / "gap", *QUICK, "--format", "json"))
    assert any("1 of 96 cells are missing and were filled by" in x for x in document["summary"])
    assert document["filled_cells"] == [["adapter_3", "task_1"]]


def test_scores_alone_say_what_they_cannot_show(cli, tmp_path):
    folder = planted_study(tmp_path / "scores", scores_only=True)
    text = cli("traits", folder, *QUICK)
    assert "stability over examples and seeds is unknown: only scores were given" in text
    assert "over examples " not in text.split("\n\n")[1]


def test_one_cell_that_makes_a_trait_is_named(cli, glue):
    options = ("--components", 2, "--format", "json", "--transform", "gain")
    document = json.loads(cli("traits", glue, *QUICK, *options))
    warning = "warning: trait 1 is made by one cell: cell GLUE-STSB → GLUE-MNLI"
    assert any(line.startswith(warning) for line in document["summary"])
    # Published: the first component of the raw gains has 81.2 % of the variance.
    assert document["traits"][0]["explained"] == pytest.approx(0.812, abs=5e-4)


def test_too_few_rows_to_tell_are_said(cli, glue):
    text = cli("traits", glue, *QUICK)
    assert "8 rows are too few to tell how many traits there are" in text
    assert "no trait is supported" in text


@pytest.mark.parametrize(
    "what", ["loadings", "scores", "scree", "biplot", "dendrogram", "source-dendrogram"]
)
def test_plot_draws_each_picture(cli, folder, tmp_path, what):
    file = tmp_path / f"{what}.svg"
    text = cli("traits", folder, *QUICK, "--plot", file, "--what", what)
    assert str(file) not in text
    assert file.read_bytes().startswith(b"<?xml")


def test_the_command_plot_draws_traits_too_and_the_matrix_by_default(cli, tmp_path):
    folder = planted_study(tmp_path / "own", scores_only=True)
    assert cli("plot", folder, "--what", "scree").strip() == str(folder / "scree.png")
    assert (folder / "scree.png").read_bytes()[1:4] == b"PNG"
    assert cli("plot", folder).strip() == str(folder / "matrix.png")
    # A picture of a folder is no foreign file in it.
    assert "8 targets" in cli("traits", folder, *QUICK)
    assert "--seed shows one seed of the matrix" in cli(
        "plot", folder, "--what", "scree", "--seed", 0, code=2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--components", 40), "40 "),
        (("--paper", "--method", "ml"), "--paper decides what --method asks for"),
        (("--paper", "--no-base-row"), "--paper decides what --no-base-row asks for"),
        (("--name", "maths"), "--name 'maths' is no NUMBER=NAME, such as 1=arithmetic"),
        (("--name", "7=maths"), "a name is given for trait 7; there are traits 1 to 2"),
        (("--method", "nmf", "--rotation", "varimax"), "no freedom of rotation"),
        (("--components", 1, "--plot", "x.png", "--what", "biplot"), "a biplot needs two traits"),
        (("--plot", "x.bmp"), "pictures are written as .png, .svg, .pdf"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(cli, folder, options, message):
    error = cli("traits", folder, *QUICK, *options, code=2)
    assert error.startswith("Error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_study_too_small_for_traits_says_so(cli, tmp_path):
    folder = planted_study(tmp_path / "tiny", rows=3, columns=3, scores_only=True)
    error = cli("traits", folder, code=2)
    assert "3 sources × 3 targets are too few for traits" in error


def test_a_folder_that_is_no_study_is_one_line(cli, tmp_path):
    error = cli("traits", tmp_path, code=2)
    assert error == f"Error: {tmp_path} is not a study folder: it has no manifest.json\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_numbers_end_below_each_other_whatever_mark_follows_them(capsys, monkeypatch, terminal):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    print_table(
        ["name", "gain", "n"],
        [["a", "[-9.6*]", "7"], ["long name", "+21.2*", "1,000"], ["b", "0.3", "-"]],
    )
    assert capsys.readouterr().out.splitlines() == [
        "name          gain      n",
        "a          [-9.6*]      7",
        "long name  +21.2*   1,000",
        "b            0.3        -",
    ]

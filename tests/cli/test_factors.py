"""Factors of the data on the command line: tables, JSON, cards, and studies that know less."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from factor_study import rows, scores, study_of_gains, written_study
from transferlens.cli import app
from transferlens.explain.cards import MEASURES, study_cards
from transferlens.explain.factors import factor_values
from transferlens.results import StudyStore, TransferStudy, write_study

N = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a study whose gains follow how many of the target's words a source has."""
    root = tmp_path_factory.mktemp("factors")
    path = root / "study"
    study = written_study(path, np.zeros((N, N)), rng=np.random.default_rng(11))
    x = factor_values(study, study_cards(study, cache=root / "cache"))["vocabulary_overlap"]
    noise = 0.01 * np.random.default_rng(0).standard_normal((N, N))
    names = [info.name for info in study.sources]
    gain = 0.05 * x / x[~np.eye(N, dtype=bool)].std() + noise
    table = scores(gain, names=names, targets=names)
    StudyStore.open(path).write_scores(TransferStudy.from_scores(table).score_rows)
    return path


def cli(*args, code=0):
    result = CliRunner().invoke(app, ["factors", *(str(arg) for arg in args)])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def quick(folder, *args):
    return cli(folder, "--permutations", 199, "--cache", folder.parent / "cache", *args)


def test_the_planted_factor_leads_the_table_in_points(folder):
    lines = quick(folder).splitlines()
    assert lines[0] == f"{N} sources × {N} targets: {N * (N - 1)} gains on other tasks"
    assert lines[2].split()[:3] == ["trained", "on", "rows"]
    head = next(at for at, line in enumerate(lines) if line.startswith("factor "))
    first = lines[head + 1].split()
    assert first[:3] == ["vocabulary_overlap", "surface", "pair"]
    assert first[3].endswith("*")
    assert float(first[3].strip("+*")) == pytest.approx(5.0, abs=0.7)
    assert any(line.startswith("not tested, the same for every source: size") for line in lines)
    assert any("sources find a factor of theirs with 80 % power" in line for line in lines)
    assert any("surface" in line and "sources held out" in line for line in lines)


def test_json_holds_every_number_and_the_same_seed_gives_the_same(folder):
    text = quick(folder, "--json")
    document = json.loads(text)
    by_name = {row["factor"]: row for row in document["factors"]}
    assert by_name["vocabulary_overlap"]["coefficient"] == pytest.approx(0.05, abs=0.007)
    assert by_name["vocabulary_overlap"]["p_adjusted"] <= 0.05
    assert by_name["size"]["p_value"] is None
    assert document["comparison"]["verdict"] in {"surface", "cannot tell"}
    assert document["comparison"]["surface"]["r2"] > document["comparison"]["hidden"]["r2"]
    assert document["cards"]["task_03"]["values"]["n_rows"] == 60
    assert text == quick(folder, "--json")


def test_cards_print_every_number_of_every_dataset(folder):
    lines = quick(folder, "--cards").splitlines()
    assert lines[0].split()[:3] == ["trained", "on", "task_00"]
    assert [line.split(" ")[0] for line in lines[1 : len(MEASURES) + 1]] == [
        measure.name for measure in MEASURES
    ]
    assert lines[1].split()[2:] == ["60"] * N
    document = json.loads(quick(folder, "--cards", "--json"))
    assert set(document) == {"sources", "targets", "notes"}
    card = document["targets"]["task_01"]
    assert card["values"]["base_nll"] is None
    assert "likelihood" in card["reasons"]["base_nll"]
    assert card["values"]["label_entropy"] <= 1.0


def test_named_factors_stand_alone_or_in_one_model(folder):
    named = ("--factor", "vocabulary_overlap", "--factor", "linguistic_distance")
    document = json.loads(quick(folder, *named, "--json"))
    assert [row["factor"] for row in document["factors"]] == [named[1], named[3]]
    assert document["comparison"] is None
    assert "the other named factors held fixed" in quick(folder, *named, "--together")
    message = cli(folder, *named, "--factor", "style_similarity", "--together", code=2)
    assert message.startswith("Error: 3 factors at once are too many for 10 sources: at most 2")
    assert "Did you mean 'label_skew'" in cli(folder, "--factor", "label_skw", code=2)


def test_a_bare_matrix_says_in_one_line_what_is_missing_and_takes_files(tmp_path):
    rng = np.random.default_rng(1)
    write_study(study_of_gains(0.1 * rng.standard_normal((6, 6))), tmp_path / "study")
    lines = quick(tmp_path / "study").splitlines()
    assert sum(line.startswith("training rows not known: task_00") for line in lines) == 1
    assert "(--rows SOURCE=FILE)" in " ".join(lines)
    assert "not tested, not known of any source: all 21 factors" in lines
    assert not any(line.startswith("factor ") for line in lines)
    given = []
    for at in range(6):
        file = tmp_path / f"task_{at:02d}.jsonl"
        rows(rng).drop("gold").write_ndjson(file)
        given += ["--rows", f"task_{at:02d}={file}"]
    lines = quick(tmp_path / "study", *given).splitlines()
    assert any(line.startswith("label_skew ") for line in lines)
    assert not any(line.startswith("training rows not known") for line in lines)
    given += [part.replace("--rows", "--examples") for part in given]
    lines = quick(tmp_path / "study", *given).splitlines()
    assert any(line.startswith("vocabulary_overlap ") for line in lines)
    assert any("whether surface or hidden" in line or "held out" in line for line in lines)
    assert "write SOURCE=FILE" in cli(tmp_path / "study", "--rows", "x", code=2)
    unknown = cli(tmp_path / "study", "--rows", "task_9=x", code=2)
    assert "the study has no source 'task_9'. Did you mean" in unknown
    missing = cli(tmp_path / "study", "--rows", f"task_00={tmp_path / 'no.csv'}", code=2)
    assert "no.csv is no file that can be read" in missing

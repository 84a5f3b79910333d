"""The story of a cell, and the most surprising cells, on the command line."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from paired_study import planted_study
from transferlens.cli import app
from transferlens.explain import MECHANISMS
from transferlens.results import (
    BASE,
    SourceInfo,
    StudyStore,
    TargetInfo,
    TransferStudy,
    write_study,
)
from transferlens.testing import Behaviour, simulate_mechanisms


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Keep features out of the user's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    planted = simulate_mechanisms(
        Behaviour(skill=0.8, bias=2.5), {"flipkart": Behaviour(skill=0.8)},
        rng=np.random.default_rng(0), n_examples=1000,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("cell") / "study"
    write_study(planted.study, path)
    return path


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """Return four tasks of two families: a helps b, of the other one; c harms d, of its own."""
    study = planted_study()
    family = {"a": "words", "b": "sums", "c": "sums", "d": "sums"}
    made = TransferStudy.from_predictions(
        study.predictions.collect(),
        targets=[TargetInfo(name=n, family=f, ceiling=1.0) for n, f in family.items()],
        sources=[SourceInfo(name=n) for n in family],
    )
    path = tmp_path_factory.mktemp("families") / "study"
    write_study(made, path)
    return path


def cli(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def test_the_story_names_the_planted_cause(folder):
    lines = cli("explain", folder, "flipkart", "task").splitlines()
    assert lines[0].startswith("flipkart gains +")
    assert "from which labels it prefers" in lines[0]
    assert any(line.startswith("labels: answers ") and ", gold " in line for line in lines)
    assert any(line.startswith("confusions: takes 'no' for 'yes' in ") for line in lines)
    assert any("training data not known" in line for line in lines)
    assert any(line.startswith("linguistics: the texts of 'task' are not stored") for line in lines)


def test_the_matrix_of_both_models_is_printed_in_percent_of_each_gold(folder):
    document = json.loads(cli("explain", folder, "flipkart", "task", "--json"))["confusion"]
    lines = cli("explain", folder, "flipkart", "task", "--linguistics", "none").splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("gold (examples)"))
    assert lines[at].split()[-3:] == ["adapter", "no", "yes"]  # all answers can be read
    for row, gold in enumerate(document["golds"]):
        base, own = (document[f"{model}_by_gold"][row][0] for model in ("base", "adapter"))
        assert lines[at + 1 + row].startswith(f"{gold} ({sum(document['adapter'][row]):g})")
        assert f"{base:.0%} -> {own:.0%}" in lines[at + 1 + row]


def test_json_holds_the_numbers_behind_the_story(folder):
    document = json.loads(cli("explain", folder, "flipkart", "task", "--json"))
    parts = document["attribution"]
    assert sum(parts[name] for name in MECHANISMS) == pytest.approx(parts["gain"])
    assert parts["gain"] == pytest.approx(document["evidence"]["gain"])
    assert parts["prior"] > 0.8 * parts["gain"]
    counts = np.array(document["confusion"]["adapter"])
    assert counts.sum() == 1000
    assert np.trace(counts) / 1000 == pytest.approx(document["evidence"]["score"])
    assert document["labels"]["shift_from_source"] is None
    assert set(document["agreement"]["adapter"]) >= {"kappa", "kappa_low", "kappa_high", "mcc"}
    assert len(document["examples"]["gained"]) == 20


def test_answers_that_cannot_be_read_are_a_column_of_the_printed_matrix(tmp_path):
    planted = simulate_mechanisms(
        Behaviour(readable=0.5), {"s": Behaviour()}, rng=np.random.default_rng(0), n_examples=200
    )
    write_study(planted.study, tmp_path / "study")
    lines = cli("explain", tmp_path / "study", "s", "task").splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("gold (examples)"))
    assert lines[at].endswith("<unreadable>")
    rows = planted.study.predictions.collect()
    base = rows.filter(rows["source"] == BASE, rows["gold"] == "no")["prediction"]
    assert f"{base.is_null().mean():.0%} -> " in lines[at + 1].split("  ")[-1]
    assert any(line.startswith("format: ") and "answers can be read" in line for line in lines)


def test_json_holds_every_line_that_is_printed(folder):
    printed = cli("explain", folder, "flipkart", "task").splitlines()
    document = json.loads(cli("explain", folder, "flipkart", "task", "--json"))
    said = {document["sentence"], *document["lines"], *document["notes"], ""}
    rest = [line for line in printed if line not in said]
    assert len(rest) == 1 + len(document["confusion"]["golds"])


def test_the_list_says_once_for_the_study_what_skew_and_confusions_do(tmp_path):
    rng = np.random.default_rng(0)
    skews = dict(zip("abcdef", (0.5, 0.6, 0.7, 0.8, 0.9, 0.97), strict=True))
    # What an adapter prefers is what its training data hold more of.
    adapters = {name: Behaviour(bias=6.0 * (share - 0.5)) for name, share in skews.items()}
    rows = [
        simulate_mechanisms(Behaviour(), adapters, rng=rng, n_examples=300)
        .study.predictions.collect()
        .with_columns(target=pl.lit(target))
        for target in ("t", "u")
    ]
    sources = [SourceInfo(name=name, examples_id=f"{name}-1") for name in adapters]
    made = TransferStudy.from_predictions(pl.concat(rows), sources=sources)
    write_study(made, tmp_path / "study")
    store = StudyStore.open(tmp_path / "study")
    for name, share in skews.items():
        labels = ["yes"] * round(100 * share) + ["no"] * round(100 * (1 - share))
        rows = {"example": range(100), "prompt": [f"Is it {n}?" for n in range(100)]}
        store.write_examples(f"{name}-1", pl.DataFrame({**rows, "gold": labels}))
    lines = cli("explain", tmp_path / "study").splitlines()
    document = json.loads(cli("explain", tmp_path / "study", "--json"))
    assert document["skew"]["n_sources"] == 6
    assert document["skew"]["p_value"] < 0.05
    assert document["skew"]["sentence"] in lines
    assert lines.count(document["skew"]["sentence"]) == 1
    habit = document["habits"][0]
    assert (habit["gold"], habit["answer"], habit["targets"]) == ("no", "yes", 2)
    assert any(line.split()[:3] == [habit["source"], "no", "yes"] for line in lines)


def test_the_same_seed_tells_the_same_story_and_another_the_same_gain(folder):
    first, again, other = (
        json.loads(cli("explain", folder, "flipkart", "task", "--json", "--seed", seed))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first["attribution"]["gain"] == other["attribution"]["gain"]
    assert first["attribution"]["gain_low"] != other["attribution"]["gain_low"]


def test_unknown_names_are_answered_with_near_ones(folder):
    assert "Did you mean 'flipkart'?" in cli("explain", folder, "flipcart", "task", code=2)
    assert "Did you mean 'task'?" in cli("explain", folder, "flipkart", "tasks", code=2)
    assert "name the task as well" in cli("explain", folder, "flipkart", code=2)


def test_surprising_are_help_between_families_and_harm_within_one(families):
    lines = cli("explain", families).splitlines()
    assert lines[0] == "Surprising: 2 cells"
    cells = {tuple(line.split()[:3]) for line in lines[2:4]}
    assert cells == {("a", "b", "helps"), ("c", "d", "harms")}
    document = json.loads(cli("explain", families, "--json"))
    assert [abs(cell["gain"]) for cell in document["cells"]] == sorted(
        (abs(cell["gain"]) for cell in document["cells"]), reverse=True
    )
    assert document["cells"][0]["unit"] == "points"
    assert "and 1 more" in cli("explain", families, "--top", 1)
    assert cli("explain", families, "--alpha", 1e-60).startswith("Surprising: 0 cells")


def test_where_no_family_is_known_the_words_of_the_data_say_what_is_alike(tmp_path):
    study = planted_study()
    made = TransferStudy.from_predictions(
        study.predictions.collect(),
        targets=[TargetInfo(name=n, ceiling=1.0, examples_id=f"t-{n}") for n in "abcd"],
        sources=[SourceInfo(name=n, examples_id=f"s-{n}") for n in "abcd"],
    )
    write_study(made, tmp_path / "study")
    store = StudyStore.open(tmp_path / "study")
    words = {"a": "river stone boat", "b": "engine wheel road", "c": "salt pepper soup"}
    words["d"] = words["c"]
    for name, text in words.items():
        rows = {"example": range(9), "gold": ["x"] * 9}
        rows["prompt"] = [f"{text} {text.split()[at % 3]}" for at in range(9)]
        for kind in "st":
            frame = pl.DataFrame(rows).with_columns(choices=pl.lit(None, pl.List(pl.String)))
            store.write_examples(f"{kind}-{name}", frame)
    cells = json.loads(cli("explain", tmp_path / "study", "--json"))["cells"]
    said = {(cell["source"], cell["target"]): cell["surprise"] for cell in cells}
    assert said["a", "b"] == "helps an unlike task"
    assert said["c", "d"] == "harms a like task"
    alike = next(cell for cell in cells if (cell["source"], cell["target"]) == ("c", "d"))
    assert alike["similarity"] == pytest.approx(1.0, abs=0.01)


def test_scores_alone_cannot_be_explained_and_say_so(tmp_path):
    rows = [{"source": s, "target": "t", "score": 0.5} for s in (BASE, "s")]
    write_study(TransferStudy.from_scores(pl.DataFrame(rows)), tmp_path / "study")
    assert "scores only" in cli("explain", tmp_path / "study", "s", "t", code=2)
    assert "Surprising: 0 cells" in cli("explain", tmp_path / "study")
